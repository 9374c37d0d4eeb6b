"""What waits for room in a full mailbox: sessions take turns, and what handlers publish goes first. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from llmgine.actors.bus.router.records import Record
from llmgine.actors.bus.router.rows import Rows

Waiter = tuple[Record, float]


class Waiting:
    """Messages with the time until which they wait.

    Those that may use the reserve stand in a row of their own, unless one of their session waits that may
    not: it came before them.
    """

    __slots__ = ("_nested", "_outer")

    def __init__(self) -> None:
        self._nested: Rows[Waiter] = Rows()
        self._outer: Rows[Waiter] = Rows()

    def __len__(self) -> int:
        return self._nested.count + self._outer.count

    def __iter__(self) -> Iterator[Record]:
        for rows in (self._nested, self._outer):
            for record, _ in rows:
                yield record

    def blocks(self, record: Record) -> bool:
        """Whether this message of a handler has to wait behind another one of its session."""
        session = record.head.line.session
        return bool(self._nested or self._outer.row(session))

    def add(self, record: Record, until: float, *, nested: bool) -> None:
        session = record.head.line.session
        rows = self._nested if nested and not self._outer.row(session) else self._outer
        rows.add(session, (record, until))

    def next(self, *, reserve: bool) -> Record | None:
        """Whose turn it is: one that may use the reserve, or, where there is room beside it, any one."""
        rows = self._nested if self._nested else self._outer
        session = rows.first()
        if session is None:
            return None
        row = rows.row(session)
        if not row or (reserve and rows is self._outer and not row[0][0].head.depth):
            return None
        return row[0][0]

    def take(self) -> None:
        """The one that `next` gave is not waiting any longer."""
        rows = self._nested if self._nested else self._outer
        rows.turn(1)

    def expired(self, now: float) -> list[Record]:
        """Take out what has waited for too long."""
        late = []
        for rows in (self._nested, self._outer):
            over = [pair for pair in rows if pair[1] <= now]
            for pair in over:
                rows.remove(pair[0].head.line.session, pair)
            late += [record for record, _ in over]
        return late

    def withdraw(self, record: Record) -> bool:
        """Take out one; whether it was here."""
        session = record.head.line.session
        for rows in (self._nested, self._outer):
            for pair in rows.row(session) or ():
                if pair[0] is record:
                    return rows.remove(session, pair)
        return False

    def clear(self) -> list[Record]:
        """Take out everything."""
        everything = list(self)
        self._nested.clear()
        self._outer.clear()
        return everything
