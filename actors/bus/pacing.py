"""How fast something may go, and how long to wait before trying again. Pure."""

from __future__ import annotations

from collections.abc import Callable

# What sums of fractions may miss of a whole token.
_ROUNDING = 1e-9


def full_jitter(base: float, cap: float, retry: int, random: Callable[[], float]) -> float:
    """Seconds before retry `retry`, counted from 1: anywhere from 0 to `min(cap, base * 2 ** (retry - 1))`.

    `random` draws from 0 to 1, so that many who failed together do not come again together.
    """
    return random() * min(cap, base * 2.0 ** min(retry - 1, 1_000))


class TokenBucket:
    """Holds `size` tokens, full at first, and gets `rate` of them a second."""

    __slots__ = ("_rate", "_size", "_then", "_tokens")

    def __init__(self, rate: float, size: float) -> None:
        self._rate = rate
        self._size = self._tokens = float(size)
        self._then: float | None = None

    def take(self, now: float) -> bool:
        """Take a token where there is one."""
        self._refill(now)
        if self._tokens < 1.0 - _ROUNDING:
            return False
        self._tokens -= 1.0
        return True

    def wait(self, now: float) -> float:
        """Seconds until there is a token; 0 where there is one."""
        self._refill(now)
        return max(0.0, (1.0 - self._tokens) / self._rate)

    def _refill(self, now: float) -> None:
        if self._then is not None and now > self._then:
            self._tokens = min(self._size, self._tokens + (now - self._then) * self._rate)
        self._then = now
