"""Which models one process leaves alone for a while, for they have failed too often. Pure."""

from __future__ import annotations

from collections.abc import Callable

from llmgine.actors.breaking import Breaker, BreakerPolicy

_UNCOUNTED = -1


class Breakers:
    """A breaker for each of many names; `random` draws from 0 to 1.

    One begins with the first failure of its name; where shares are counted, with its first result.
    """

    def __init__(self, policy: BreakerPolicy, random: Callable[[], float]) -> None:
        self._policy = policy
        self._random = random
        self._shares = policy.kind == "rate"
        self._of: dict[str, Breaker] = {}

    def closed_for(self, name: str, now: float) -> float:
        """Seconds until that name may be tried; 0 where it may be now."""
        breaker = self._of.get(name)
        if breaker is None or breaker.permits(now) > 0:
            return 0.0
        return max(0.001, (breaker.half_open_at or now) - now)

    def begin(self, name: str, now: float) -> int:
        """A try of that name begins; `ended` takes what this gives. One that begins although the breaker is
        open changes nothing of it.
        """
        breaker = self._of.get(name)
        if breaker is None:
            return 0
        if breaker.permits(now) <= 0:
            return _UNCOUNTED
        breaker.take(1)
        return breaker.generation

    def ended(self, name: str, generation: int, now: float, *, failed: bool | None) -> None:
        """That try is over; None where it says nothing about the name."""
        breaker = self._of.get(name)
        if breaker is None:
            if failed is None or not self._policy.enabled or not (failed or self._shares):
                return
            breaker = self._of[name] = Breaker(self._policy, self._random)
        if failed is None:
            breaker.released(generation)
        elif failed:
            breaker.failed(generation, now)
        else:
            breaker.succeeded(generation, now)
