"""What a client owes the router: handled ranges and outcomes, until the next flush; and results it keeps."""

from __future__ import annotations

from collections import deque
from typing import Any

from llmgine.actors.bus import wire
from llmgine.actors.bus.handling.dedup import Line

# What an answer of no size at all still costs to keep.
_OVERHEAD = 256


class Answers:
    """Collects answers of one link; consecutive entries become ranges."""

    __slots__ = ("_done", "_outcomes")

    def __init__(self) -> None:
        self._done: list[list[int]] = []
        self._outcomes: list[list[Any]] = []

    def __bool__(self) -> bool:
        return bool(self._done or self._outcomes)

    def done(self, number: int, entry: int) -> bool:
        """Whether this is the first range since the last flush, so that somebody must be woken."""
        ranges = self._done
        if ranges:
            last = ranges[-1]
            if last[2] == entry - 1 and last[0] == number:
                last[2] = entry
                return False
        ranges.append([number, entry, entry])
        return len(ranges) == 1

    def outcome(self, number: int, entry: int, code: int, detail: Any) -> None:
        self._outcomes.append([number, entry, code, detail])

    def take(self) -> list[Any] | None:
        """The next message for the router, bounded in bytes."""
        if self._done:
            message, self._done = [wire.DONE, self._done], []
            return message
        if not self._outcomes:
            return None
        size = count = 0
        for outcome in self._outcomes:
            count += 1
            size += _size(outcome[3])
            if size >= wire.BATCH_BYTES:
                break
        part, self._outcomes = self._outcomes[:count], self._outcomes[count:]
        return [wire.OUTCOME, part]

    def clear(self) -> None:
        self._done.clear()
        self._outcomes.clear()


class Kept:
    """Finished answers by line and sequence, within a number of bytes; the oldest ones go first."""

    __slots__ = ("_limit", "_order", "_size")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._order: deque[tuple[Line, int, int]] = deque()
        self._size = 0

    def keep(self, line: Line, sequence: int, code: int, detail: Any) -> None:
        size = _size(detail) + _OVERHEAD
        line.outcomes[sequence] = (code, detail)
        self._order.append((line, sequence, size))
        self._size += size
        while self._size > self._limit:
            oldest, sequence, size = self._order.popleft()
            oldest.outcomes.pop(sequence, None)
            self._size -= size


def _size(detail: Any) -> int:
    if detail is None:
        return 0
    return sum(len(item) for item in detail if isinstance(item, bytes | str))
