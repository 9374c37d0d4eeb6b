"""How values are spread, in bounded memory: counts in buckets that grow by the same ratio. Pure."""

from __future__ import annotations

from math import ceil, log
from typing import Any, Self

ACCURACY = 0.02
_RATIO = (1 + ACCURACY) / (1 - ACCURACY)
_LOG = log(_RATIO)
_LEAST, _MOST = 1e-6, 1e9  # what lies beyond is counted in the outermost buckets: 864 are there at most


class Sketch:
    """Percentiles within 2 % of the true values, for numbers from a millionth to a billion.

    Sketches of different sources add up to what one would hold that had seen all their values.
    """

    __slots__ = ("_buckets", "count", "max", "sum")

    def __init__(self) -> None:
        self.count = 0
        self.sum = 0.0
        self.max = 0.0
        self._buckets: dict[int, int] = {}

    def observe(self, value: float) -> None:
        """Take in a value; what is below zero counts as zero."""
        value = max(0.0, value)
        bucket = ceil(log(min(max(value, _LEAST), _MOST)) / _LOG)
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self.count += 1
        self.sum += value
        self.max = max(self.max, value)

    def merge(self, other: Sketch) -> None:
        """Take in all that the other one has seen."""
        for bucket, count in other._buckets.items():
            self._buckets[bucket] = self._buckets.get(bucket, 0) + count
        self.count += other.count
        self.sum += other.sum
        self.max = max(self.max, other.max)

    def quantile(self, share: float) -> float | None:
        """The least value that so great a share of all does not exceed; None where there is none."""
        if not self.count:
            return None
        rank, seen = ceil(share * self.count), 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= rank:
                return min(self.max, 2 * _RATIO**bucket / (_RATIO + 1))
        return self.max

    def to_wire(self) -> list[Any]:
        """Plain values that `from_wire` turns back into an equal sketch."""
        return [self.count, self.sum, self.max, list(self._buckets), list(self._buckets.values())]

    @classmethod
    def from_wire(cls, wire: list[Any] | tuple[Any, ...]) -> Self:
        sketch = cls()
        sketch.count, sketch.sum, sketch.max, buckets, counts = wire
        sketch._buckets = dict(zip(buckets, counts, strict=True))
        return sketch

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sketch) and self.to_wire() == other.to_wire()

    __hash__ = None  # type: ignore[assignment]
