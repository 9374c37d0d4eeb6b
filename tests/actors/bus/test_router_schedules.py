"""Random schedules of publishes, breaks, restarts and answers against the router core; no loop, no clock."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmgine.actors.bus import BusOptions, RouterCore, SubscriptionRecord, SubscriptionTable, wire
from llmgine.actors.bus.client.outbox import Entry, Outbox, RunHead
from llmgine.actors.bus.handling.dedup import Lines

OPTIONS = BusOptions(
    mailbox_capacity=8, prefetch=4, max_unadmitted=6, max_unsettled=40, block_timeout=1e9, client_lease=1e9
)
LINEAGE = "test.Event|llmgine.Event"


class Client:
    """The pure halves of a client: outbox and dedup are the real ones, handling is a list."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.outbox = Outbox(OPTIONS)
        self.life = ""
        self.welcome = False
        self.numbers: list[int] = []
        self.state: Any = None
        self.lines: dict[int, Lines] = {}
        self.handled: dict[int, list[tuple[str, str, int]]] = {}
        self.inbox: deque[Any] = deque()
        self.outgoing: deque[Any] = deque()
        self.jobs: deque[tuple[int, int, tuple[str, int, str], int]] = deque()

    def connect(self, core: RouterCore) -> None:
        hello = {"client": self.name, "epoch": 1, "incarnation": self.life, "lines": self.outbox.hello()}
        self.state = core.attach({**hello, "subscriptions": self.numbers}, 0.0)

    def lose_link(self) -> None:
        self.welcome = False
        self.inbox.clear()
        self.outgoing.clear()
        self.jobs.clear()

    def read(self) -> None:
        message = self.inbox.popleft()
        match message[0]:
            case wire.WELCOME:
                self.outbox.resume(map(tuple, message[3]), again=message[1] != self.life)
                self.life = message[1]
                self.welcome = True
            case wire.ADMITTED:
                for session, first, last, _, deferred in message[1]:
                    assert not deferred
                    list(self.outbox.admitted(session, first, last))
            case wire.SETTLED:
                for session, first, last in message[1]:
                    list(self.outbox.settled(session, first, last))
            case wire.DELIVER:
                self.take(message[1], message[2])

    def take(self, runs: list[Any], deliveries: list[Any]) -> None:
        flat = [
            ((run[0], run[1], run[2]), sequence, run[5])
            for run in runs
            for sequence, _ in enumerate(run[9], run[4])
        ]
        for number, entry, index, count, _, _, _ in deliveries:
            for offset in range(count):
                key, sequence, floor = flat[index + offset]
                line = self.lines[number].line(key)
                line.settle(floor)
                if line.seen(sequence):
                    self.outgoing.append([wire.DONE, [[number, entry + offset, entry + offset]]])
                elif (number, key, sequence) not in [(job[0], job[2], job[3]) for job in self.jobs]:
                    self.jobs.append((number, entry + offset, key, sequence))

    def work(self, choose: random.Random) -> None:
        """One handler ends; each session's in order, several sessions in any order."""
        firsts: dict[tuple[int, str], Any] = {}
        for job in self.jobs:
            firsts.setdefault((job[0], job[2][2]), job)
        number, entry, key, sequence = job = choose.choice(list(firsts.values()))
        self.jobs.remove(job)
        self.handled[number].append((key[0], key[2], sequence))
        self.lines[number].line(key).mark(sequence)
        if choose.random() < 0.2:
            detail = ["handler", "ValueError", "no", 1, 0.0]
            self.outgoing.append([wire.OUTCOME, [[number, entry, wire.FAILED, detail]]])
        else:
            self.outgoing.append([wire.DONE, [[number, entry, entry]]])


class World:
    def __init__(self, choose: random.Random, *, priorities: bool, faults: bool) -> None:
        self.choose = choose
        self.faults = faults
        self.table = SubscriptionTable()
        self.clients = [Client(f"c{number}") for number in range(3)]
        self.published: dict[tuple[str, str], int] = {}
        self.lives = 0
        for number in range(4):
            owner = choose.choice(self.clients)
            record = SubscriptionRecord(
                "event",
                "test.Event",
                f"h{number}",
                owner.name,
                1,
                session=choose.choice(["BUS", "BUS", "s1", "s2"]),
                priority=choose.choice([1, 2, 3]) if priorities else 50,
                capacity=8,
                concurrency=2,
            )
            settled = self.table.add(record).subscription
            owner.numbers.append(settled.number)
            owner.lines[settled.number] = Lines(OPTIONS.max_unsettled, 64)
            owner.handled[settled.number] = []
        self.start()

    def start(self) -> None:
        self.lives += 1
        self.core = RouterCore(f"r{self.lives}", OPTIONS)
        self.core.load(self.table.snapshot(), 0.0)
        for client in self.clients:
            client.lose_link()
            client.connect(self.core)

    def publish(self) -> None:
        client = self.choose.choice(self.clients)
        session = self.choose.choice(["BUS", "s1", "s2"])
        for _ in range(self.choose.randint(1, 6)):
            key = (client.name, session)
            self.published[key] = client.outbox.add(session, Entry(RunHead(LINEAGE), b"x"))

    def step(self) -> None:
        choose = self.choose
        dice = choose.random()
        client = choose.choice(self.clients)
        if dice < 0.15:
            self.publish()
        elif dice < 0.40:
            runs = client.outbox.runs() if client.welcome else []
            if runs:
                client.outgoing.append([wire.PUBLISH, runs])
        elif dice < 0.60 and client.outgoing:
            self.core.receive(client.state, client.outgoing.popleft(), 0.0)
        elif dice < 0.75 and (message := self.core.take(client.state)) is not None:
            client.inbox.append(message)
        elif dice < 0.85 and client.inbox:
            client.read()
        elif dice < 0.95 and client.jobs:
            client.work(choose)
        elif self.faults and dice > 0.985:
            if choose.random() < 0.2:
                self.start()
            else:
                self.core.detach(client.state, 0.0)
                client.lose_link()
                client.connect(self.core)
        self.core.validate()

    def rest(self) -> None:
        """Everything that can still happen happens; then nothing is left."""
        for _ in range(20_000):
            busy = False
            for client in self.clients:
                while (message := self.core.take(client.state)) is not None:
                    client.inbox.append(message)
                while client.inbox:
                    client.read()
                    busy = True
                while client.jobs:
                    client.work(self.choose)
                runs = client.outbox.runs() if client.welcome else []
                if runs:
                    client.outgoing.append([wire.PUBLISH, runs])
                while client.outgoing:
                    self.core.receive(client.state, client.outgoing.popleft(), 0.0)
                    busy = True
            if not busy:
                return
        raise AssertionError("it does not come to rest")

    def check(self) -> None:
        self.core.validate()
        statistics = self.core.statistics()
        assert statistics["unsettled"] == statistics["queue_size"] == statistics["in_flight"] == 0
        for client in self.clients:
            assert client.outbox.count == client.outbox.bytes == 0
            for number, handled in client.handled.items():
                record = self.table.get(number)
                assert record is not None
                for (producer, session), last in self.published.items():
                    got = [
                        sequence for who, where, sequence in handled if (who, where) == (producer, session)
                    ]
                    expected = record.session in ("BUS", session)
                    assert got == (list(range(1, last + 1)) if expected else []), (number, producer, session)


@pytest.mark.parametrize("priorities", [False, True])
@given(seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_every_event_is_handled_once_and_in_order(priorities: bool, seed: int) -> None:
    """Whatever breaks and restarts: each handler gets each producer's events of a session once, in order."""
    world = World(random.Random(seed), priorities=priorities, faults=True)
    for _ in range(400):
        world.step()
    world.rest()
    world.check()


@given(seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_counters_equal_what_happened(seed: int) -> None:
    """Without faults the counters are exactly the number of messages published."""
    world = World(random.Random(seed), priorities=True, faults=False)
    for _ in range(300):
        world.step()
    world.rest()
    world.check()
    statistics = world.core.statistics()
    total = sum(world.published.values())
    assert statistics["events_published_total"] == total
    assert statistics["events_processed_total"] + statistics["events_failed_total"] == total


@given(seed=st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_without_suppression_duplicates_do_show(seed: int) -> None:
    """A test of the test: with dedup switched off, schedules with restarts hand events out twice."""
    rounds = random.Random(seed)
    for _ in range(20):
        world = World(random.Random(rounds.random()), priorities=False, faults=True)
        for client in world.clients:
            client.lines = dict.fromkeys(client.lines, _Forgetful())  # type: ignore[arg-type]
        for _ in range(300):
            world.step()
        world.rest()
        if any(len(set(handled)) < len(handled) for one in world.clients for handled in one.handled.values()):
            return
    raise AssertionError("no schedule made a duplicate")


class _Forgetful:
    """Lines, and each of its lines, that remember nothing."""

    def line(self, key: Any) -> _Forgetful:
        return self

    def seen(self, sequence: int) -> bool:
        return False

    def mark(self, sequence: int) -> None:
        return

    def settle(self, floor: int) -> None:
        return
