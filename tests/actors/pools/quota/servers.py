"""Providers in virtual time that refuse what is beyond their limits, each counting in its own way."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

MINUTE = 60.0


class Bucket:
    """Full at first, and filled at an even pace."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._level, self._at = limit, 0.0

    def left(self, now: float) -> float:
        self._level = min(self.limit, self._level + (now - self._at) * self.limit / MINUTE)
        self._at = now
        return self._level

    def count(self, amount: float, now: float) -> None:
        self._level = self.left(now) - amount


class FixedWindows:
    """Begins anew at each whole minute."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._window, self._used = 0, 0.0

    def left(self, now: float) -> float:
        if (window := int(now // MINUTE)) != self._window:
            self._window, self._used = window, 0.0
        return self.limit - self._used

    def count(self, amount: float, now: float) -> None:
        self.left(now)
        self._used += amount


class SlidingWindow:
    """Looks at the last minute at each call."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._counted: deque[tuple[float, float]] = deque()
        self._used = 0.0

    def left(self, now: float) -> float:
        while self._counted and self._counted[0][0] <= now - MINUTE:
            self._used -= self._counted.popleft()[1]
        return self.limit - self._used

    def count(self, amount: float, now: float) -> None:
        self._counted.append((now, amount))
        self._used += amount


_FEW = 15

Counter = Bucket | FixedWindows | SlidingWindow


class Server:
    """Counts requests and input when a call arrives, output while it answers; keeps what it counted."""

    def __init__(self, kind: type[Counter], limits: Mapping[str, float]) -> None:
        self.counters: dict[str, Counter] = {of: kind(limit) for of, limit in limits.items()}
        self.counted: dict[str, list[tuple[float, float]]] = {of: [] for of in limits}
        self.offered: dict[str, list[tuple[float, float]]] = {of: [] for of in limits}
        self.refused: list[float] = []
        self.busy_until = 0.0  # refuses, until then, all but a few

    def arrive(self, amounts: dict[str, float], now: float) -> bool:
        """Whether the call is taken."""
        needs = {of: amounts.get(of, 0.0) for of in self.counters if of != "output_tokens"}
        for of, need in needs.items():
            self.offered[of].append((now, need))
        busy = now < self.busy_until and len(self.counted["requests"]) >= _FEW
        if busy or any(self.counters[of].left(now) + 1e-9 < need for of, need in needs.items()):
            self.refused.append(now)
            return False
        output = self.counters.get("output_tokens")
        if output is not None and output.left(now) < 0:
            self.refused.append(now)
            return False
        for of, need in needs.items():
            self.count(of, need, now)
        return True

    def count(self, of: str, amount: float, now: float) -> None:
        if of in self.counters:
            self.counters[of].count(amount, now)
            self.counted[of].append((now, amount))
            if of == "output_tokens":
                self.offered[of].append((now, amount))

    def told(self, now: float) -> dict[str, tuple[float, float]]:
        """What its headers say: each limit, and what is left of it."""
        return {of: (counter.limit, max(0.0, counter.left(now))) for of, counter in self.counters.items()}

    def most(self, of: str) -> float:
        """The most that came in any window, whether it was taken or refused."""
        window: deque[tuple[float, float]] = deque()
        most = total = 0.0
        for at, amount in self.offered[of]:
            window.append((at, amount))
            total += amount
            while window[0][0] <= at - MINUTE:
                total -= window.popleft()[1]
            most = max(most, total)
        return most

    def total(self, of: str, start: float, end: float) -> float:
        return sum(amount for at, amount in self.counted[of] if start <= at < end)
