"""A router core, clients made of the real outbox and inbox, and virtual time; no loop, no clock."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

from llmgine.actors.bus import BusOptions, RouterCore, SubscriptionRecord, SubscriptionTable, wire
from llmgine.actors.bus.client.outbox import Entry, Outbox, RunHead
from llmgine.actors.bus.handling.answers import Kept
from llmgine.actors.bus.handling.inbox import Inbox
from llmgine.actors.bus.handling.jobs import Job
from llmgine.actors.bus.handling.queue import Places
from llmgine.actors.bus.policies import BreakerPolicy, RetryPolicy

NEVER = 1e9
OPTIONS = BusOptions(
    mailbox_capacity=8,
    prefetch=4,
    max_unadmitted=6,
    max_unsettled=40,
    block_timeout=NEVER,
    client_lease=NEVER,
    history=100_000,
    retry=RetryPolicy(base=0.5, cap=4.0),
    breaker=BreakerPolicy(failures=3, window=5.0, open_for=2.0, open_cap=5.0, park_for=NEVER),
)
LINEAGE = "test.Event|llmgine.Event"
Message = tuple[str, str, int]


class Client:
    """The pure halves of a client; its handlers end when and how the world says."""

    def __init__(self, name: str, member_of: str = "") -> None:
        self.name = name
        self.member_of = member_of
        self.life = ""
        self.welcome = False
        self.outbox = Outbox(OPTIONS)
        self.inbox = Inbox(Kept(1 << 20), lambda: None, lambda queue: None, lambda job: None)
        self.records: dict[int, SubscriptionRecord] = {}
        self.incoming: deque[Any] = deque()
        self.outgoing: deque[Any] = deque()
        self.running: list[Job] = []
        self.state: Any = None

    def serve(self, record: SubscriptionRecord) -> None:
        self.records[record.number] = record
        self.inbox.add(record.number, Places(record, OPTIONS))

    def connect(self, core: RouterCore, now: float) -> None:
        hello = {"client": self.name, "epoch": 1, "incarnation": self.life, "lines": self.outbox.hello()}
        hello |= {"subscriptions": list(self.records), "member_of": self.member_of}
        self.state = core.attach(hello, now)

    def lose_link(self) -> None:
        self.welcome = False
        self.incoming.clear()
        self.outgoing.clear()
        self.inbox.link_lost()

    def read(self) -> None:
        message = self.incoming.popleft()
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
                self.inbox.deliver(message[1], message[2])
            case wire.RESUME:
                self.inbox.verdict(message[1], message[2], message[3])

    def say(self) -> bool:
        """What there is to say goes on its way; whether there was any."""
        said = False
        while (answers := self.inbox.answers.take()) is not None:
            self.outgoing.append(answers)
            said = True
        runs = self.outbox.runs() if self.welcome else []
        if runs:
            self.outgoing.append([wire.PUBLISH, runs])
        return said or bool(runs)

    def start(self, choose: random.Random) -> bool:
        """Call a handler; whether one could be called."""
        queues = [one for one in self.inbox.queues.values() if one.may_start and one.places.free]
        job = choose.choice(queues).start() if queues else None
        if job is None:
            return False
        job.queue.places.taken += 1
        self.inbox.started(job, NEVER)
        self.running.append(job)
        return True

    def end(self, job: Job, failure: str | None) -> None:
        """Its handler has ended; `failure` is the reason where it failed."""
        self.running.remove(job)
        self.inbox.ended(job)
        job.queue.places.taken -= 1
        if failure is None:
            self.inbox.handled(job)
        else:
            detail = [failure, "ValueError", "no", job.passage.attempt, 0.0, False]
            self.inbox.answer(job, wire.FAILED, detail)
        job.queue.ended(job)


def message_of(job: Job) -> Message:
    return job.head.producer, job.head.session, job.sequence


class FaultyWorld:
    """Random steps of two clients and two members of a deployment against one router."""

    def __init__(
        self, choose: random.Random, *, priorities: bool = False, faults: bool = False, failing: float = 0.0
    ) -> None:
        self.choose = choose
        self.faults = faults
        self.failing = failing
        self.now = 0.0
        self.table = SubscriptionTable()
        self.clients = [Client("c0"), Client("c1"), Client("m0", "d"), Client("m1", "d")]
        self.published: dict[tuple[str, str], int] = {}
        self.handled: dict[int, list[Message]] = {}
        self.cores: list[RouterCore] = []
        for number in range(4):
            self.register(f"h{number}", choose.choice([1, 2, 3]) if priorities else 50)
        self.start()

    def register(self, name: str, priority: int) -> None:
        choose = self.choose
        members = choose.random() < 0.3
        owner = "d" if members else choose.choice(["c0", "c1"])
        record = SubscriptionRecord(
            "event",
            "test.Event",
            name,
            owner,
            0 if members else 1,
            session=choose.choice(["BUS", "BUS", "s1", "s2"]),
            priority=priority,
            capacity=8,
            concurrency=2,
            members=members,
            order=choose.choice(["session", "session", "strict"]),
        )
        settled = self.table.add(record).subscription
        self.handled[settled.number] = []
        for client in self.clients:
            if owner in (client.name, client.member_of):
                client.serve(settled)

    @property
    def core(self) -> RouterCore:
        return self.cores[-1]

    def start(self) -> None:
        core = RouterCore(f"r{len(self.cores)}", OPTIONS, random=self.choose.random)
        self.cores.append(core)
        self.tick(0.0)
        core.load(self.table.snapshot(), self.now)
        for client in self.clients:
            client.lose_link()
            client.connect(core, self.now)

    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.core.tick(self.now, round(self.now * 1e9))

    def publish(self) -> None:
        client = self.choose.choice(self.clients)
        session = self.choose.choice(["BUS", "s1", "s2"])
        for _ in range(self.choose.randint(1, 6)):
            sequence = client.outbox.add(session, Entry(RunHead(LINEAGE), b"x"))
            self.published[client.name, session] = sequence

    def end(self, client: Client) -> None:
        job = self.choose.choice(client.running)
        failure = None
        if self.choose.random() < self.failing:
            failure = self.choose.choice(["handler", "handler", "handler", "deadline", "undecodable"])
        client.end(job, failure)
        if failure is None:
            self.handled[job.queue.number].append(message_of(job))

    def step(self) -> None:
        choose = self.choose
        dice = choose.random()
        client = choose.choice(self.clients)
        if dice < 0.12:
            self.publish()
        elif dice < 0.32:
            client.say()
        elif dice < 0.52 and client.outgoing:
            self.core.receive(client.state, client.outgoing.popleft(), self.now)
        elif dice < 0.67 and (message := self.core.take(client.state)) is not None:
            client.incoming.append(message)
        elif dice < 0.77 and client.incoming:
            client.read()
        elif dice < 0.84:
            client.start(choose)
        elif dice < 0.92 and client.running:
            self.end(client)
        elif dice < 0.98:
            self.tick(choose.random() * 0.3)
        elif self.faults and choose.random() < 0.2:
            self.start()
        elif self.faults:
            self.core.detach(client.state, self.now)
            client.lose_link()
            client.connect(self.core, self.now)
        self.core.validate()

    def rest(self) -> None:
        """Everything that can still happen happens; then nothing is left."""
        for _ in range(20_000):
            if sum(self._settle(client) for client in self.clients):
                continue
            due = self.core.next_time()
            if due is None or due >= NEVER:
                return
            self.tick(max(0.0, due - self.now))
        raise AssertionError("it does not come to rest")

    def _settle(self, client: Client) -> bool:
        busy = False
        while (message := self.core.take(client.state)) is not None:
            client.incoming.append(message)
        while client.incoming:
            client.read()
            busy = True
        while client.start(self.choose):
            busy = True
        while client.running:
            self.end(client)
            busy = True
        busy |= client.say()
        while client.outgoing:
            self.core.receive(client.state, client.outgoing.popleft(), self.now)
            busy = True
        return busy

    def failed(self, handler: str) -> set[str]:
        """The ids of those that this handler's dead letters are about, in any life of the router."""
        return {one.message for core in self.cores for one in core.failures if one.handler == handler}

    def check(self) -> None:
        """Nothing is held any more, and each message was handled once or is a dead letter."""
        self.core.validate()
        statistics = self.core.statistics()
        held = ("unsettled", "queue_size", "in_flight", "waiting_for_retry", "waiting_for_room")
        assert {name: statistics[name] for name in held} == dict.fromkeys(held, 0)
        assert all(client.outbox.count == client.outbox.bytes == 0 for client in self.clients)
        for number, handled in self.handled.items():
            record = self.table.get(number)
            assert record is not None
            failed = self.failed(record.name)
            for (producer, session), last in self.published.items():
                expected = range(1, last + 1) if record.session in ("BUS", session) else range(0)
                got = [one[2] for one in handled if one[:2] == (producer, session)]
                lost = {one for one in expected if f"{producer}:1:{session}:{one}" in failed}
                assert len(set(got)) == len(got), (record.name, producer, session, "twice", got)
                assert {*got, *lost} == set(expected), (record.name, producer, session, got, lost)
                if session != "BUS" or record.order == "strict":
                    kept = [one for one in got if one not in lost]
                    assert kept == sorted(kept), (record.name, producer, session, kept)
