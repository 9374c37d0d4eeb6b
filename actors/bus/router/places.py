"""Who is due when: by time, and at one time in the order of entering. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)

# Fewer that were taken out than this are not worth a new heap.
FEW = 64


class Places(Generic[T]):
    """A place in time for each of many; taking one out costs nothing but memory, which is bounded."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, T]] = []
        self._valid: dict[T, int] = {}
        self._serial = 0

    def __len__(self) -> int:
        return len(self._valid)

    def __contains__(self, item: T) -> bool:
        return item in self._valid

    @property
    def held(self) -> int:
        """How many take up memory: at most twice `len` and a few."""
        return len(self._heap)

    def put(self, at: int, item: T) -> None:
        """The item's place, in place of the one that it had."""
        self._serial += 1
        self._valid[item] = self._serial
        heapq.heappush(self._heap, (at, self._serial, item))
        self._tidy()

    def drop(self, item: T) -> None:
        if self._valid.pop(item, None) is not None:
            self._tidy()

    def first(self) -> int | None:
        """The earliest time."""
        heap = self._heap
        while heap and self._valid.get(heap[0][2]) != heap[0][1]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def pop(self, until: int) -> T | None:
        """The earliest, which has no place from then on; None where none is due by `until`."""
        at = self.first()
        if at is None or at > until:
            return None
        item = heapq.heappop(self._heap)[2]
        del self._valid[item]
        return item

    def _tidy(self) -> None:
        if len(self._heap) > 2 * len(self._valid) + FEW:
            self._heap = [entry for entry in self._heap if self._valid.get(entry[2]) == entry[1]]
            heapq.heapify(self._heap)
