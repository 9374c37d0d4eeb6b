"""What waits, in one row per session: the rows take turns, each keeps its order. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import islice
from typing import Generic, TypeVar

T = TypeVar("T")

_LOOKED_AT = 64


class Rows(Generic[T]):
    """Items of any number of sessions; a session's flood makes nobody else wait for longer than a turn."""

    __slots__ = ("_longest", "_rows", "_turns", "count")

    def __init__(self) -> None:
        # An emptied row stays until its turn, so that each session is in `_turns` once.
        self._rows: dict[str, deque[T]] = {}
        self._turns: deque[str] = deque()
        self.count = 0
        self._longest = ""

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[T]:
        for session in self._turns:
            yield from self._rows[session]

    def add(self, session: str, item: T) -> None:
        row = self._rows.get(session)
        if row is None:
            row = self._rows[session] = deque()
            self._turns.append(session)
        row.append(item)
        self.count += 1
        if len(row) > len(self._rows.get(self._longest, ())):
            self._longest = session

    def row(self, session: str) -> deque[T] | None:
        """One session's items, to be read."""
        return self._rows.get(session)

    @property
    def alone(self) -> bool:
        """Whether one session has everything, as far as the turns tell."""
        return len(self._turns) == 1

    def turn(self, most: int) -> deque[T]:
        """The next session's items, at most so many; empty where there is nothing."""
        turns, rows = self._turns, self._rows
        while turns:
            session = turns.popleft()
            row = rows[session]
            if len(row) > most:
                turns.append(session)
                self.count -= most
                return deque([row.popleft() for _ in range(most)])
            del rows[session]
            self.count -= len(row)
            if row:
                return row
        return deque()

    def crowd(self) -> str | None:
        """A session of which there is much, as far as a short look tells; None where all seem alone."""
        rows = self._rows
        if len(rows.get(self._longest, ())) < 2:
            some = islice(self._turns, _LOOKED_AT)
            self._longest = max(some, key=lambda session: len(rows[session]), default="")
        return self._longest if len(rows.get(self._longest, ())) > 1 else None

    def first(self) -> str | None:
        """Whose turn is next."""
        return next((session for session in self._turns if self._rows[session]), None)

    def pop(self, session: str) -> T:
        """The oldest of one session, which has some."""
        self.count -= 1
        return self._rows[session].popleft()

    def remove(self, session: str, item: T) -> bool:
        """Take out one; whether it was here."""
        row = self._rows.get(session)
        if row is None:
            return False
        for position, one in enumerate(row):
            if one is item:
                del row[position]
                self.count -= 1
                return True
        return False

    def clear(self) -> None:
        self._rows.clear()
        self._turns.clear()
        self.count = 0
