"""Cursors of the store's lists, as texts."""

from __future__ import annotations

from llmgine.actors.gateway.errors import Unprocessable


def page_number(cursor: str | None) -> int | None:
    """The number that a cursor stands for; `Unprocessable` for what is none."""
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 19):
        raise Unprocessable("the cursor is not one that a page gave as `next`")
    return int(cursor)
