"""Which provider actor takes a call: power of two choices over load and recent answer times.

Pure: times are seconds of one monotonic clock, given in; chance comes from a given generator.
Counts are the caller's own plus what each actor said of itself with its last answer, so no call is
ever made to ask. An actor that broke or refused is passed over for a while.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

# The share of a new observation in the running mean of times to the first chunk.
_WEIGHT = 0.3
# What an actor without an observation is taken for, in seconds: low, so that newcomers are tried.
_UNSEEN = 0.01


@dataclass(slots=True)
class _Load:
    mine: int = 0
    reported: int = 0
    first_chunk: float = _UNSEEN
    avoid_until: float = 0.0

    @property
    def score(self) -> float:
        """What a call would have to wait for: those before it, each as long as answers take lately."""
        return (max(self.mine, self.reported) + 1) * self.first_chunk


class Router:
    """Choices among the actors of one pool."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._loads: dict[str, _Load] = {}

    def update(self, actors: Iterable[str]) -> None:
        """These are the pool's actors now; what is known of those that stay is kept."""
        self._loads = {actor: self._loads.get(actor) or _Load() for actor in actors}

    def choose(self, now: float, excluded: frozenset[str] = frozenset()) -> str | None:
        """The better of two actors picked at random; None where all are excluded."""
        candidates = [actor for actor in self._loads if actor not in excluded]
        rested = [actor for actor in candidates if self._loads[actor].avoid_until <= now]
        # An actor to be avoided is better than none.
        pool = rested or candidates
        if not pool:
            return None
        pair = self._chance.sample(pool, min(2, len(pool)))
        return min(pair, key=lambda actor: self._loads[actor].score)

    def started(self, actor: str) -> None:
        if load := self._loads.get(actor):
            load.mine += 1

    def finished(self, actor: str) -> None:
        if load := self._loads.get(actor):
            load.mine -= 1
            load.reported = max(0, load.reported - 1)

    def accepted(self, actor: str, in_flight: int) -> None:
        """The actor took the call and said how many it carries now, this one included."""
        if load := self._loads.get(actor):
            load.reported = in_flight

    def refused(self, actor: str, in_flight: int, until: float) -> None:
        """The actor is full, or gone; it is passed over until then."""
        if load := self._loads.get(actor):
            load.reported = in_flight
            load.avoid_until = until

    def first_chunk(self, actor: str, seconds: float) -> None:
        """A call's first chunk came after this time."""
        if load := self._loads.get(actor):
            load.first_chunk += _WEIGHT * (max(seconds, 1e-4) - load.first_chunk)
