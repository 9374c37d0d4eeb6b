"""Durable messages: kept before they count, in order, across every life of the router."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from llmgine.actors.bus import wire
from llmgine.actors.bus.handling.dedup import Lines
from tests.actors.bus.router.world import COMMAND, Client, World


def made(**options: Any) -> tuple[World, Client, Client]:
    """A router that has read its store, a producer, and a client with handlers to be added."""
    world = World(**options)
    return world, world.client("p"), world.client("h")


def test_a_durable_event_waits_for_the_store_and_its_line_behind_it() -> None:
    """Nothing of the line is routed or admitted before the commit; other lines go on."""
    world, producer, server = made()
    kept = world.handler(server, "kept", durable=True, session="s1")
    plain = world.handler(server, "plain", session="BUS")
    world.start()
    store, world.store = world.store, None
    producer.publish("s1")
    producer.publish("s1", lineage="other.Event|llmgine.Event")
    producer.publish("s2")
    world.rest()
    assert server.handled == {kept.number: [], plain.number: [(("p", 1, "s2"), 1)]}
    assert producer.admitted == {("s2", 1)}
    world.store = store
    world.rest()
    assert server.handled[kept.number] == [(("p", 1, "s1"), 1)]
    assert producer.admitted == {("s1", 1), ("s1", 2), ("s2", 1)}
    assert producer.outbox.count == 0
    assert store is not None
    assert not store.journal


def test_the_producer_is_free_once_the_journal_answers() -> None:
    """Where only durable handlers are left the message is settled for its producer, not for the journal."""
    world, producer, server = made()
    kept = world.handler(server, "kept", durable=True)
    world.handler(server, "plain")
    world.start()
    producer.publish()
    world.rest(work=False)
    assert producer.admitted == {("BUS", 1)}
    assert producer.settled == set()
    plain = next(job for job in server.jobs if job[0] != kept.number)
    server.jobs.remove(plain)
    server.answer(plain[0], plain[1])
    world.rest(work=False)
    assert producer.settled == {("BUS", 1)}
    assert world.store is not None
    assert [row.pending for row in world.store.journal.values()] == [(kept.key_text,)]
    world.rest()
    assert not world.store.journal
    assert world.core._state.stored == world.core.unsettled == 0


def test_handlers_may_be_given_again_what_the_producer_forgot() -> None:
    """The floor that travels with a message stays below what is open at a durable handler."""
    world, producer, server = made()
    kept = world.handler(server, "kept", durable=True)
    world.handler(server, "other")
    world.start()
    producer.publish()
    world.rest(work=False)
    for job in [job for job in server.jobs if job[0] != kept.number]:
        server.jobs.remove(job)
        server.answer(job[0], job[1])
    world.rest(work=False)
    assert producer.settled
    for _ in range(5):
        producer.publish(lineage="test.Event|llmgine.Event")
    world.rest(work=False)
    world.core.detach(server.state, world.now)
    server.lose_link()
    server.connect(world.core)
    world.rest()
    assert server.handled[kept.number] == [(("p", 1, "BUS"), sequence) for sequence in range(1, 7)]


def test_without_the_store_a_durable_message_is_refused_and_all_else_goes_on() -> None:
    """It is refused after journal_timeout with the reason "store"; what stood behind it is delivered."""
    world, producer, server = made(journal_timeout=5.0)
    kept = world.handler(server, "kept", durable=True, session="s1")
    plain = world.handler(server, "plain", "command")
    world.start()
    world.store = None
    producer.publish("s1")
    producer.publish("s1", lineage=COMMAND, flags=wire.COMMAND)
    world.rest()
    assert server.handled[plain.number] == []
    world.pass_time(5.1)
    world.rest()
    assert producer.refused == {("s1", 1): [("", "store")]}
    assert server.handled == {kept.number: [], plain.number: [(("p", 1, "s1"), 2)]}
    assert producer.results["s1", 2][0] is True
    assert producer.outbox.count == 0


def test_what_was_refused_is_not_delivered_later() -> None:
    """Also where the store had it after all, and the router's answer was that it had not."""
    world, producer, server = made()
    kept = world.handler(server, "kept", durable=True)
    world.start()
    producer.publish()
    world.rest_without_store()
    batch = world.core.next_write()
    assert batch is not None
    world.pass_time(6.0)
    assert world.store is not None
    world.store.apply(batch[1])
    world.core.written(batch[0], world.now)
    world.rest()
    assert producer.refused == {("BUS", 1): [("", "store")]}
    assert server.handled[kept.number] == []
    assert not world.store.journal


def test_a_crash_of_everything_loses_no_durable_event() -> None:
    """A new router hands out what is in the journal, though no producer is left that knows it."""
    world, producer, server = made()
    kept = world.handler(server, "kept", durable=True)
    world.handler(server, "plain")
    world.start()
    for _ in range(5):
        producer.publish()
    world.rest(work=False)
    del world.clients["p"]
    world.start()
    assert world.core._state.stored == 5
    world.rest()
    assert server.handled[kept.number] == [(("p", 1, "BUS"), sequence) for sequence in range(1, 6)]
    assert world.store is not None
    assert not world.store.journal


def test_more_than_fits_comes_back_in_order_and_within_the_capacity() -> None:
    """What the journal holds waits for room, whatever the policy says about full mailboxes."""
    world, producer, server = made(mailbox_capacity=4)
    kept = world.handler(server, "kept", durable=True, overflow="drop_oldest", concurrency=1, capacity=50)
    world.start()
    for _ in range(20):
        producer.publish()
    world.rest(work=False)
    world.table.put(
        type(kept).from_wire({**kept.to_wire(), "capacity": 4, "generation": kept.generation + 1})
    )
    world.start()
    world.rest(work=False)
    box = world.mailbox(kept)
    assert box.occupancy <= 4
    assert len(box.waiting) >= 14
    world.rest()
    assert [sequence for _, sequence in server.handled[kept.number]] == list(range(1, 21))


def test_a_producer_that_sends_again_is_recognised() -> None:
    """After the router's death each handler gets each of its events once, durable and plain ones alike."""
    world, producer, server = made()
    kept = world.handler(server, "kept", durable=True)
    plain = world.handler(server, "plain")
    world.start()
    for _ in range(5):
        producer.publish()
    world.rest(work=False)
    server.work(random.Random(3))
    world.start()
    world.rest()
    expected = [(("p", 1, "BUS"), sequence) for sequence in range(1, 6)]
    assert server.handled == {kept.number: expected, plain.number: expected}
    assert world.core._state.counters["events_published_total"] == 5
    assert producer.outbox.count == 0


def test_a_producer_that_comes_late_finds_that_it_is_done() -> None:
    """What a new router had from the journal is not kept once more for a producer that was not told."""
    world, producer, server = made()
    kept = world.handler(server, "kept", durable=True)
    world.handler(server, "plain")
    world.start()
    producer.publish()
    world.rest(work=False)
    del world.clients["p"]
    world.start()
    world.rest()
    assert world.store is not None
    assert not world.store.journal
    # Whoever serves it now knows nothing of what was.
    server.lines[kept.number] = Lines(64, 64)
    world.clients["p"] = producer
    producer.lose_link()
    producer.connect(world.core)
    world.rest()
    assert server.handled[kept.number] == [(("p", 1, "BUS"), 1)]
    assert producer.outbox.count == 0


def test_a_failure_stays_open_until_the_store_has_it() -> None:
    """Else its handler would take it for settled when a crash brings it back, and the letter were lost."""
    world, producer, server = made()
    world.handler(server, "kept", durable=True)
    world.start()
    producer.publish()
    world.rest(work=False)
    number, entry, *_ = server.jobs.popleft()
    failed = ["undecodable", "undecodable", "no", 1, 0.0, False]
    server.outgoing.append([wire.OUTCOME, [[number, entry, wire.FAILED, failed]]])
    world.rest_without_store()
    line = world.core._state.clients["p"].lines["BUS"]
    line.floor = 2
    assert line.open_floor == 1
    world.rest()
    assert line.open_floor == 2
    assert world.store is not None
    assert len(world.store.letters) == 1


def test_a_durable_handler_that_went_while_the_router_was_away_leaves_nothing() -> None:
    """Its producer sends the event again before the journal is read: the row goes all the same."""
    world, producer, server = made()
    kept = world.handler(server, "kept", durable=True)
    world.handler(server, "plain", capacity=1)
    world.start()
    producer.publish()
    producer.publish()
    world.rest(work=False)
    assert world.store is not None
    assert world.store.journal
    world.table.remove(kept.number)
    world.start(read=False)
    world.rest(work=False)
    world.read_store()
    world.rest()
    assert not world.store.journal
    assert producer.outbox.count == 0


def test_nothing_durable_passes_before_the_journal_is_read() -> None:
    """What a producer sends to a new router waits until it is known what is in the journal before it."""
    world, producer, server = made()
    kept = world.handler(server, "kept", durable=True)
    world.start()
    producer.publish()
    world.rest(work=False)
    world.start(read=False)
    producer.publish()
    world.rest()
    assert server.handled[kept.number] == []
    world.read_store()
    world.rest()
    assert [sequence for _, sequence in server.handled[kept.number]] == [1, 2]


def test_an_unread_journal_refuses_in_time() -> None:
    """Where the store does not come, durable messages are refused and their line goes on."""
    world, producer, server = made(journal_timeout=2.0)
    world.handler(server, "kept", durable=True)
    world.start(read=False)
    producer.publish()
    producer.publish(lineage="other.Event|llmgine.Event")
    world.rest()
    world.pass_time(2.1)
    world.rest()
    assert producer.refused == {("BUS", 1): [("", "store")]}
    assert producer.settled == {("BUS", 1), ("BUS", 2)}


def test_waiting_for_a_durable_event_gives_every_outcome() -> None:
    """While its producer lives, the result waits for durable handlers, too."""
    world, producer, server = made()
    world.handler(server, "kept", durable=True)
    world.handler(server, "plain")
    world.start()
    producer.publish(flags=wire.WAIT)
    world.rest(work=False)
    assert producer.settled == set()
    for number, entry, *_ in list(server.jobs):
        server.outgoing.append([wire.OUTCOME, [[number, entry, wire.HANDLED, [1, 0.5]]]])
    server.jobs.clear()
    world.rest()
    assert sorted(outcome[0] for outcome in producer.results["BUS", 1]) == ["kept", "plain"]


def test_a_durable_handler_that_is_away_stalls_nobody() -> None:
    """A line goes on far beyond its window; later durable events of it wait until the first one is done."""
    world, producer, server = made(max_unsettled=16, max_unadmitted=8, mailbox_capacity=200)
    kept = world.handler(server, "kept", durable=True)
    world.start()
    world.core.detach(server.state, 0.0)
    away = world.clients.pop("h")
    for number in range(100):
        producer.publish(lineage="test.Event|llmgine.Event" if number % 10 == 0 else "other.Event")
        world.rest()
    assert producer.outbox.count == 0
    box = world.mailbox(kept)
    assert (len(box.queue), box.held.count) == (2, 8)
    world.clients["h"] = away
    away.lose_link()
    away.connect(world.core)
    world.rest()
    assert [sequence for _, sequence in away.handled[kept.number]] == list(range(1, 101, 10))


def test_what_a_policy_drops_of_a_durable_handler_is_a_dead_letter() -> None:
    """Plain ones are only counted."""
    world, producer, server = made()
    fields: dict[str, Any] = {"overflow": "drop_oldest", "capacity": 2, "concurrency": 1}
    kept = world.handler(server, "kept", durable=True, **fields)
    plain = world.handler(server, "plain", **fields)
    world.start()
    for _ in range(6):
        producer.publish()
        world.rest(work=False)
    world.rest()
    assert world.store is not None
    assert [(letter.handler, letter.reason) for letter in world.store.letters] == [("kept", "dropped")] * 3
    assert [box.counters.dropped for box in map(world.mailbox, (kept, plain))] == [3, 3]
    assert sum(server.missed) == 6


def test_what_a_newer_event_replaces_leaves_nothing_in_the_store() -> None:
    """A durable handler that wants the latest only is owed no dead letter for the others."""
    world, producer, server = made()
    kept = world.handler(server, "kept", durable=True, overflow="coalesce", concurrency=1)
    world.start()
    for _ in range(4):
        producer.publish()
        world.rest(work=False)
    world.rest()
    assert world.store is not None
    assert (world.store.letters, world.store.journal) == ([], {})
    assert world.mailbox(kept).counters.coalesced == 2


def test_a_durable_subscription_that_was_removed_leaves_nothing() -> None:
    """Its events go from the journal, at once and at a new router's start."""
    world, producer, server = made()
    record = world.handler(server, "kept", durable=True)
    world.start()
    producer.publish()
    world.rest(work=False)
    world.table.remove(record.number)
    del world.clients["p"]
    world.clients["h"].numbers.clear()
    world.start()
    world.rest()
    assert world.store is not None
    assert not world.store.journal
    assert world.core.unsettled == world.core._state.stored == 0


# Everything at once


class Chaos(World):
    """Random schedules: routers die around any write, links break, producers die and come back as others."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed, mailbox_capacity=8, prefetch=4, max_unadmitted=6, max_unsettled=40)
        choose = self.choose
        self.servers = [self.client(f"h{number}") for number in range(2)]
        for number in range(4):
            self.handler(
                choose.choice(self.servers),
                f"e{number}",
                durable=choose.random() < 0.6,
                session=choose.choice(["BUS", "BUS", "s1"]),
                priority=choose.choice([1, 50]),
            )
        self.epochs = {"p0": 1, "p1": 1}
        for name in self.epochs:
            self.client(name)
        self.published: dict[tuple[str, int, str], int] = {}
        self.gone: list[Client] = []
        self.start()

    def step(self) -> None:
        choose = self.choose
        dice = choose.random()
        name = choose.choice(list(self.epochs))
        client = choose.choice([*self.clients.values()])
        if dice < 0.12:
            session = choose.choice(["BUS", "s1"])
            for _ in range(choose.randint(1, 4)):
                sequence = self.clients[name].publish(session)
                self.published[name, self.epochs[name], session] = sequence
        elif dice < 0.3:
            self.send(client)
        elif dice < 0.5:
            self.arrive(client)
        elif dice < 0.65:
            self.hand(client)
        elif dice < 0.78 and client.inbox:
            client.read()
        elif dice < 0.88 and client.jobs:
            client.work(choose)
        elif dice < 0.97:
            self.write()
        elif dice < 0.98:
            self.start(read=choose.random() < 0.5)
        elif dice < 0.983:
            self.die(name)
        elif dice < 0.99:
            self.core.detach(client.state, self.now)
            client.lose_link()
            client.connect(self.core)
        elif not self.core._state.journal.ready:
            self.read_store()
        self.core.validate()

    def die(self, name: str) -> None:
        """The process is gone with its outbox, and another life of it begins."""
        self.core.detach(self.clients[name].state, self.now)
        self.gone.append(self.clients[name])
        self.epochs[name] += 1
        self.client(name, self.epochs[name])

    def finish(self) -> None:
        if not self.core._state.journal.ready:
            self.read_store()
        self.rest()

    def check(self) -> None:
        assert self.store is not None
        assert not self.store.journal
        assert self.core.unsettled == self.core._state.stored == 0
        for server in self.servers:
            for number, handled in server.handled.items():
                record = self.table.get(number)
                assert record is not None
                assert len(set(handled)) == len(handled)
                for key, last in self.published.items():
                    got = [sequence for line, sequence in handled if line == key]
                    assert got == sorted(got), (record.name, key)
                    if record.session in ("BUS", key[2]):
                        wanted = self.promised(key, last, durable=record.durable)
                        assert wanted <= set(got), (record.name, record.durable, key, wanted - set(got))

    def promised(self, key: tuple[str, int, str], last: int, *, durable: bool) -> set[int]:
        """All while it lives; of one that died what it was told is admitted, where that is durable."""
        name, epoch, session = key
        if self.epochs[name] == epoch:
            return set(range(1, last + 1))
        [dead] = [one for one in self.gone if (one.name, one.epoch) == (name, epoch)]
        return {sequence for where, sequence in dead.admitted if where == session} if durable else set()


@given(seed=st.integers(0, 2**32))
@settings(max_examples=40)
def test_durable_events_survive_whatever_dies(seed: int) -> None:
    """Each durable handler gets each admitted event once and in order; plain ones all of living producers."""
    world = Chaos(seed)
    for _ in range(400):
        world.step()
    world.finish()
    world.check()


def test_what_was_admitted_before_its_handler_was_durable_waits_for_the_store() -> None:
    """A later router is to write it first, and cannot: it is not refused, whoever else waits for it."""
    world, producer, server = made(journal_timeout=5.0)
    slow = world.handler(server, "slow")
    world.start()
    producer.publish()
    world.rest(work=False)
    assert producer.admitted == {("BUS", 1)}
    kept = world.handler(server, "kept", durable=True)
    server.jobs.clear()
    world.start()
    world.rest_without_store()
    world.pass_time(60.0)
    world.rest_without_store()
    assert not producer.refused
    world.rest()
    assert server.handled == {number: [(("p", 1, "BUS"), 1)] for number in (slow.number, kept.number)}
