"""Which records of a source have arrived, so that a gap is a loss and a repeat counts once."""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_GAPS = 64


class Sequence:
    """The numbers seen so far, as what is missing below the highest; bounded by MAX_GAPS gaps."""

    __slots__ = ("_gaps", "_settled", "next", "received")

    def __init__(self) -> None:
        self.next = 0
        self.received = 0
        self._gaps: list[tuple[int, int]] = []
        self._settled = 0  # missing numbers of gaps that were given up to stay bounded

    @property
    def missing(self) -> int:
        """How many numbers below the highest have not arrived."""
        return self._settled + sum(stop - start for start, stop in self._gaps)

    def add(self, first: int, count: int) -> list[tuple[int, int]]:
        """Take the numbers from `first` on; returns those that are new, as half-open ranges."""
        stop = first + count
        new: list[tuple[int, int]] = []
        if first < self.next and self._gaps:
            new = self._fill(first, stop)
        if stop > self.next:
            if first > self.next:
                self._gaps.append((self.next, first))
            if stop > max(first, self.next):
                new.append((max(first, self.next), stop))
            self.next = stop
        while len(self._gaps) > MAX_GAPS:
            start, end = self._gaps.pop(0)
            self._settled += end - start
        self.received += sum(end - start for start, end in new)
        return new

    def _fill(self, first: int, stop: int) -> list[tuple[int, int]]:
        found, left = [], []
        for start, end in self._gaps:
            low, high = max(start, first), min(end, stop)
            if low >= high:
                left.append((start, end))
                continue
            found.append((low, high))
            left.extend(part for part in ((start, low), (high, end)) if part[0] < part[1])
        self._gaps = left
        return found


@dataclass(slots=True)
class Source:
    """One life of one process, as its batches show it."""

    name: str
    instance: int
    sequence: Sequence = field(default_factory=Sequence)
    reported: int = 0  # losses that the source itself counted
    seen: int = 0  # when it was last heard of
    gone: int | None = None  # when it went; None while it lives
    error: str | None = None  # what its running spans are closed with
    running: dict[tuple[int, int], None] = field(default_factory=dict)
    closed: dict[tuple[int, int], None] = field(default_factory=dict)  # by its going, not by itself
    before: int = 0  # records that went to whoever assembled before

    @property
    def lost(self) -> int:
        """How many of its records have come to nobody."""
        return max(0, self.sequence.missing - self.before)
