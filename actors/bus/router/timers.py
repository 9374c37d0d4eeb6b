"""What is to happen later, in order of time. Pure.

A binary heap with cancelled timers left in it until they are the larger part: with 100,000 timers it
is faster than a hashed wheel and, other than one, exact in time and order.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

# Fewer cancelled timers than this are not worth a new heap.
FEW = 64


class Timer:
    """One callback at one time."""

    __slots__ = ("callback", "time")

    def __init__(self, time: float, callback: Callable[[], None]) -> None:
        self.time = time
        # Let go of when it has run or is cancelled: what it holds may be large, the timer may lie here long.
        self.callback: Callable[[], None] | None = callback

    @property
    def pending(self) -> bool:
        """It has neither run nor been cancelled."""
        return self.callback is not None


class Timers:
    """Timers run at or after their time, never before: by time, and at one time as they were set."""

    __slots__ = ("_heap", "_pending", "_serial")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._serial = 0
        self._pending = 0

    def __len__(self) -> int:
        """How many are neither run nor cancelled."""
        return self._pending

    @property
    def held(self) -> int:
        """How many take up memory, cancelled ones included: at most twice `len` and a few."""
        return len(self._heap)

    def at(self, time: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(time, callback)
        self._serial += 1
        self._pending += 1
        heapq.heappush(self._heap, (time, self._serial, timer))
        return timer

    def cancel(self, timer: Timer) -> None:
        """It will not run; nothing happens where it has run or was cancelled before."""
        if timer.callback is None:
            return
        timer.callback = None
        self._pending -= 1
        if len(self._heap) > 2 * self._pending + FEW:
            self._heap = [item for item in self._heap if item[2].pending]
            heapq.heapify(self._heap)

    def next_time(self) -> float | None:
        """When the next timer is due; None where there is none."""
        heap = self._heap
        while heap and not heap[0][2].pending:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def run(self, now: float) -> int:
        """Run what is due, and say how many that were; what is set meanwhile waits for the next run."""
        ran, last = 0, self._serial
        new: list[tuple[float, int, Timer]] = []
        try:
            while (time := self.next_time()) is not None and time <= now:
                item = heapq.heappop(self._heap)
                _, serial, timer = item
                if serial > last:
                    new.append(item)
                    continue
                callback, timer.callback = timer.callback, None
                self._pending -= 1
                ran += 1
                if callback is not None:
                    callback()
        finally:
            for item in new:
                heapq.heappush(self._heap, item)
        return ran
