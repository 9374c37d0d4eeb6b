"""Which provider actors there are and should be; the supervisor's decisions on pools, without its hands.

Each pool has a plan, and `steps` says what brings it nearer: actors to start, to give up, and to drain.
Replacements are ready before what they replace leaves, a quarter of the pool at a time. What does not
start is tried again after growing pauses. Times are seconds of one monotonic clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from llmgine.actors.control import names

# Pauses between two tries to start what does not start.
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0
# An actor that was ready for so long is replaced at once when it dies.
_PROVEN = 10.0
# How much of a pool is replaced at a time.
_SURGE = 0.25
# The form of an actor that shall be replaced, whatever it runs.
_OUTDATED = -1


@dataclass(frozen=True, slots=True)
class Plan:
    """How many actors a pool shall have, and what was changed of its settings since the launch.

    A later plan has a greater `number`. Actors are born with the `form` that they run; one of another
    form than the plan's is to be replaced.
    """

    number: int = 0
    size: int = 0
    form: int = 0
    changes: dict[str, Any] = field(default_factory=dict)

    def to_wire(self) -> list[Any]:
        return [self.number, self.size, self.form, self.changes]

    @classmethod
    def from_wire(cls, wire: list[Any]) -> Self:
        return cls(*wire)


@dataclass(slots=True)
class Actor:
    """One provider actor. Only `ready` ones are told to callers."""

    name: str
    form: int
    state: Literal["starting", "ready", "draining"] = "starting"
    node: str = ""
    ready_at: float = 0.0


@dataclass(slots=True)
class Pool:
    """The actors of one provider, in the order of their making."""

    provider: str
    plan: Plan = Plan()
    actors: dict[str, Actor] = field(default_factory=dict)
    next_number: int = 0
    failure: Exception | None = None
    failures: int = 0
    retry_at: float = 0.0

    @property
    def ready(self) -> list[Actor]:
        return [actor for actor in self.actors.values() if actor.state == "ready"]

    @property
    def starting(self) -> list[Actor]:
        return [actor for actor in self.actors.values() if actor.state == "starting"]

    @property
    def settled(self) -> bool:
        """Whether exactly the actors that the plan wants take calls."""
        forms = [actor.form for actor in self.actors.values() if actor.state != "draining"]
        return not self.starting and forms == [self.plan.form] * self.plan.size


@dataclass(frozen=True, slots=True)
class Steps:
    """What brings a pool nearer to its plan: actors to start, starting ones to give up, ones to drain."""

    start: tuple[str, ...] = ()
    give_up: tuple[str, ...] = ()
    drain: tuple[str, ...] = ()


class PoolTable:
    """The pools of one runtime."""

    def __init__(self) -> None:
        self.pools: dict[str, Pool] = {}

    def of(self, provider: str) -> Pool:
        return self.pools.setdefault(provider, Pool(provider))

    def find(self, actor: str) -> Actor | None:
        pool = self.pools.get(names.parse_provider(actor)[0])
        return pool.actors.get(actor) if pool else None

    # What is wanted.

    def resize(self, provider: str, size: int) -> None:
        """The pool shall have so many actors."""
        pool = self.of(provider)
        if size != pool.plan.size:
            pool.plan = replace(pool.plan, number=pool.plan.number + 1, size=size)
        self.hurry(provider)

    def change(self, provider: str, changes: dict[str, Any], *, size: int, replaced: bool) -> None:
        """The pool's settings are other ones; where actors run them, all shall be `replaced`."""
        plan = self.of(provider).plan
        form = plan.form + 1 if replaced else plan.form
        self.of(provider).plan = Plan(plan.number + 1, size, form, changes)
        self.hurry(provider)

    def revert(self, provider: str, former: Plan) -> None:
        """What was planned since cannot be: the former plan holds again."""
        pool = self.of(provider)
        pool.plan = replace(former, number=pool.plan.number + 1)
        self.hurry(provider)

    def outdate(self, provider: str, actor: str) -> bool:
        """The actor shall go once another is in its place; False where the pool has no such actor."""
        known = self.of(provider).actors.get(actor)
        if known is not None:
            known.form = _OUTDATED
            self.hurry(provider)
        return known is not None

    def had(self, provider: str, actor: str) -> bool:
        """Whether the pool has such an actor, or had one that is gone."""
        if not names.is_provider(actor):
            return False
        pool, number = names.parse_provider(actor)
        return pool == provider and number < self.of(provider).next_number

    def hurry(self, provider: str) -> None:
        """What did not start is tried again at once."""
        pool = self.of(provider)
        pool.failure, pool.failures, pool.retry_at = None, 0, 0.0

    # What happens.

    def joined(self, actor: str, now: float) -> None:
        """An actor is up and takes calls."""
        known = self.find(actor)
        if known is not None and known.state == "starting":
            known.state, known.ready_at = "ready", now
            pool = self.of(names.parse_provider(actor)[0])
            pool.failure, pool.failures = None, 0

    def failed(self, actor: str, why: Exception, now: float) -> None:
        """An actor could not be started, or died early."""
        pool = self.of(names.parse_provider(actor)[0])
        if pool.actors.pop(actor, None) is not None:
            pool.failure = why
            pool.retry_at = now + min(_FIRST_PAUSE * 2**pool.failures, _LONGEST_PAUSE)
            pool.failures += 1

    def gone(self, actor: str, why: Exception, now: float) -> None:
        """An actor will not come back."""
        known = self.find(actor)
        if known is not None and known.state == "ready" and now - known.ready_at < _PROVEN:
            self.failed(actor, why, now)
        else:
            self.forget(actor)

    def forget(self, actor: str) -> None:
        """An actor is there no more, and that is no failure."""
        self.of(names.parse_provider(actor)[0]).actors.pop(actor, None)

    def placed(self, actor: str, node: str) -> bool:
        """An actor says on which node it lives; True where callers must be told."""
        known = self.find(actor)
        if known is None or known.node == node:
            return False
        known.node = node
        return known.state == "ready"

    def expect(self, actor: str) -> None:
        """A restarted supervisor knows that the actor is there, and nothing else of it."""
        provider, number = names.parse_provider(actor)
        pool = self.of(provider)
        pool.next_number = max(pool.next_number, number + 1)
        pool.actors.setdefault(actor, Actor(actor, pool.plan.form))

    def found(self, report: dict[str, Any], now: float) -> None:
        """The actor says what it runs."""
        self.expect(report["name"])
        actor = self.of(report["pool"]).actors[report["name"]]
        actor.form, actor.node, actor.ready_at = report["form"], report["node"], now
        actor.state = "draining" if report["stopping"] else "ready"

    def plans(self) -> dict[str, list[Any]]:
        """What a restarted supervisor shall find again."""
        return {provider: pool.plan.to_wire() for provider, pool in self.pools.items()}

    def remember(self, plans: dict[str, list[Any]]) -> None:
        """Somebody has kept these plans; the latest of each pool holds."""
        for provider, wire in plans.items():
            pool, plan = self.of(provider), Plan.from_wire(wire)
            if plan.number > pool.plan.number:
                pool.plan = plan

    # What follows.

    def steps(self, provider: str, now: float) -> Steps:
        """What to do now. Drained actors leave the callers' table, those given up are forgotten."""
        pool = self.of(provider)
        size, form = pool.plan.size, pool.plan.form
        there = [actor for actor in pool.actors.values() if actor.state != "draining"]
        old = [actor for actor in there if actor.form != form and actor.state == "ready"]
        current = sorted(
            (actor for actor in there if actor.form == form), key=lambda actor: actor.state == "starting"
        )
        give_up = [actor for actor in there if actor.form != form and actor.state == "starting"]
        give_up += [actor for actor in current[size:] if actor.state == "starting"]
        ready = [actor for actor in current if actor.state == "ready"]
        needed = max(0, size - len(ready))
        drain = ready[size:] + old[needed:]
        for actor in give_up:
            del pool.actors[actor.name]
        for actor in drain:
            actor.state = "draining"
        wanted = size - len(current)
        if staying := len(old[:needed]):
            wanted = min(wanted, size + math.ceil(size * _SURGE) - len(current) - staying)
        start = self._started(pool, wanted) if now >= pool.retry_at else ()
        return Steps(start, tuple(actor.name for actor in give_up), tuple(actor.name for actor in drain))

    def _started(self, pool: Pool, count: int) -> tuple[str, ...]:
        started = []
        for _ in range(count):
            name = names.provider(pool.provider, pool.next_number)
            pool.next_number += 1
            pool.actors[name] = Actor(name, pool.plan.form)
            started.append(name)
        return tuple(started)

    def members(self, provider: str) -> list[str]:
        """The actors that take calls."""
        pool = self.pools.get(provider)
        return [actor.name for actor in pool.ready] if pool else []

    def places(self, provider: str) -> list[list[str]]:
        """What callers are told of a pool: each actor and its node."""
        return [[actor.name, actor.node] for actor in self.of(provider).ready]

    def snapshot(self) -> dict[str, list[list[str]]]:
        """What callers are told: the places of each pool."""
        return {provider: self.places(provider) for provider in self.pools}
