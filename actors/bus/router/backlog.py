"""The messages of one mailbox that may go, in the order in which they do. Pure.

First in, first out, as long as one session has them all or all go out at once. Where more than one
session waits, they take turns of a few messages: a flood in one keeps nobody else waiting for its end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from llmgine.actors.bus.router.keyed import Key, KeyedQueue
from llmgine.actors.bus.router.records import Record
from llmgine.actors.bus.router.rows import Rows

# How many messages of one session go before it is another one's turn, at least,
TURN = 8
# and as a part of what may go now: where handlers are quick, turns are long and cost little.
_SHARE = 8
# And of one that has been left alone.
_LONG_TURN = 256


class Backlog:
    """`front` is what goes next; whoever takes from it asks for more by `refill` when it is empty."""

    __slots__ = ("_flow", "_rows", "front")

    def __init__(self, *, keyed: bool) -> None:
        self.front: deque[Record] | KeyedQueue = KeyedQueue() if keyed else deque()
        self._rows: Rows[Record] = Rows()
        # The session of all that is in front, where it is one.
        self._flow: str | None = None

    def __len__(self) -> int:
        return len(self.front) + self._rows.count

    def __iter__(self) -> Iterator[Record]:
        yield from self.front
        yield from self._rows

    def behind(self) -> Iterator[Record]:
        """What is not in front yet."""
        return iter(self._rows)

    @property
    def keyed(self) -> bool:
        return isinstance(self.front, KeyedQueue)

    def add(self, records: list[Record], session: str, free: int) -> None:
        """To the end; `free` is how many may go out in all now, so that there is nothing to be shared."""
        front, rows = self.front, self._rows
        if not rows:
            if session == self._flow:
                front.extend(records)
                return
            if not front:
                front.extend(records)
                self._flow = session
                return
            if len(front) + len(records) <= free or isinstance(front, KeyedQueue):
                front.extend(records)
                self._flow = None
                return
            self._flow = None
            behind = [front.pop() for _ in range(len(front) - TURN)]
            for record in reversed(behind):
                rows.add(record.head.line.session, record)
        for record in records:
            rows.add(session, record)

    def refill(self, free: int) -> bool:
        """The next turn; whether there is one. `free` is how many may go out in all now."""
        rows = self._rows
        if not rows:
            return False
        self.front.extend(rows.turn(_LONG_TURN if rows.alone else max(TURN, free // _SHARE)))
        self._flow = None if rows else self.front[0].head.line.session
        return True

    def take_latest(self, key: Key) -> Record | None:
        """Take out the latest message of this key, where it is queued."""
        return self.front.take_latest(key, self.remove) if isinstance(self.front, KeyedQueue) else None

    def came_in(self, key: Key, record: Record) -> None:
        """It is the latest of its key now."""
        if isinstance(self.front, KeyedQueue):
            self.front.forget(lambda: set(self))
            self.front.came_in(key, record)

    def came_back(self, key: Key, record: Record) -> None:
        """It stands before all others of its key again."""
        if isinstance(self.front, KeyedQueue):
            self.front.came_back(key, record)

    def oldest(self) -> Record | None:
        """Take out the oldest, that of a session which has much here before others."""
        crowd = self._rows.crowd()
        if crowd is None:
            return self.front.popleft() if self.front or self.refill(0) else None
        for record in self.front:
            if record.head.line.session == crowd:
                self.front.remove(record)
                return record
        return self._rows.pop(crowd)

    def remove(self, record: Record) -> bool:
        """Take out one; whether it was here."""
        try:
            self.front.remove(record)
        except ValueError:
            return self._rows.remove(record.head.line.session, record)
        return True

    def clear(self) -> list[Record]:
        everything = list(self)
        self.front.clear()
        self._rows.clear()
        return everything
