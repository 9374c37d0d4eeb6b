"""What pydantic found wrong, in one line that tells no value: it may hold content or a secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError


def mistakes(error: ValidationError, *, most: int = 3, below: str = "") -> str:
    """`field.of.field: why; …` for the first `most` mistakes, each place written from `below` on."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(_said(below, one) for one in found[:most])


def _said(below: str, mistake: Mapping[str, Any]) -> str:
    where = ".".join([below, *map(str, mistake["loc"])] if below else map(str, mistake["loc"]))
    if mistake["type"] == "extra_forbidden":
        return f"{where}: there is no such field"
    why: str = mistake["msg"].removeprefix("Value error, ")
    return f"{where}: {why}" if where else why
