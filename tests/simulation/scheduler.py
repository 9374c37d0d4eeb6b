"""One queue of what happens next, in virtual time: the same seed gives the same schedule."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from typing import Any, Protocol


class Mortal(Protocol):
    """What may die before its next step."""

    alive: bool


class Forever:
    """The owner of steps that happen whatever dies."""

    alive = True


FOREVER = Forever()


class Scheduler:
    """Runs callbacks in order of time; those of one instant in an order that the seed chooses."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.steps = 0
        self._heap: list[tuple[float, float, int, Mortal, Callable[..., None], tuple[Any, ...]]] = []
        self._order = itertools.count()

    def after(self, delay: float, owner: Mortal, act: Callable[..., None], *arguments: Any) -> None:
        """`act` is called unless its owner has died by then."""
        at = self.now + delay
        heapq.heappush(self._heap, (at, self.random.random(), next(self._order), owner, act, arguments))

    def between(self, low: float, high: float) -> float:
        return low + (high - low) * self.random.random()

    def chance(self, probability: float) -> bool:
        return probability > 0 and self.random.random() < probability

    def step(self) -> bool:
        """The next thing happens; False where nothing is left to happen."""
        heap = self._heap
        while heap:
            at, _, _, owner, act, arguments = heapq.heappop(heap)
            if not owner.alive:
                continue
            self.now = at
            self.steps += 1
            act(*arguments)
            return True
        return False
