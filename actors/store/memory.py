"""The engine that keeps rows in memory alone."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from llmgine.actors.store.batches import Batch, Latest, Refusal
from llmgine.actors.store.engine import NS
from llmgine.actors.store.errors import StoreError
from llmgine.actors.store.ledger import Ledger
from llmgine.actors.store.numbered import Rows
from llmgine.actors.store.operations import SetAside
from llmgine.actors.store.queries import (
    PAGE_BYTES,
    ApprovalFilter,
    Entries,
    LetterFilter,
    Page,
    SessionFilter,
)
from llmgine.actors.store.retention import KEEP_ALL, Retention
from llmgine.actors.store.rows import (
    ApprovalRow,
    JournalRow,
    LetterRow,
    ResponseRow,
    ScheduleRow,
    SessionRow,
    TurnRow,
)
from llmgine.actors.store.session_ledger import SessionLedger

R = TypeVar("R")

# Batches that were refused and may come again.
_MOST_REFUSED: Final = 4_096


class MemoryEngine:
    """A `Ledger` behind the interface; it ends with its process."""

    blocks: bool = False

    def __init__(self, max_letters: int, letter_age: float, retention: Retention = KEEP_ALL) -> None:
        self.ledger = Ledger(max_letters, retention)
        self._letter_age = round(letter_age * NS)
        self._retention = retention
        self._tickets: Latest[int] = Latest()
        self._refused: OrderedDict[tuple[str, int], StoreError] = OrderedDict()

    @property
    def sessions(self) -> MemorySessions:
        return MemorySessions(self.ledger.sessions)

    def commit(self, batches: Sequence[Batch], now: int) -> list[Refusal]:
        for batch in batches:
            if batch.ticket > (self._tickets.get(batch.writer) or 0):
                self._tickets.put(batch.writer, batch.ticket)
                try:
                    self.ledger.take(batch.operations)
                except StoreError as error:
                    self._refused[batch.writer, batch.ticket] = error
        self.ledger.trim()
        refused = [(batch, self._refused.get((batch.writer, batch.ticket))) for batch in batches]
        while len(self._refused) > _MOST_REFUSED:
            self._refused.popitem(last=False)
        return [Refusal(batch, error) for batch, error in refused if error is not None]

    def tidy(self, now: int) -> bool:
        self.ledger.expire(now - self._letter_age)
        self.ledger.tidy(now, self._retention)
        return False

    def last_message(self) -> int:
        return self.ledger.journal.last

    def journal(self, after: int, upto: int, limit: int) -> Page[JournalRow]:
        return _page(self.ledger.journal, lambda number, row: after < number <= upto, limit, _body)

    def letters(self, wanted: LetterFilter, before: int | None, limit: int) -> Page[LetterRow]:
        rows = [
            (number, row)
            for number, row in self.ledger.letters.numbered()
            if (before is None or number < before) and wanted.admits(row)
        ]
        return _cut(reversed(rows), limit, _body)

    def letter(self, id: str) -> LetterRow | None:
        return self.ledger.letters.get(id)

    def count_letters(self, wanted: LetterFilter) -> int:
        return sum(map(wanted.admits, self.ledger.letters.values()))

    def schedules(self, after: int, limit: int) -> Page[ScheduleRow]:
        return _page(self.ledger.schedules, lambda number, row: number > after, limit, _body)

    def subscriptions(self, after: int, limit: int) -> Page[dict[str, Any]]:
        return _page(self.ledger.subscriptions, lambda number, row: number > after, limit, _nothing)

    def response(self, key: str) -> ResponseRow | None:
        return self.ledger.responses.rows.get(key)

    def note(self, name: str) -> bytes | None:
        note = self.ledger.notes.get(name)
        return None if note is None else note.body

    def aside(self, limit: int) -> list[SetAside]:
        return list(self.ledger.aside.values())[::-1][:limit]

    def status(self) -> dict[str, Any]:
        ledger = self.ledger
        return {
            "url": "memory://",
            "bytes": 0,
            "messages": len(ledger.journal),
            "letters": len(ledger.letters),
            "schedules": len(ledger.schedules),
            "subscriptions": len(ledger.subscriptions),
            "sessions": len(ledger.sessions.rows),
            "turns": len(ledger.sessions.turns),
            "approvals": len(ledger.sessions.approvals),
            "blobs": len(ledger.sessions.blobs),
            "responses": len(ledger.responses.rows),
            "notes": len(ledger.notes),
            "damaged": len(ledger.aside),
        }

    def close(self) -> None:
        pass


class MemorySessions:
    """Questions about the sessions of a ledger."""

    def __init__(self, ledger: SessionLedger) -> None:
        self._ledger = ledger

    def session(self, id: str) -> Page[SessionRow]:
        return _one(self._ledger.session(id))

    def sessions(self, wanted: SessionFilter, after: int, limit: int) -> Page[SessionRow]:
        rows = self._ledger.rows
        page = _page(rows, lambda number, row: number > after and wanted.admits(row), limit, _nothing)
        heads = (replace(row, head=self._ledger.head(row.id)) for row in page.rows)
        return Page(tuple(heads), page.next)

    def newest_sessions(self, wanted: SessionFilter, before: int | None, limit: int) -> Page[SessionRow]:
        rows = [
            (number, row)
            for number, row in self._ledger.rows.numbered()
            if (before is None or number < before) and wanted.admits(row)
        ]
        page = _cut(reversed(rows), limit, _nothing)
        heads = (replace(row, head=self._ledger.head(row.id)) for row in page.rows)
        return Page(tuple(heads), page.next)

    def count_sessions(self, wanted: SessionFilter) -> int:
        return sum(map(wanted.admits, self._ledger.rows.values()))

    def snapshot(self, session: str) -> tuple[int, bytes] | None:
        return self._ledger.snapshots.get(session)

    def entries(self, session: str, after: int, limit: int) -> Entries:
        entries = self._ledger.entries.get(session, {})
        page = _cut(
            ((number, (number, body)) for number, body in entries.items() if number > after), limit, _second
        )
        return Entries(page.rows, page.next)

    def turn(self, session: str, id: str) -> Page[TurnRow]:
        return _one(self._ledger.turns.get(f"{session}/{id}"))

    def turns(self, session: str, before: int | None, limit: int) -> Page[TurnRow]:
        rows = [
            (number, row)
            for number, row in self._ledger.turns.numbered()
            if row.session == session and (before is None or number < before)
        ]
        return _cut(reversed(rows), limit, lambda row: len(row.request) + len(row.outcome or b""))

    def approval(self, id: str) -> Page[ApprovalRow]:
        return _one(self._ledger.approvals.get(id))

    def approvals(self, wanted: ApprovalFilter, after: int, limit: int) -> Page[ApprovalRow]:
        rows = self._ledger.approvals
        return _page(
            rows,
            lambda number, row: number > after and wanted.admits(row),
            limit,
            lambda row: len(row.arguments),
        )

    def blob(self, hash: str) -> bytes | None:
        return self._ledger.blobs.get(hash)

    def code(self, hash: str) -> bytes | None:
        return self._ledger.code.get(hash, (None, 0))[0]


def _one(row: R | None) -> Page[R]:
    return Page(() if row is None else (row,), None)


def _second(row: tuple[int, bytes]) -> int:
    return len(row[1])


def _nothing(row: Any) -> int:
    return 0


def _body(row: Any) -> int:
    return len(row.body)


def _page(rows: Rows[R], wanted: Callable[[int, R], bool], limit: int, size: Callable[[R], int]) -> Page[R]:
    return _cut((pair for pair in rows.numbered() if wanted(*pair)), limit, size)


def _cut(found: Iterable[tuple[int, R]], limit: int, size: Callable[[R], int]) -> Page[R]:
    """As many as a page holds."""
    rows: list[R] = []
    last, held = 0, 0
    for number, row in found:
        if len(rows) >= limit or held >= PAGE_BYTES:
            return Page(tuple(rows), last)
        rows.append(row)
        last, held = number, held + size(row)
    return Page(tuple(rows), None)
