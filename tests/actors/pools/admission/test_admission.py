"""Which calls run, which wait and which are refused, with a clock that the test turns."""

from __future__ import annotations

import heapq
import math
import random
from typing import Any

import pytest

from llmgine.actors.pools.admission import Admission, AdmissionOptions, Refused, Ticket
from llmgine.providers.contracts import Priority

PRIORITIES: tuple[Priority, ...] = ("interactive", "batch")
ENDINGS = ("full", "busy", "draining", "shed", "expired", "given_up")


def admission(max_in_flight: int = 2, **options: Any) -> Admission:
    return Admission(AdmissionOptions(**options), max_in_flight)


def enter(
    door: Admission,
    session: str = "s",
    priority: Priority = "interactive",
    now: float = 0.0,
    expires: float = math.inf,
) -> Ticket:
    ticket = door.enter(session, priority, now, expires)
    assert isinstance(ticket, Ticket)
    return ticket


def refused(door: Admission, now: float = 0.0, expires: float = math.inf) -> Refused:
    verdict = door.enter("s", "interactive", now, expires)
    assert isinstance(verdict, Refused)
    return verdict


def settled(door: Admission) -> list[Ticket]:
    tickets = list(door.settled)
    door.settled.clear()
    return tickets


def test_a_call_with_a_place_runs_at_once() -> None:
    """While there are places nobody waits, and a place that is left goes to the next."""
    door = admission(max_in_flight=2)
    first, second = enter(door), enter(door)
    third = enter(door)
    assert [ticket.tried for ticket in (first, second, third)] == [0.0, 0.0, None]
    door.leave(first, 1.0)
    assert settled(door) == [third]
    assert third.tried == 1.0
    assert (door.in_flight, door.load) == (2, 2)


def test_who_gives_up_waiting_leaves_its_place_in_the_queue() -> None:
    """The one behind it moves up, and nothing is counted twice."""
    door = admission(max_in_flight=1, waiting=1)
    running, waiting = enter(door), enter(door)
    assert refused(door).reason == "full"
    door.leave(waiting, 1.0)
    door.leave(waiting, 1.0)
    behind = enter(door)
    door.leave(running, 2.0)
    assert settled(door) == [behind]
    assert door.statistics(2.0)["given_up"] == 1


def test_a_call_that_will_not_wait_is_refused() -> None:
    """With no seconds to wait it is told at once, though the queue has room."""
    door = admission(max_in_flight=1)
    enter(door, now=1.0, expires=1.0)
    assert refused(door, now=1.0, expires=1.0).reason == "busy"
    verdict = door.enter("s", "interactive", 1.0, math.inf, queue=False)
    assert isinstance(verdict, Refused)
    assert verdict.reason == "busy"
    assert door.load == 1


def test_a_refusal_says_when_there_may_be_room() -> None:
    """The time in which what waits is worked off, as fast as calls end lately; a guess before any has."""
    door = admission(max_in_flight=1, waiting=20)
    running = enter(door)
    for _ in range(20):
        enter(door)
    assert refused(door).retry_after == 1.0
    for now in range(1, 11):
        door.leave(running, now * 0.5)
        (running,) = settled(door)
    for _ in range(10):
        enter(door, now=5.0)
    said = refused(door, now=5.0)
    assert said.retry_after == pytest.approx(21 * 0.5, rel=0.3)
    assert (refused(door, now=35.0).retry_after or 0) > 60 * 0.9


def test_an_actor_that_goes_refuses_what_waits() -> None:
    """What waits is told so at once, what runs goes on, and nothing more is taken."""
    door = admission(max_in_flight=1)
    running, waiting = enter(door), enter(door)
    door.close(1.0)
    assert settled(door) == [waiting]
    assert waiting.refused == Refused("draining", None)
    assert refused(door) == Refused("draining", None)
    door.leave(waiting, 1.0)
    door.leave(running, 2.0)
    assert door.load == 0


def test_a_call_that_was_shed_is_told_so() -> None:
    """It comes to know of it with the time after which it may be tried again."""
    door = admission(max_in_flight=1, waiting=1)
    enter(door)
    bulk = enter(door, "map", "batch")
    enter(door, "chat")
    assert settled(door) == [bulk]
    assert bulk.refused is not None
    assert (bulk.refused.reason, bulk.refused.retry_after) == ("shed", 1.0)


def test_the_limit_grows_only_where_it_binds() -> None:
    """Answers to calls that had places to spare say nothing of how many a provider bears."""
    door = admission(max_in_flight=100)
    first = enter(door)
    door.overloaded(first, 1.0)
    low = door.limit.value
    for now in range(2, 50):
        alone = enter(door, now=now)
        door.answered(alone, now)
        door.leave(alone, now)
    assert door.limit.value == low
    crowd = [enter(door, now=50) for _ in range(low)]
    assert [ticket.is_last for ticket in crowd[-2:]] == [True, False]
    for _ in range(20):
        door.answered(crowd[-2], 51)
    assert door.limit.value > low


def test_a_later_try_of_the_same_call_counts_again() -> None:
    """A call that was tried again after it was turned away tells something new when that fails."""
    door = admission(max_in_flight=100)
    ticket = enter(door)
    door.overloaded(ticket, 1.0)
    low = door.limit.value
    door.overloaded(ticket, 2.0)
    assert door.limit.value < low


@pytest.mark.parametrize("seed", range(40))
def test_it_never_admits_more_than_it_may(seed: int) -> None:
    """Over any history: never beyond the limit or past its time, no idle place, no call unaccounted."""
    History(random.Random(seed)).run(400)


class History:
    """Random calls, ends, answers and overloads, checked after each step."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.now = 0.0
        self.places = chance.choice((1, 2, 5, 20))
        self.door = admission(self.places, waiting=chance.choice((0, 1, 5, 50)), batch_every=3)
        self.waiting: list[Ticket] = []
        self.running: list[Ticket] = []
        self.entered = self.out = self.ended = 0

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.now += self.chance.choice((0.0, 0.01, 0.5, 3.0))
            before = self.door.in_flight
            self.chance.choice((self.enter, self.enter, self.enter, self.leave, self.answer, self.overload))()
            self.settle()
            self.check(before)
        self.drain()

    def enter(self) -> None:
        self.entered += 1
        session, priority = self.chance.choice("abc"), self.chance.choice(PRIORITIES)
        expires = self.now + self.chance.choice((0.0, 0.3, 10.0, math.inf))
        verdict = self.door.enter(session, priority, self.now, expires)
        if isinstance(verdict, Refused):
            self.out += 1
            assert verdict.retry_after is not None
            assert verdict.retry_after > 0
        elif verdict not in self.door.settled:
            (self.running if verdict.tried is not None else self.waiting).append(verdict)

    def leave(self) -> None:
        crowd = self.chance.choice((self.running, self.waiting))
        if crowd:
            ticket = crowd.pop(self.chance.randrange(len(crowd)))
            self.door.leave(ticket, self.now)
            self.ended += crowd is self.running
            self.out += crowd is self.waiting

    def answer(self) -> None:
        if self.running:
            self.door.answered(self.chance.choice(self.running), self.now)

    def overload(self) -> None:
        if self.running:
            self.door.overloaded(self.chance.choice(self.running), self.now)

    def settle(self) -> None:
        for ticket in settled(self.door):
            if ticket in self.waiting:
                self.waiting.remove(ticket)
            if ticket.tried is None:
                assert ticket.refused is not None
                self.out += 1
            else:
                assert ticket.tried == self.now < ticket.expires
                self.running.append(ticket)

    def check(self, before: int) -> None:
        door = self.door
        assert door.in_flight == len(self.running) <= self.places
        assert door.in_flight <= max(door.limit.value, before)
        if door.in_flight < door.limit.value:
            assert not [ticket for ticket in self.waiting if ticket.expires > self.now]
        counts = door.statistics(self.now)
        assert counts["admitted"] == len(self.running) + self.ended
        gone = sum(counts[name] for name in ENDINGS)
        assert self.entered == counts["admitted"] + gone + sum(counts["waiting"].values())

    def drain(self) -> None:
        self.door.close(self.now)
        self.settle()
        for ticket in self.running:
            self.door.leave(ticket, self.now)
        assert (self.door.load, settled(self.door)) == (0, [])


def test_a_provider_that_bears_less_is_not_asked_for_more() -> None:
    """The limit comes down to what a provider bears, stays near it, and is back when it bears all again."""
    server = Server(bears=10)
    door = admission(max_in_flight=100)
    server.run(door, until=60.0)
    turned_away, served = server.count(30.0, 60.0)
    assert turned_away < 0.25 * served
    assert served > 0.7 * 30.0 * 10
    server.bears = 1_000
    server.run(door, until=120.0)
    assert door.limit.value > 90
    assert server.count(90.0, 120.0)[0] == 0


class Server:
    """Answers each call in about a second, and turns away at once what it does not bear; calls never lack."""

    def __init__(self, bears: int) -> None:
        self.bears = bears
        self.now = 0.0
        self.inside = 0
        self.heap: list[tuple[float, int, bool, Ticket]] = []
        self.ends: list[tuple[float, bool]] = []
        self._numbers = iter(range(1_000_000))
        self._chance = random.Random(3)

    def run(self, door: Admission, until: float) -> None:
        for _ in range(300 - door.load):
            self.one_more(door)
        while self.heap[0][0] < until:
            self.now, _, good, ticket = heapq.heappop(self.heap)
            self.ends.append((self.now, good))
            self.inside -= good
            (door.answered if good else door.overloaded)(ticket, self.now)
            door.leave(ticket, self.now)
            self.begin(door)
            self.one_more(door)

    def one_more(self, door: Admission) -> None:
        ticket = enter(door, now=self.now)
        if ticket.tried is not None and ticket not in door.settled:
            door.settled.append(ticket)
        self.begin(door)

    def begin(self, door: Admission) -> None:
        for ticket in settled(door):
            good = self.inside < self.bears
            self.inside += good
            takes = self._chance.uniform(0.8, 1.2) if good else 0.05
            heapq.heappush(self.heap, (self.now + takes, next(self._numbers), good, ticket))

    def count(self, after: float, before: float) -> tuple[int, int]:
        ends = [good for when, good in self.ends if after <= when < before]
        return ends.count(False), ends.count(True)


def test_a_session_that_floods_does_not_starve_others() -> None:
    """A call of a quiet session waits for about one end of a call, however many of the other's wait."""
    door = admission(max_in_flight=4)
    flood = [enter(door, "flood") for _ in range(500)]
    running = flood[:4]
    for turn in range(20):
        quiet = enter(door, "quiet", now=turn)
        for _ in range(2):
            door.leave(running.pop(0), turn)
            running += settled(door)
        assert quiet in running
