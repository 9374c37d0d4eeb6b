"""How many calls an actor runs at once: as many as its provider bears. Pure.

The limit begins at its ceiling. What the provider could not bear takes a share of it away, at most once
for all the calls that were under way at that time, for they tell the same. Each answer to a call that
took the last place gives a little back, so that a round trip of all of them gives the limit's root:
slow near one, and from one to hundreds in some tens of round trips.
"""

from __future__ import annotations

import math


class ConcurrencyLimit:
    """At least 1, at most `ceiling`; stays at the ceiling where `backoff` is None."""

    __slots__ = ("_backed_off", "_backoff", "_value", "ceiling", "decreases")

    def __init__(self, ceiling: int, backoff: float | None) -> None:
        self.ceiling = ceiling
        self._backoff = backoff
        self._value = float(ceiling)
        self._backed_off = -math.inf
        self.decreases = 0

    @property
    def value(self) -> int:
        return int(self._value)

    def answered(self) -> None:
        """The provider answered a call that had taken the last place."""
        self._value = min(self.ceiling, self._value + 1 / math.sqrt(self._value))

    def overloaded(self, began: float, now: float) -> None:
        """The provider could not bear a try that began at that time."""
        if self._backoff is None or began < self._backed_off:
            return
        self._backed_off = now
        self._value = max(1.0, self._value * self._backoff)
        self.decreases += 1
