"""The mailbox and its policies, against a model that is a few lists."""

from __future__ import annotations

from itertools import groupby
from math import inf
from typing import Any

import msgpack
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from llmgine.actors.bus import BusOptions, SubscriptionRecord, wire
from llmgine.actors.bus.router.counters import Offer
from llmgine.actors.bus.router.mailbox import Mailbox
from llmgine.actors.bus.router.records import ClientState, Head, ProducerLine, Record
from llmgine.actors.bus.router.serving import Serving
from tests.actors.bus.router.world import World

POLICIES = ("block", "drop_oldest", "reject_new", "adaptive", "coalesce")
SESSIONS = ("s1", "s2", "s3")


class Desk:
    """A mailbox whose messages are handed to one client, and the producers of its messages."""

    def __init__(self, *, capacity: int = 10, options: dict[str, Any] | None = None, **fields: Any) -> None:
        given: dict[str, Any] = {"concurrency": 1, "capacity": capacity, **fields}
        record = SubscriptionRecord("event", "E", "h", "c", 1, number=1, generation=1, **given)
        self.options = BusOptions(**{"prefetch": 4, "reserve": 0.0, **(options or {})})
        self.box = Mailbox(record, self.options)
        self._client = ClientState("p", 1, "r.1")
        self._lines: dict[str, ProducerLine] = {}
        self.serving: Serving | None = None

    def serve(self) -> None:
        client = ClientState("c", 1, "r.2")
        client.connected = True
        self.serving = self.box.members[client] = self.box.sole = Serving(self.box, client)
        self.box.count_places()

    def message(self, session: str = "s1", depth: int = 0, body: bytes = b"") -> Record:
        line = self._lines.setdefault(session, ProducerLine(self._client, session, 0))
        line.received += 1
        return Record(Head(line, "E", depth, 0, None), line.received, body, 1)

    def offer(
        self, session: str = "s1", until: float = inf, **fields: Any
    ) -> tuple[Record, Offer, list[Record]]:
        record = self.message(session, **fields)
        offer, lost = self.box.offer(record, until)
        return record, offer, list(lost)

    def take(self) -> Record | None:
        """The next one goes out."""
        serving = self.serving
        assert serving is not None
        if not (self.box.queue or self.box.refill()):
            return None
        record = self.box.queue.popleft()
        serving.inflight[serving.next_entry] = record
        serving.next_entry += 1
        self.box.outstanding += 1
        return record

    def finish(self) -> Record:
        """The first one that is out is handled."""
        assert self.serving is not None
        record = self.serving.inflight.pop(next(iter(self.serving.inflight)))
        self.box.outstanding -= 1
        self.box.counters.handled += 1
        return record


class Machine(RuleBasedStateMachine):
    """Offers, hand-outs, ends and breaks in any order; the model is a list per session."""

    @initialize(
        policy=st.sampled_from(POLICIES),
        capacity=st.integers(1, 12),
        reserve=st.sampled_from([0.0, 0.25, 0.5]),
        window=st.integers(1, 6),
    )
    def begin(self, policy: Any, capacity: int, reserve: float, window: int) -> None:
        options = {"reserve": reserve, "prefetch": window}
        self.desk = Desk(capacity=capacity, overflow=policy, options=options)
        self.policy, self.capacity = policy, capacity
        self.reserve = int(capacity * reserve) if policy in ("block", "adaptive") else 0
        self.nested = False
        self.accepted: dict[str, list[Record]] = {session: [] for session in SESSIONS}
        self.waiting: list[tuple[Record, float]] = []
        self.out: list[Record] = []
        self.offered = self.ended = 0
        self.now = 0.0
        self.pressed = False
        self.serve_again()

    def serve_again(self) -> None:
        self.desk.serve()

    @property
    def held(self) -> int:
        return sum(map(len, self.accepted.values())) + len(self.out)

    def room(self, *, nested: bool) -> int:
        running = 1 if self.desk.serving is not None else 0
        kept = self.reserve if self.nested and not nested else 0
        return self.capacity - kept + running - self.held

    @rule(session=st.sampled_from(SESSIONS), depth=st.integers(0, 1), patience=st.integers(1, 5))
    def offer(self, session: str, depth: int, patience: int) -> None:
        self.nested = self.nested or depth > 0
        row = self.accepted[session]
        replaced = row[-1:] if self.policy == "coalesce" else []
        full_before = self.room(nested=depth > 0) + len(replaced) <= 0
        record, offer, lost = self.desk.offer(session, self.now + patience, depth=depth)
        self.offered += 1
        if replaced:
            assert lost == replaced
        for one in lost:
            mine = self.accepted[one.head.line.session]
            assert replaced or mine[0] is one
            mine.remove(one)
            self.ended += 1
        if offer is Offer.ACCEPTED:
            row.append(record)
            assert self.room(nested=True) >= 0
        elif offer is Offer.WAITING:
            assert self.policy in ("block", "adaptive", "coalesce")
            assert full_before or self.waiting
            self.waiting.append((record, self.now + patience))
        else:
            assert self.policy in ("reject_new", "drop_oldest")
            assert full_before
            self.ended += 1

    @precondition(lambda self: self.desk.serving is not None)
    @rule()
    def hand_out(self) -> None:
        record = self.desk.take()
        if record is None:
            assert not any(self.accepted.values())
            return
        # Of each session in its order.
        assert self.accepted[record.head.line.session].pop(0) is record
        self.out.append(record)

    @precondition(lambda self: self.out and self.desk.serving is not None)
    @rule()
    def finish(self) -> None:
        self.out.remove(self.desk.finish())
        self.ended += 1

    @rule()
    def let_in(self) -> None:
        entered, lost = self.desk.box.let_in()
        for record in entered:
            [pair] = [one for one in self.waiting if one[0] is record]
            earlier = [one for one, _ in self.waiting if one.head.line is record.head.line]
            assert earlier[0] is record, "a session's order is not kept"
            self.waiting.remove(pair)
            self.accepted[record.head.line.session].append(record)
        for record in lost:
            self.accepted[record.head.line.session].remove(record)
            self.ended += 1
        assert self.room(nested=True) >= 0 or not entered
        if self.waiting and self.policy != "coalesce":
            assert self.room(nested=False) <= 0, "somebody waits though there is room"

    @rule(seconds=st.integers(0, 4))
    def expire(self, seconds: int) -> None:
        self.now += seconds
        late = self.desk.box.expired(self.now)
        assert set(late) == {record for record, until in self.waiting if until <= self.now}
        self.waiting = [pair for pair in self.waiting if pair[1] > self.now]
        self.ended += len(late)

    @precondition(lambda self: self.desk.serving is not None)
    @rule()
    def break_link(self) -> None:
        """What was out comes first again."""
        serving, box = self.desk.serving, self.desk.box
        assert serving is not None
        records = serving.take_in_hand()
        box.outstanding -= len(records)
        box.members.clear()
        box.sole, self.desk.serving = None, None
        box.count_places()
        box.put_back(records)
        for record in reversed(records):
            self.accepted[record.head.line.session].insert(0, record)
        self.out.clear()

    @precondition(lambda self: self.desk.serving is None)
    @rule()
    def come_back(self) -> None:
        self.serve_again()

    @rule()
    def press(self) -> None:
        """On at the high mark, off at the low one, each told once."""
        box = self.desk.box
        change = box.press()
        if change is not None:
            assert change is not self.pressed
            self.pressed = change
            assert (box.occupancy >= box.high) if change else (box.occupancy <= box.low)
        assert self.pressed or box.occupancy < box.high

    @invariant()
    def nothing_is_lost(self) -> None:
        box = self.desk.box
        box.validate()
        assert box.size == self.held
        assert set(box.waiting) == {record for record, _ in self.waiting}
        counters = box.counters
        lost = counters.dropped + counters.coalesced + counters.rejected
        assert self.offered == counters.accepted + counters.rejected + len(self.waiting)
        assert lost + counters.handled == self.ended
        assert box.missed == lost


TestMailbox = Machine.TestCase
TestMailbox.settings = settings(max_examples=100, stateful_step_count=40)


def test_one_sessions_flood_keeps_nobody_waiting() -> None:
    """Sessions take turns of a few messages, and each keeps its order."""
    desk = Desk(capacity=1_000)
    for _ in range(500):
        desk.offer("flood")
    for number in range(10):
        desk.offer(f"calm{number}")
    desk.serve()
    order = []
    while (record := desk.take()) is not None:
        order.append((record.head.line.session, record.sequence))
        desk.finish()
    assert max(order.index((f"calm{number}", 1)) for number in range(10)) < 30
    assert [sequence for session, sequence in order if session == "flood"] == list(range(1, 501))


def test_turns_are_as_long_as_a_part_of_what_may_go() -> None:
    """A handler with much room gets long rows of each session, and every session its part of that room."""
    desk = Desk(capacity=1_000, options={"prefetch": 256})
    for session in ("one", "two"):
        for _ in range(300):
            desk.offer(session)
    desk.serve()
    order: list[str] = []
    while len(order) < 256:
        record = desk.take()
        assert record is not None
        order.append(record.head.line.session)
    rows = [len(list(row)) for _, row in groupby(order)]
    assert rows[1] == (256 - rows[0]) // 8
    assert rows[-2] == 8


def test_a_flood_loses_its_own_messages() -> None:
    """What has to make room is of a session that has much there; the others' stay."""
    desk = Desk(capacity=50, overflow="drop_oldest")
    for number in range(5):
        desk.offer(f"calm{number}")
    lost = [one for _ in range(200) for one in desk.offer("flood")[2]]
    assert {one.head.line.session for one in lost} == {"flood"}
    assert [one.sequence for one in lost] == list(range(1, 156))


def test_the_newest_are_kept_in_order() -> None:
    """Dropping the oldest also holds where every message is of another session."""
    desk = Desk(capacity=5, overflow="drop_oldest")
    for number in range(12):
        desk.offer(f"s{number:02}")
    assert [record.head.line.session for record in desk.box.everything()] == [
        f"s{number:02}" for number in range(7, 12)
    ]


def test_a_full_mailbox_is_full_in_bytes_too() -> None:
    """Whatever is here does not weigh more than mailbox_bytes, but one message may always come."""
    desk = Desk(options={"mailbox_bytes": 100})
    assert desk.offer(body=bytes(1_000))[1] is Offer.ACCEPTED
    assert desk.offer(body=b"")[1] is Offer.WAITING
    desk.serve()
    desk.take()
    desk.finish()
    assert len(desk.box.let_in()[0]) == 1
    for _ in range(3):
        desk.offer(body=bytes(30))
    assert not desk.box.has_room(1, 11, nested=False)
    assert desk.box.has_room(1, 10, nested=False)


def test_a_part_is_kept_for_what_handlers_publish() -> None:
    """From the first message of a handler on; its room ends at the capacity."""
    desk = Desk(capacity=8, options={"reserve": 0.25})
    assert desk.offer(depth=1)[1] is Offer.ACCEPTED
    for _ in range(5):
        assert desk.offer("s2")[1] is Offer.ACCEPTED
    assert desk.box.press() is True
    assert desk.offer("s2")[1] is Offer.WAITING
    # Of the same session, so behind it; another session's has room.
    assert desk.offer("s2", depth=1)[1] is Offer.WAITING
    assert [desk.offer("s3", depth=1)[1] for _ in range(3)] == [Offer.ACCEPTED] * 2 + [Offer.WAITING]


def test_coalescing_keeps_the_latest_of_each_key() -> None:
    """The key is session, class and the metadata that was named; what is out is never replaced."""
    desk = Desk(overflow="coalesce", coalesce_by="sensor")
    desk.serve()

    def body(sensor: Any) -> bytes:
        packed: bytes = msgpack.packb([1, None, {"sensor": sensor}, {}])
        return packed

    first = desk.offer(body=body(1))[0]
    assert desk.take() is first
    kept = [desk.offer(body=body(sensor))[0] for sensor in (2, 1, 2, [1], 1)]
    assert list(desk.box.queue) == kept[2:]
    assert (desk.box.counters.coalesced, desk.box.missed) == (2, 2)
    other = desk.offer("s2", body=body(1))[0]
    assert list(desk.box.queue) == [*kept[2:], other]
    desk.box.validate()


def test_memory_of_keys_is_bounded() -> None:
    """Keys that come once and never again are forgotten."""
    desk = Desk(capacity=5, overflow="coalesce")
    desk.serve()
    for number in range(2_000):
        desk.offer(f"s{number}")
        desk.take()
        desk.finish()
    queue: Any = desk.box.queue
    assert len(queue._keyed) < 100


@pytest.mark.parametrize("fill", [5, 8, 10])
def test_an_adaptive_mailbox_slows_its_publishers(fill: int) -> None:
    """The answer is held back for longer the fuller it is, really, and what handlers publish is not."""
    world = World(adaptive_delay=1.0, prefetch=1)
    producer, server = world.client("p"), world.client("h")
    record = world.handler(server, "slow", overflow="adaptive", capacity=10, concurrency=1, session="s1")
    world.start()
    for _ in range(fill + 1):
        producer.publish("s1")
    world.rest(work=False)
    late = {0: 0.0, 5: 0.0, 8: 1.0, 10: 1.0}[fill]
    held_back = {("s1", sequence) for sequence in range(1, fill + 2)} - producer.admitted
    assert bool(held_back) is (late > 0)
    world.pass_time(0.3)
    world.rest(work=False)
    assert len({("s1", fill + 1)} - producer.admitted) == (late > 0.3)
    producer.publish("s1", depth=1)
    world.pass_time(0.71)
    world.rest()
    assert producer.outbox.count == 0
    assert len(server.handled[record.number]) == fill + 2


def test_what_is_settled_early_is_told_after_the_delay() -> None:
    """A handler that is done at once does not spare its publisher the wait."""
    world = World(adaptive_delay=1.0, prefetch=1)
    producer, server = world.client("p"), world.client("h")
    world.handler(server, "slow", overflow="adaptive", capacity=1, concurrency=1, session="s1")
    world.start()
    for _ in range(2):
        producer.publish("s1")
    world.rest()
    assert producer.settled == {("s1", 1)}
    world.pass_time(1.0)
    world.rest()
    assert producer.settled == producer.admitted == {("s1", 1), ("s1", 2)}


def test_a_full_event_mailbox_holds_up_no_command() -> None:
    """Commands have mailboxes of their own, also in the same session."""
    world = World(prefetch=1)
    producer, server = world.client("p"), world.client("h")
    world.handler(server, "full", capacity=1, concurrency=1)
    run = world.handler(server, "run", "command")
    world.start()
    for _ in range(20):
        producer.publish()
    producer.publish(lineage="test.Command|llmgine.Command", flags=wire.COMMAND)
    world.rest(work=False)
    assert [job[0] for job in server.jobs if job[4]] == [run.number]
