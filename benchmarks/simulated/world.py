"""A pool in virtual time: callers that choose by some policy, and actors that serve, stall, refuse or die.

Each caller sees only what its own calls bring back, `_ONE_WAY` later. All chance comes from the load,
which is drawn before, so that every policy meets the same calls.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final, Protocol

from llmgine.actors.pools.scaling import Autoscaler, Load

_ONE_WAY: Final = 0.001
_FULL_PAUSE: Final = 0.05
_RETRY: Final = 0.05  # after every actor refused
_SILENCE: Final = 1.0  # until a caller notices that an actor says nothing
_FIRST: Final = 0.2  # the share of a call's time until its first chunk
_NOTICED: Final = 5.0  # until the table tells that an actor is dead
_SAMPLE: Final = 0.1
_LOOK: Final = 0.5  # between two looks at the load of a pool that scales
_START: Final = 3.0  # until a new actor takes calls


class Visit(Protocol):
    """What a caller tells of one call at one actor."""

    def accepted(self, in_flight: int, now: float) -> None: ...
    def refused(self, in_flight: int, now: float, until: float) -> None: ...
    def first_chunk(self, now: float) -> None: ...
    def failed(self, now: float) -> None: ...
    def finished(self) -> None: ...


class Policy(Protocol):
    """What a caller asks where to send a call."""

    def update(self, actors: dict[str, str]) -> None: ...
    def choose(self, now: float, excluded: Collection[str] = (), *, session: str = "") -> str | None: ...
    def started(self, actor: str, now: float) -> Visit: ...


@dataclass(slots=True)
class Call:
    """One call of a session: when it comes, at which caller, how long it takes where nothing is slow."""

    at: float
    caller: int
    seconds: float
    session: str = ""
    answered: float = inf
    actor: str = ""

    @property
    def waited(self) -> float:
        """From its coming to its first chunk."""
        return self.answered - self.at


@dataclass(slots=True)
class Actor:
    """A simulated provider actor: so many calls at once, a bounded queue, and what befalls it."""

    name: str
    slots: int = 16
    most: int = 64
    slower: Callable[[float], float] = lambda now: 1.0
    dies: float = inf
    running: int = 0
    queue: deque[Callable[[], None]] = field(default_factory=deque)

    @property
    def in_flight(self) -> int:
        return self.running + len(self.queue)


class World:
    """Runs a load against actors; afterwards each call knows when it was answered."""

    def __init__(self, actors: Sequence[Actor]) -> None:
        self.now = 0.0
        self.actors = {actor.name: actor for actor in actors}
        self.policies: Sequence[Policy] = ()
        self.imbalances: list[float] = []
        self.sizes: list[tuple[float, float]] = []
        self.needs: list[tuple[float, float]] = []
        self.open = 0
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = 0

    def callers(self, policies: Sequence[Policy]) -> None:
        """Each of them chooses by its own; calls name them by their places."""
        self.policies = policies
        self.tell()

    def at(self, when: float, act: Callable[..., None], *arguments: Any) -> None:
        self._order += 1
        heapq.heappush(self._events, (when, self._order, act, arguments))

    def tell(self) -> None:
        """The table of actors reaches all callers."""
        for policy in self.policies:
            policy.update(dict.fromkeys(self.actors, ""))

    def scale(self, scaler: Autoscaler) -> None:
        """The pool follows its load from now on; who leaves it ends what it has."""
        slots, starting, made = next(iter(self.actors.values())).slots, 0, len(self.actors)

        def join(name: str) -> None:
            nonlocal starting
            starting -= 1
            self.actors[name] = Actor(name, slots)
            self.tell()

        def look() -> None:
            nonlocal starting, made
            there = list(self.actors.values())
            waiting, running = sum(len(one.queue) for one in there), sum(one.running for one in there)
            load = Load(len(there) + starting, len(there), running, waiting, slots)
            size = scaler.decide(self.now, load)
            for _ in range(size - load.size):
                self.at(self.now + _START, join, f"p{made}")
                starting, made = starting + 1, made + 1
            for one in there[len(there) - max(0, load.size - size) :]:
                del self.actors[one.name]
            self.tell()
            self.at(self.now + _LOOK, look)

        self.at(_LOOK, look)

    def run(self, calls: Sequence[Call]) -> None:
        """Until every call is answered."""
        self.at(_SAMPLE, self._sample)
        self.open = len(calls)
        for call in calls:
            self.at(call.at, self._send, call, frozenset())
        for actor in self.actors.values():
            if actor.dies < inf:
                self.at(actor.dies + _NOTICED, self._bury, actor)
        while self.open:
            self.now, _, act, arguments = heapq.heappop(self._events)
            act(*arguments)

    def _send(self, call: Call, excluded: frozenset[str]) -> None:
        policy = self.policies[call.caller]
        name = policy.choose(self.now, excluded, session=call.session)
        if name is None:
            self.at(self.now + _RETRY, self._send, call, frozenset())
            return
        visit = policy.started(name, self.now)
        self.at(self.now + _ONE_WAY, self._arrive, call, self.actors[name], visit, excluded)

    def _arrive(self, call: Call, actor: Actor, visit: Visit, excluded: frozenset[str]) -> None:
        back = self.now + _ONE_WAY
        if actor.dies <= self.now:
            self.at(self.now + _SILENCE, self._lost, call, actor, visit, excluded)
        elif actor.in_flight >= actor.most:
            self.at(back, self._refused, call, actor, visit, excluded, actor.in_flight)
        elif actor.running < actor.slots:
            self._serve(call, actor, visit)
            self.at(back, visit.accepted, actor.in_flight, back)
        else:
            actor.queue.append(lambda: self._serve(call, actor, visit))
            self.at(back, visit.accepted, actor.in_flight, back)

    def _serve(self, call: Call, actor: Actor, visit: Visit) -> None:
        actor.running += 1
        seconds = call.seconds * actor.slower(self.now)
        first, end = self.now + seconds * _FIRST, self.now + seconds
        if actor.dies <= first:
            self.at(max(actor.dies, self.now) + _SILENCE, self._lost, call, actor, visit, frozenset())
            return
        self.at(first + _ONE_WAY, self._first_chunk, call, actor, visit)
        self.at(end, self._end, actor)
        self.at(end + _ONE_WAY, visit.finished)

    def _end(self, actor: Actor) -> None:
        actor.running -= 1
        if actor.queue:
            actor.queue.popleft()()

    def _first_chunk(self, call: Call, actor: Actor, visit: Visit) -> None:
        call.answered, call.actor = self.now, actor.name
        self.open -= 1
        visit.first_chunk(self.now)

    def _refused(
        self, call: Call, actor: Actor, visit: Visit, excluded: frozenset[str], in_flight: int
    ) -> None:
        visit.refused(in_flight, self.now, self.now + _FULL_PAUSE)
        visit.finished()
        self._send(call, excluded | {actor.name})

    def _lost(self, call: Call, actor: Actor, visit: Visit, excluded: frozenset[str]) -> None:
        visit.failed(self.now)
        visit.finished()
        self._send(call, excluded | {actor.name})

    def _bury(self, actor: Actor) -> None:
        """What still waits in the dead actor's queue is lost now."""
        del self.actors[actor.name]
        self.tell()
        while actor.queue:
            actor.queue.popleft()()

    def _sample(self) -> None:
        carried = [actor.in_flight for actor in self.actors.values()]
        slots = next(iter(self.actors.values())).slots
        self.sizes.append((self.now, float(len(carried))))
        self.needs.append((self.now, sum(carried) / slots))
        if sum(carried) >= len(carried):
            self.imbalances.append(max(carried) * len(carried) / sum(carried))
        self.at(self.now + _SAMPLE, self._sample)
