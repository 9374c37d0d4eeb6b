"""What keeps rows: an interface of blocking calls, and the engine that keeps them in memory alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol, TypeVar

from llmgine.actors.store.batches import Batch, Latest, Refusal
from llmgine.actors.store.ledger import Ledger, Rows
from llmgine.actors.store.operations import JournalRow, LetterRow, Operation, ScheduleRow, SetAside
from llmgine.actors.store.queries import PAGE_BYTES, LetterFilter, Page

R = TypeVar("R")

NS: Final = 1_000_000_000


class Engine(Protocol):
    """Where rows are kept. `commit` and `tidy` are called by one thread, the questions by another.

    All may raise `StoreUnavailable`, after which the same call may succeed, and `StoreDamaged`.
    """

    @property
    def blocks(self) -> bool:
        """Whether calls may take long, so that a loop must not make them itself."""
        ...

    def commit(self, batches: Sequence[Batch], now: int) -> list[Refusal]:
        """Keeps all batches, together, but those refused; what was committed before is not done again."""
        ...

    def tidy(self, now: int) -> None:
        """Removes what has grown too old and gives space back."""
        ...

    def last_message(self) -> int:
        """The number of the latest kept message."""
        ...

    def journal(self, after: int, upto: int, limit: int) -> Page[JournalRow]:
        """Kept messages in the order of their arrival, numbered above `after` and not above `upto`."""
        ...

    def letters(self, wanted: LetterFilter, before: int | None, limit: int) -> Page[LetterRow]:
        """Dead letters, the newest first, numbered below `before`."""
        ...

    def letter(self, id: str) -> LetterRow | None: ...

    def count_letters(self, wanted: LetterFilter) -> int: ...

    def schedules(self, after: int, limit: int) -> Page[ScheduleRow]: ...

    def subscriptions(self, after: int, limit: int) -> Page[dict[str, Any]]: ...

    def aside(self, limit: int) -> list[SetAside]:
        """What was set aside, the latest first."""
        ...

    def status(self) -> dict[str, Any]:
        """Where the rows are, how many of each kind, and what was removed; plain values."""
        ...

    def close(self) -> None: ...


class MemoryEngine:
    """A `Ledger` behind the interface; it ends with its process."""

    blocks: bool = False

    def __init__(self, max_letters: int, letter_age: float) -> None:
        self._ledger = Ledger(max_letters)
        self._letter_age = round(letter_age * NS)
        self._tickets = Latest()

    def commit(self, batches: Sequence[Batch], now: int) -> list[Refusal]:
        fresh: list[Operation] = []
        for batch in batches:
            if batch.ticket > (self._tickets.get(batch.writer) or 0):
                fresh += batch.operations
                self._tickets.put(batch.writer, batch.ticket)
        self._ledger.apply(fresh)
        return []

    def tidy(self, now: int) -> None:
        self._ledger.expire(now - self._letter_age)

    def last_message(self) -> int:
        return self._ledger.journal.last

    def journal(self, after: int, upto: int, limit: int) -> Page[JournalRow]:
        return _page(self._ledger.journal, lambda number, row: after < number <= upto, limit, _body)

    def letters(self, wanted: LetterFilter, before: int | None, limit: int) -> Page[LetterRow]:
        rows = [
            (number, row)
            for number, row in self._ledger.letters.numbered()
            if (before is None or number < before) and wanted.admits(row)
        ]
        return _cut(reversed(rows), limit, _body)

    def letter(self, id: str) -> LetterRow | None:
        return self._ledger.letters.get(id)

    def count_letters(self, wanted: LetterFilter) -> int:
        return sum(map(wanted.admits, self._ledger.letters.values()))

    def schedules(self, after: int, limit: int) -> Page[ScheduleRow]:
        return _page(self._ledger.schedules, lambda number, row: number > after, limit, _body)

    def subscriptions(self, after: int, limit: int) -> Page[dict[str, Any]]:
        return _page(self._ledger.subscriptions, lambda number, row: number > after, limit, lambda row: 0)

    def aside(self, limit: int) -> list[SetAside]:
        return list(self._ledger.aside.values())[::-1][:limit]

    def status(self) -> dict[str, Any]:
        ledger = self._ledger
        return {
            "url": "memory://",
            "bytes": 0,
            "messages": len(ledger.journal),
            "letters": len(ledger.letters),
            "schedules": len(ledger.schedules),
            "subscriptions": len(ledger.subscriptions),
            "damaged": len(ledger.aside),
        }

    def close(self) -> None:
        pass


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
