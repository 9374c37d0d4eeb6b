"""What could choose in the router's place: chance alone, or the least loaded by counts told now and then."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Mapping

from benchmarks.simulated.world import Visit

_TOLD = 0.5
"""Seconds between two tellings of the counts."""


class Unheeded:
    """A call of which nobody wants to know anything."""

    def accepted(self, in_flight: int, now: float) -> None: ...
    def refused(self, in_flight: int, now: float, until: float) -> None: ...
    def first_chunk(self, now: float) -> None: ...
    def failed(self, now: float) -> None: ...
    def finished(self) -> None: ...


class AtRandom:
    """Any actor that has not refused this call."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._actors: list[str] = []

    def update(self, actors: dict[str, str]) -> None:
        self._actors = list(actors)

    def choose(self, now: float, excluded: Collection[str] = (), *, session: str = "") -> str | None:
        left = [actor for actor in self._actors if actor not in excluded]
        return self._chance.choice(left) if left else None

    def started(self, actor: str, now: float) -> Visit:
        return Unheeded()


class LeastLoaded(AtRandom):
    """The actor with the fewest calls in flight: all callers' when it was told last, and its own since."""

    def __init__(self, chance: random.Random, counts: Callable[[], Mapping[str, int]]) -> None:
        super().__init__(chance)
        self._counts = counts
        self._told_at = -_TOLD
        self._told: dict[str, int] = {}

    def choose(self, now: float, excluded: Collection[str] = (), *, session: str = "") -> str | None:
        if now - self._told_at >= _TOLD:
            self._told, self._told_at = dict(self._counts()), now
        left = [actor for actor in self._actors if actor not in excluded]
        self._chance.shuffle(left)
        return min(left, key=lambda actor: self._told.get(actor, 0), default=None)

    def started(self, actor: str, now: float) -> Visit:
        self.count(actor, 1)
        return Counted(self, actor)

    def count(self, actor: str, more: int) -> None:
        self._told[actor] = self._told.get(actor, 0) + more


class Counted(Unheeded):
    """Is taken off the count when it ends."""

    def __init__(self, policy: LeastLoaded, actor: str) -> None:
        self._policy = policy
        self._actor = actor

    def finished(self) -> None:
        self._policy.count(self._actor, -1)
