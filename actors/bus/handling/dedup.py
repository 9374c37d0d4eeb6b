"""What one handler has finished: exact duplicate suppression in bounded memory.

Per producer, epoch and session a `Line` holds a watermark, everything up to which is finished or
settled, and a bit mask of what is finished beyond it. The producer's floor moves the watermark
over sequences that this handler never saw. Sequences further apart than the window cannot both be
unsettled, so the watermark may also follow the highest one at that distance; only what re-enters a
handler may overtake open ones by more.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

LineKey = tuple[str, int, str]


class Line:
    """One producer's messages of one session, as one handler has finished them."""

    __slots__ = ("base", "failed", "mask", "outcomes", "running", "window")

    def __init__(self, window: int) -> None:
        self.window = window
        self.base = 0
        self.mask = 0
        # What came of those of which more is known than that they were handled.
        self.outcomes: dict[int, Any] = {}
        # The last attempt that failed, of those that are not finished for that.
        self.failed: dict[int, int] = {}
        self.running = 0

    def seen(self, sequence: int) -> bool:
        """Whether it is finished here, or settled everywhere."""
        distance = sequence - self.base - 1
        return distance < 0 or bool(self.mask >> distance & 1)

    @property
    def highest(self) -> int:
        """Nothing beyond it has been seen."""
        return self.base + self.mask.bit_length()

    def mark(self, sequence: int, *, ahead: bool = False) -> None:
        """It is finished; marking again changes nothing.

        What went `ahead` says nothing of those before it, however far they are.
        """
        distance = sequence - self.base - 1
        if distance < 0:
            return
        if distance == 0 and not self.mask:
            self.base = sequence
            return
        mask = self.mask | 1 << distance
        excess = distance + 1 - self.window
        if excess > 0 and not ahead:
            self.base += excess
            mask >>= excess
        if mask & 1:
            finished = (~mask & (mask + 1)).bit_length() - 1
            self.base += finished
            mask >>= finished
        self.mask = mask

    def settle(self, floor: int) -> None:
        """Everything below the floor is settled: no duplicate of it can come."""
        passed = floor - 1 - self.base
        if passed <= 0:
            return
        self.base = floor - 1
        mask = self.mask >> passed
        if mask & 1:
            finished = (~mask & (mask + 1)).bit_length() - 1
            self.base += finished
            mask >>= finished
        self.mask = mask

    def forget(self, floor: int) -> None:
        """Nobody will ask for what came of those below the floor."""
        for known in (self.outcomes, self.failed):
            for sequence in [one for one in known if one < floor]:
                del known[sequence]


class Lines:
    """The lines of one handler, at most `limit` of them; the least recently used ones are forgotten."""

    __slots__ = ("_limit", "_old", "_window", "_young")

    def __init__(self, window: int, limit: int) -> None:
        self._window = window
        self._limit = max(1, limit // 2)
        # Two generations make "least recently used" cheap: what is used moves to the young one.
        self._young: dict[LineKey, Line] = {}
        self._old: dict[LineKey, Line] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def __iter__(self) -> Iterator[Line]:
        yield from self._old.values()
        yield from self._young.values()

    def line(self, key: LineKey) -> Line:
        found = self._young.get(key)
        if found is None:
            found = self._old.pop(key, None) or Line(self._window)
            if len(self._young) >= self._limit:
                self._turn()
            self._young[key] = found
        return found

    def _turn(self) -> None:
        busy = {key: line for key, line in self._old.items() if line.running}
        self._old = self._young
        self._young = busy
