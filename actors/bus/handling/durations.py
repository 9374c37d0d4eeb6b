"""How long attempts took, in buckets."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, Final

from llmgine.telemetry import Histogram

BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper ends of the buckets, in seconds; one more bucket holds all that took longer."""

QUICK: Final = BOUNDS[0]
"""What took less is counted many at a time."""


class Durations:
    """A histogram that is exact in count and sum; it passes on to `measures`, of the whole process."""

    __slots__ = ("counts", "measures", "sum")

    def __init__(self, measures: Sequence[Histogram] = ()) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0
        self.measures = measures

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds
        for measure in self.measures:
            measure.observe(seconds)

    def add_quick(self, count: int, seconds: float) -> None:
        """So many that took less than `QUICK` each, so long in all."""
        self.counts[0] += count
        self.sum += seconds
        for measure in self.measures:
            measure.observe_least(count, seconds)

    def merge(self, other: Durations) -> None:
        self.counts = [one + more for one, more in zip(self.counts, other.counts, strict=True)]
        self.sum += other.sum

    def report(self) -> dict[str, Any]:
        """As plain values; `buckets` counts what took at most so long, each bucket by itself."""
        return {
            "count": sum(self.counts),
            "sum": self.sum,
            "buckets": dict(zip((*map(str, BOUNDS), "inf"), self.counts, strict=True)),
        }
