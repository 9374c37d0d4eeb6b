"""Which provider actor takes a call. Pure.

Of two actors picked at random the one with less to wait for: calls in flight, times how long first
chunks take there lately. A caller counts its own calls and believes what each actor says of itself with
its answers, for a while; no call is ever made to ask. Times are seconds of one monotonic clock, given in;
chance comes from a given generator.

Beyond that: a call whose answer may be kept goes where its like went (`key`), a session's calls stay with
one actor, and calls stay on the caller's node, each as long as that actor is not overloaded against
others. An actor that refused is passed over for a pause of its own wish. One that is silent or broken is
in quarantine: single calls probe it, after growing pauses. Where no other is left, an actor to be avoided
is better than none.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from llmgine.actors.pools.routing.affinity import Homes, ranked
from llmgine.actors.pools.routing.load import Load, Usual
from llmgine.actors.pools.routing.quarantine import Quarantine

# A preferred actor may have so many times as much to wait for as another, and so many calls on top.
_LOYALTY = 1.5
_SPARED = 2.0
# A key's actor may carry so much more than the mean of the pool, and so many calls on top.
_CROWDED = 1.25
_CROWD = 4.0


@dataclass(slots=True)
class _Actor:
    name: str
    load: Load
    rests_until: float = 0.0
    quarantine: Quarantine = field(default_factory=Quarantine)

    def open(self, now: float) -> bool:
        return self.rests_until <= now and self.quarantine.admits(now)


class Visit:
    """One call at one actor: what is learned of the actor by it. Its last word is `finished`."""

    __slots__ = ("_actor", "_answered", "_began", "_probing")

    def __init__(self, actor: _Actor, now: float) -> None:
        self._actor = actor
        self._began = now
        self._answered = False
        self._probing = actor.quarantine.enter(now)
        actor.load.started(now)

    @property
    def actor(self) -> str:
        return self._actor.name

    def accepted(self, in_flight: int, now: float) -> None:
        """The actor took the call and said how many it carries now, this one included."""
        self._lives()
        self._actor.load.heard(in_flight, now)

    def refused(self, in_flight: int, now: float, until: float) -> None:
        """The actor takes no call before then, and said how many it carries."""
        self._lives()
        self._actor.load.heard(in_flight + 1, now)
        self._actor.rests_until = max(self._actor.rests_until, until)

    def first_chunk(self, now: float) -> None:
        """The answer has begun; said again, it counts once."""
        if self._answered:
            return
        self._answered = True
        self._lives()
        self._actor.load.answered(now - self._began, now)

    def failed(self, now: float) -> None:
        """The actor was silent, or its link broke."""
        self._probing = False
        self._actor.quarantine.failed(self._began, now)

    def finished(self) -> None:
        """The call is over, however it ended."""
        if self._probing:
            self._actor.quarantine.given_up()
        self._actor.load.finished(self._answered)

    def _lives(self) -> None:
        self._probing = False
        self._actor.quarantine.answered()


class Router:
    """Choices among the actors of one pool, by one caller on that node."""

    def __init__(self, chance: random.Random, node: str = "") -> None:
        self._chance = chance
        self._node = node
        self._actors: dict[str, _Actor] = {}
        self._near: list[_Actor] = []
        self._far: list[_Actor] = []
        self._usual = Usual()
        self._homes = Homes()

    @property
    def size(self) -> int:
        """How many actors the pool has."""
        return len(self._actors)

    def __contains__(self, actor: str) -> bool:
        """Whether it is one of the pool's actors."""
        return actor in self._actors

    def update(self, actors: Mapping[str, str]) -> None:
        """These are the pool's actors now, and their nodes; what is known of those that stay is kept."""
        self._actors = {name: self._actors.get(name) or _Actor(name, Load(self._usual)) for name in actors}
        near = {name for name, node in actors.items() if node == self._node}
        self._near = [actor for name, actor in self._actors.items() if name in near]
        self._far = [actor for name, actor in self._actors.items() if name not in near]

    def choose(
        self, now: float, excluded: Collection[str] = (), *, session: str = "", key: bytes = b""
    ) -> str | None:
        """The actor for a call of that session or key; None where all are excluded."""
        near, far = self._open(self._near, now, excluded), self._open(self._far, now, excluded)
        if not near and not far:
            return self._avoided(now, excluded)
        if key:
            return self._of_key(key, [*near, *far], now)
        best = self._best(near, far, now)
        if not session:
            return best.name
        home = self._actors.get(self._homes.of(session) or "")
        if home is None or home.name in excluded or not home.open(now) or not _holds(home, best, now):
            home = best
        self._homes.moved(session, home.name)
        return home.name

    def started(self, actor: str, now: float) -> Visit:
        """A call is on its way to an actor that was chosen."""
        return Visit(self._actors[actor], now)

    def _open(self, actors: list[_Actor], now: float, excluded: Collection[str]) -> list[_Actor]:
        return [actor for actor in actors if actor.open(now) and actor.name not in excluded]

    def _best(self, near: Sequence[_Actor], far: Sequence[_Actor], now: float) -> _Actor:
        """The better of two on the caller's node, unless two others show that it is overloaded."""
        if not near or not far:
            return self._better(near or far, now)
        here, there = self._better(near, now), self._better(far, now)
        return here if _holds(here, there, now) else there

    def _better(self, actors: Sequence[_Actor], now: float) -> _Actor:
        if len(actors) == 1:
            return actors[0]
        first = int(self._chance.random() * len(actors))
        second = int(self._chance.random() * (len(actors) - 1))
        one, other = actors[first], actors[second + (second >= first)]
        return one if one.load.score(now) <= other.load.score(now) else other

    def _of_key(self, key: bytes, actors: Sequence[_Actor], now: float) -> str:
        """The first of the key's own order that is not crowded; one always is not."""
        carried = {actor.name: actor.load.in_flight(now) for actor in actors}
        bound = _CROWDED * sum(carried.values()) / len(carried) + _CROWD
        return next(name for name in ranked(key, carried) if carried[name] <= bound)

    def _avoided(self, now: float, excluded: Collection[str]) -> str | None:
        """The one to be avoided least: who only rests, before who may be broken."""
        left = [actor for actor in self._actors.values() if actor.name not in excluded]
        resting = [actor for actor in left if actor.quarantine.admits(now)]
        if resting:
            return self._better(resting, now).name
        return min(left, key=lambda actor: actor.quarantine.until).name if left else None


def _holds(preferred: _Actor, other: _Actor, now: float) -> bool:
    """Whether the preferred actor is not overloaded against the other."""
    return preferred.load.score(now, spared=_SPARED) <= _LOYALTY * other.load.score(now)
