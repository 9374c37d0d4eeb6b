"""What a mailbox has accepted and holds back, by producer line, each in its order. Pure.

A message waits here until its priority's turn has come, and, where it is durable, until it is near enough
to the oldest of its line that is not done: further ahead its handler could not tell doubles.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from llmgine.actors.bus.router.records import ProducerLine, Record
from llmgine.actors.bus.router.sequences import Spans


class Held:
    """Rows of messages; `turn` says whether a message's priority is the present one."""

    __slots__ = ("_rows", "_spans", "_turn", "count")

    def __init__(self, turn: Callable[[Record], bool], width: int) -> None:
        self._turn = turn
        self._rows: dict[ProducerLine, deque[Record]] = {}
        # Of durable messages: what is not done.
        self._spans: Spans[ProducerLine] = Spans(width)
        self.count = 0

    def __bool__(self) -> bool:
        return bool(self._rows)

    def __contains__(self, line: object) -> bool:
        return line in self._rows

    def __iter__(self) -> Iterator[Record]:
        for row in self._rows.values():
            yield from row

    def first(self) -> Iterator[Record]:
        """The one of each line that goes before its others."""
        for row in self._rows.values():
            yield row[0]

    def holds(self, record: Record) -> bool:
        return record in self._rows.get(record.head.line, ())

    def add(self, record: Record) -> None:
        self._rows.setdefault(record.head.line, deque()).append(record)
        self.count += 1

    def may_go(self, record: Record) -> bool:
        """Whether its priority's turn has come, and its place in the line is one that handlers remember."""
        if not self._turn(record):
            return False
        return not self._spans or self._spans.reaches(record.head.line, record.sequence)

    def release(self, line: ProducerLine) -> list[Record]:
        """Take out what may go now."""
        row = self._rows.get(line)
        released: list[Record] = []
        while row and self.may_go(row[0]):
            released.append(row.popleft())
        if not row:
            self._rows.pop(line, None)
        self.count -= len(released)
        return released

    def take(self, record: Record) -> bool:
        """Take out this one ahead of its line; whether it was here and its turn has come."""
        row = self._rows.get(record.head.line)
        if row is None or record not in row or not self.may_go(record):
            return False
        row.remove(record)
        if not row:
            del self._rows[record.head.line]
        self.count -= 1
        return True

    def oldest(self) -> tuple[Record, list[Record]] | None:
        """Take out one that has to make room, and what may go for that."""
        for line, row in self._rows.items():
            record = row.popleft()
            self.count -= 1
            if not row:
                del self._rows[line]
            return record, self.release(line)
        return None

    def clear(self) -> list[Record]:
        everything = list(self)
        self._rows.clear()
        self.count = 0
        return everything

    # Durable messages

    def begun(self, record: Record) -> None:
        """It is not done until `done`."""
        self._spans.add(record.head.line, record.sequence)

    def done(self, record: Record) -> bool:
        """Whether that may let others of its line go."""
        return self._spans.discard(record.head.line, record.sequence)

    def validate(self, name: str, everything: set[Record]) -> None:
        """Counted, without empty rows, and what is not done is here."""
        assert self.count == sum(1 for _ in self), name
        assert all(self._rows.values()), name
        assert set(self._spans) <= {(record.head.line, record.sequence) for record in everything}, name
