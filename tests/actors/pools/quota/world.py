"""Actors with their books, the owner of the quotas, and a provider, in virtual time under one seed."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from llmgine.actors.pools.quota.book import LeaseBook, Reservation
from llmgine.actors.pools.quota.learning import Lesson
from llmgine.actors.pools.quota.line import Waiting
from llmgine.actors.pools.quota.messages import Ask, Grant
from llmgine.actors.pools.quota.meters import Limit, Meter, Need, Of, Used
from llmgine.actors.pools.quota.owner import QuotaOwner
from llmgine.actors.pools.quota.plan import Plan
from llmgine.providers.catalogue.limits import KeyLimits
from tests.actors.pools.quota.servers import Bucket, Counter, Server

KEY, MODEL = "main", "m"


@dataclass(frozen=True)
class Case:
    """One run. Loads are calls a second of each actor; `known` limits stand in the settings."""

    seed: int
    limits: dict[Of, float]
    loads: tuple[float, ...]
    server: type[Counter] = Bucket
    known: bool = True
    headers: bool = True
    seconds: float = 300.0
    owner_restarts: int = 0
    actor_deaths: int = 0
    loss: float = 0.0
    slowest: float = 0.3  # of a message between an actor and the owner
    arrival: float = 0.5  # the longest way of a call to the provider
    answer: tuple[float, float] = (0.5, 4.0)  # seconds that an answer takes
    input: tuple[int, int] = (200, 1200)
    output: tuple[int, int] = (50, 400)
    large: int | None = None  # the input of each call of the last actor
    book: type[LeaseBook] = LeaseBook
    owner: type[QuotaOwner] = QuotaOwner


@dataclass
class Actor:
    name: str
    life: int
    book: LeaseBook
    load: float
    alive: bool = True
    ticking: float | None = None
    asked: int = 0
    sent: int = 0


class World:
    """Runs a case; the server keeps what it counted."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.chance = random.Random(case.seed)
        self.now = 0.0
        self.server = Server(case.server, {str(of): limit for of, limit in case.limits.items()})
        self.plan = Plan({KEY: self._settings() if case.known else KeyLimits()})
        self.owner: QuotaOwner | None = self._new_owner()
        self.largest: dict[Of, float] = dict.fromkeys(case.limits, 0.0)
        self.restarts: list[float] = []
        self.waited: list[float] = []
        self.asks = self.taken = 0
        self.disagreed: list[str] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self.actors = [self._new_actor(f"a{index}", 1, load) for index, load in enumerate(case.loads)]

    def run(self) -> World:
        case = self.case
        for actor in self.actors:
            self._later(self.chance.expovariate(max(actor.load, 1e-9)), partial(self._call, actor))
        for _ in range(case.owner_restarts):
            self._later(self.chance.uniform(0.1, 0.9) * case.seconds, self._crash_owner)
        for _ in range(case.actor_deaths):
            self._later(self.chance.uniform(0.1, 0.9) * case.seconds, self._kill_one)
        self._later(1.0, self._compare)
        while self._events and self._events[0][0] <= case.seconds:
            self.now, _, event = heapq.heappop(self._events)
            event()
        return self

    def _compare(self) -> None:
        """What the owner believes of an actor is never less than what that has, nor shorter."""
        self._later(1.0, self._compare)
        for actor in self.actors if self.owner is not None and self.case.known and not self.restarts else ():
            for meter, account in actor.book.accounts.items():
                ledger = self.owner.ledgers.get(meter) if self.owner else None
                if ledger is None or account.limit is None or not actor.alive:
                    continue
                has, until = ledger.known((actor.name, actor.life), self.now)
                mine = account.open + account.spare(self.now) + account.tally.total(self.now)
                if mine > has + 1e-6 or (account.spare(self.now) and account.expires > until + 1e-6):
                    self.disagreed.append(f"{self.now:.0f}: {actor.name} has {mine:.1f} {meter.of}")

    # The actors' shells.

    def _call(self, actor: Actor) -> None:
        if not actor.alive:
            return
        self._later(self.chance.expovariate(actor.load), partial(self._call, actor))
        if actor.book.waits > 40:
            return  # the caller is turned away
        input, output = self.chance.randint(*self.case.input), self.chance.randint(*self.case.output)
        if self.case.large is not None and actor is self.actors[-1]:
            input = self.case.large
        need = Need(float(input), float(self.case.output[1]))
        reservation = actor.book.take([KEY], MODEL, need, self.now)
        if reservation is None:
            waiting = Waiting((KEY,), MODEL, need, self.now)
            actor.book.wait(waiting)
        else:
            self._send(actor, reservation, output)
        self._tick(actor)

    def _send(self, actor: Actor, reservation: Reservation, output: int) -> None:
        self.taken += 1
        actor.sent += 1
        amounts: dict[str, float] = {"requests": 1.0, "input_tokens": reservation.need.input}
        amounts["tokens"] = reservation.need.input + output
        way = self.chance.uniform(0.01, self.case.arrival)
        self._later(way, partial(self._arrive, actor, reservation, amounts, output))

    def _arrive(self, actor: Actor, reservation: Reservation, amounts: dict[str, float], output: int) -> None:
        if not self.server.arrive(amounts, self.now):
            told = self.server.told(self.now)
            self._later(0.05, partial(self._refused, actor, reservation, told))
            return
        seconds = self.chance.uniform(*self.case.answer)
        for part in range(10):
            self._later(seconds * part / 10, partial(self._said, output / 10))
        self._later(0.2, partial(self._answered, actor, reservation, self.server.told(self.now)))
        self._later(seconds + 0.1, partial(self._done, actor, reservation, output))

    def _said(self, output: float) -> None:
        self.server.count("output_tokens", output, self.now)

    def _answered(self, actor: Actor, reservation: Reservation, told: dict[str, Any]) -> None:
        if actor.alive:
            self._learn(actor, told)
            actor.book.answered(reservation, self.now)
            self._tick(actor)

    def _done(self, actor: Actor, reservation: Reservation, output: int) -> None:
        if actor.alive:
            actor.book.settle(reservation, Used(reservation.need.input, float(output)), self.now)
            self._tick(actor)

    def _refused(self, actor: Actor, reservation: Reservation, told: dict[str, Any]) -> None:
        if actor.alive:
            self._learn(actor, told)
            actor.book.refused(KEY, MODEL, 1.0, self.now)
            actor.book.settle(reservation, Used(0.0, 0.0), self.now)
            self._tick(actor)

    def _learn(self, actor: Actor, told: dict[str, Any]) -> None:
        if self.case.headers:
            for of, (limit, left) in told.items():
                meter = Meter(KEY, MODEL, of)  # type: ignore[arg-type]
                lesson = Lesson(meter, Limit(limit, source="provider"), left, None)
                actor.book.learned(lesson, self.now)

    def _tick(self, actor: Actor) -> None:
        """Serves whom it can, and asks the owner when that is due."""
        for waiting, reservation in actor.book.serve(self.now):
            self.waited.append(self.now - waiting.since)
            self._send(actor, reservation, self.chance.randint(*self.case.output))
        moments = [at for at in (actor.book.due(self.now), actor.book.wake(self.now)) if at is not None]
        if not moments:
            return
        if (due := actor.book.due(self.now)) is not None and due <= self.now:
            self._ask(actor)
        elif actor.ticking is None or min(moments) < actor.ticking - 1e-9 or actor.ticking <= self.now:
            actor.ticking = max(min(moments), self.now + 1e-3)
            self._later(actor.ticking - self.now, partial(self._alarm, actor))

    def _alarm(self, actor: Actor) -> None:
        if actor.alive:
            actor.ticking = None
            self._tick(actor)

    def _ask(self, actor: Actor) -> None:
        ask = Ask.from_wire(actor.book.ask(self.now).to_wire())
        self.asks += 1
        actor.asked = ask.number
        self._later(2.5, partial(self._patience, actor, ask.number))
        if self.chance.random() >= self.case.loss:
            self._later(self._delay(), partial(self._heard, actor, ask))
            if self.chance.random() < self.case.loss:
                self._later(self._delay() + 1.0, partial(self._heard, actor, ask))

    def _patience(self, actor: Actor, number: int) -> None:
        if actor.alive and actor.asked == number:
            actor.book.unanswered(self.now)
            actor.asked = 0
            self._tick(actor)

    # The owner.

    def _heard(self, actor: Actor, ask: Ask) -> None:
        if self.owner is None:
            return
        grant = self.owner.ask(ask, self.now)
        spare = {one.meter: one.spare for one in ask.states}
        for one in grant.granted:
            if one.meter.of in self.largest:
                lease = one.amount + spare.get(one.meter, 0.0)
                self.largest[one.meter.of] = max(self.largest[one.meter.of], lease)
        if self.chance.random() >= self.case.loss:
            self._later(self._delay(), partial(self._granted, actor, Grant.from_wire(grant.to_wire())))

    def _granted(self, actor: Actor, grant: Grant) -> None:
        if actor.alive:
            actor.book.granted(grant, self.now)
            if actor.asked == grant.number:
                actor.asked = 0
            self._tick(actor)

    def _crash_owner(self) -> None:
        if self.owner is not None:
            self.owner = None
            self._later(self.chance.uniform(0.5, 5.0), self._restore_owner)

    def _restore_owner(self) -> None:
        self.restarts.append(self.now)
        self.owner = self._new_owner()
        self.owner.restore((one.book.report(self.now) for one in self.actors if one.alive), self.now)

    def _kill_one(self) -> None:
        alive = [index for index, actor in enumerate(self.actors) if actor.alive]
        index = self.chance.choice(alive)
        dead = self.actors[index]
        dead.alive = False
        if self.chance.random() < 0.5:
            self._later(1.0, partial(self._bury, dead.name))
            name, life = f"{dead.name}+", 1
        else:  # Ray starts it again
            name, life = dead.name, dead.life + 1
        self.actors[index] = self._new_actor(name, life, dead.load)
        self._later(1.0, partial(self._call, self.actors[index]))

    def _bury(self, name: str) -> None:
        if self.owner is not None:
            self.owner.gone(name, self.now)

    # Small things.

    def _settings(self) -> KeyLimits:
        fields = {
            ("concurrency" if of == "concurrency" else f"{of}_per_minute"): int(limit)
            for of, limit in self.case.limits.items()
        }
        return KeyLimits.model_validate({**fields, "learn": "off"})

    def _new_owner(self) -> QuotaOwner:
        return self.case.owner(self.plan.settings)

    def _new_actor(self, name: str, life: int, load: float) -> Actor:
        return Actor(name, life, self.case.book(name, life, self.plan), load)

    def _delay(self) -> float:
        slow = self.chance.random() < 0.05
        return self.chance.uniform(0.001, self.case.slowest) * (5 if slow else 1)

    def _later(self, seconds: float, event: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (self.now + seconds, self._number, event))
