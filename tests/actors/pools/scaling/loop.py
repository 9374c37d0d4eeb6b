"""A pool in virtual time, whose size an autoscaler decides: calls arrive, wait, run and end."""

from __future__ import annotations

import random
from collections.abc import Callable

from llmgine.actors.pools.scaling import Autoscaler, Load, ScalingOptions

_STEP = 0.5
# Calls that an actor runs before its loop lags, as a share of its capacity.
_CALM = 0.9


class Loop:
    """One pool. `rate` gives the calls that arrive in a second, at a time."""

    def __init__(
        self,
        options: ScalingOptions,
        rate: Callable[[float], float],
        *,
        seconds: float = 2.0,
        capacity: int = 10,
        start: float = 4.0,
        usable: float | None = None,
        seed: int = 1,
    ) -> None:
        self.now = 0.0
        self.waiting = 0
        self.longest = 0
        self.sizes = [(0.0, 1)]
        self._scaler = Autoscaler(options)
        self._rate = rate
        self._seconds = seconds
        self._capacity = capacity
        self._start = start
        self._usable = usable
        self._chance = random.Random(seed)
        self._running: list[float] = []
        self._ready_at = [0.0]

    @property
    def size(self) -> int:
        return len(self._ready_at)

    @property
    def changes(self) -> int:
        return len(self.sizes) - 1

    def run(self, until: float) -> None:
        while self.now < until:
            self._step()

    def _step(self) -> None:
        self.now += _STEP
        self._running = [end for end in self._running if end > self.now]
        self.waiting += self._arrivals()
        ready = sum(at <= self.now for at in self._ready_at)
        room = ready * self._capacity - len(self._running)
        if self._usable is not None:
            room = min(room, int(self._usable) - len(self._running))
        begun = max(0, min(self.waiting, room))
        self.waiting -= begun
        self.longest = max(self.longest, self.waiting)
        self._running += [self.now + self._chance.uniform(0.5, 1.5) * self._seconds for _ in range(begun)]
        self._scale(ready)

    def _arrivals(self) -> int:
        mean = self._rate(self.now) * _STEP
        return sum(self._chance.random() < mean / 100 for _ in range(100)) if mean else 0

    def _scale(self, ready: int) -> None:
        full = len(self._running) / (ready * self._capacity)
        load = Load(
            size=self.size,
            ready=ready,
            in_flight=len(self._running),
            waiting=self.waiting,
            capacity=self._capacity,
            loop_lag=0.3 if full > _CALM else 0.001,
            usable=self._usable,
        )
        size = self._scaler.decide(self.now, load)
        if size != self.size:
            self.sizes.append((self.now, size))
        while self.size < size:
            self._ready_at.append(self.now + self._start)
        del self._ready_at[size:]
