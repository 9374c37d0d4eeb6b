"""How many further tries the calls of one process may make together. Pure; times are seconds, given in.

There are two purses. The one is earned by calls, `ratio` each, and holds what the latest thousand of them
earned; the other is filled by time, `minimum` in ten seconds. A try is paid from the first that has enough.
"""

from __future__ import annotations

from llmgine.actors.pools.failover.options import BudgetOptions

_REMEMBERED = 1_000
_SECONDS = 10.0


class Budget:
    """One process's further tries."""

    __slots__ = ("_earned", "_minimum", "_most_earned", "_ratio", "_reserve", "_since")

    def __init__(self, options: BudgetOptions) -> None:
        self._ratio = options.ratio
        self._minimum = options.minimum
        self._earned = 0.0
        self._most_earned = options.ratio * _REMEMBERED
        self._reserve = float(options.minimum)
        self._since: float | None = None

    def called(self) -> None:
        """A call was made for the first time."""
        if self._earned < self._most_earned:
            self._earned += self._ratio

    def take(self, now: float) -> bool:
        """Whether a further try may be made now; it has then been paid for."""
        if self._earned >= 1.0:
            self._earned -= 1.0
            return True
        if self._since is not None:
            filled = self._reserve + (now - self._since) * self._minimum / _SECONDS
            self._reserve = min(float(self._minimum), filled)
        self._since = now
        if self._reserve < 1.0:
            return False
        self._reserve -= 1.0
        return True
