"""How many calls an actor ends in a second, lately. Pure."""

from __future__ import annotations

import math

# Seconds after which an end counts for a third of a new one.
_MEMORY = 10.0


class Pace:
    """Ends of calls, older ones counting less."""

    __slots__ = ("_began", "_counted", "_then")

    def __init__(self) -> None:
        self._counted = 0.0
        self._began = self._then = math.nan

    def ended(self, now: float) -> None:
        if math.isnan(self._began):
            self._began = self._then = now
        self._counted = self._faded(now) + 1.0
        self._then = now

    def rate(self, now: float) -> float:
        """Ends in a second; 0 before the first."""
        if math.isnan(self._began):
            return 0.0
        # The time that was watched counts as the ends do, else the first seconds would look slow.
        watched = _MEMORY * (1 - math.exp(-max(now - self._began, 0.0) / _MEMORY))
        return self._faded(now) / max(watched, 0.1)

    def _faded(self, now: float) -> float:
        return self._counted * math.exp(-max(now - self._then, 0.0) / _MEMORY)
