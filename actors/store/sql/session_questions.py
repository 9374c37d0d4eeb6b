"""Questions about sessions, as an engine is asked them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from llmgine.actors.store.queries import ApprovalFilter, Entries, Page, SessionFilter
from llmgine.actors.store.rows import ApprovalRow, SessionRow, TurnRow
from llmgine.actors.store.sql import session_reading as reading

_NOTHING: Final[Page[Any]] = Page((), None)


class SqlSessions:
    """`read` calls a function with the reader's connection, or has its first value where there is none."""

    def __init__(self, read: Callable[..., Any]) -> None:
        self._read = read

    def session(self, id: str) -> Page[SessionRow]:
        page: Page[SessionRow] = self._read(_NOTHING, reading.session, id)
        return page

    def sessions(self, wanted: SessionFilter, after: int, limit: int) -> Page[SessionRow]:
        page: Page[SessionRow] = self._read(_NOTHING, reading.sessions, wanted, after, limit)
        return page

    def newest_sessions(self, wanted: SessionFilter, before: int | None, limit: int) -> Page[SessionRow]:
        page: Page[SessionRow] = self._read(_NOTHING, reading.newest_sessions, wanted, before, limit)
        return page

    def count_sessions(self, wanted: SessionFilter) -> int:
        count: int = self._read(0, reading.count_sessions, wanted)
        return count

    def snapshot(self, session: str) -> tuple[int, bytes] | None:
        snapshot: tuple[int, bytes] | None = self._read(None, reading.snapshot, session)
        return snapshot

    def entries(self, session: str, after: int, limit: int) -> Entries:
        entries: Entries = self._read(Entries(()), reading.entries, session, after, limit)
        return entries

    def turn(self, session: str, id: str) -> Page[TurnRow]:
        page: Page[TurnRow] = self._read(_NOTHING, reading.turn, session, id)
        return page

    def turns(self, session: str, before: int | None, limit: int) -> Page[TurnRow]:
        page: Page[TurnRow] = self._read(_NOTHING, reading.turns, session, before, limit)
        return page

    def approval(self, id: str) -> Page[ApprovalRow]:
        page: Page[ApprovalRow] = self._read(_NOTHING, reading.approval, id)
        return page

    def approvals(self, wanted: ApprovalFilter, after: int, limit: int) -> Page[ApprovalRow]:
        page: Page[ApprovalRow] = self._read(_NOTHING, reading.approvals, wanted, after, limit)
        return page

    def blob(self, hash: str) -> bytes | None:
        body: bytes | None = self._read(None, reading.blob, hash)
        return body

    def code(self, hash: str) -> bytes | None:
        body: bytes | None = self._read(None, reading.code, hash)
        return body
