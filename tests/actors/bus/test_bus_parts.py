"""The pure parts one by one: table, dedup, mailbox, outbox, lanes, answers, handlers, routes."""

from __future__ import annotations

import functools
import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.actors.bus import (
    BusOptions,
    HandlerExists,
    InvalidHandler,
    SchemaConflict,
    ScopeRefused,
    StaleRegistration,
    SubscriptionRecord,
    SubscriptionTable,
    wire,
)
from llmgine.actors.bus.client.outbox import Entry, Outbox, RunHead
from llmgine.actors.bus.errors import ProtocolViolation
from llmgine.actors.bus.handling.answers import Answers, Kept
from llmgine.actors.bus.handling.dedup import Line, Lines
from llmgine.actors.bus.handling.handlers import anonymous_name, default_name, takes_delivery
from llmgine.actors.bus.handling.jobs import Job, JobHead, Lanes
from llmgine.actors.bus.router.mailbox import Mailbox, Offer
from llmgine.actors.bus.router.records import ClientState, Head, ProducerLine, Record
from llmgine.actors.bus.router.routes import Routes


def record(name: str = "h", kind: Any = "event", wire_name: str = "E", **fields: Any) -> SubscriptionRecord:
    return SubscriptionRecord(
        kind, wire_name, name, fields.pop("client", "c"), fields.pop("epoch", 1), **fields
    )


# The table


def test_the_table_refuses_a_second_command_handler() -> None:
    """Under another name it is refused, naming class and scope, and nothing has changed."""
    table = SubscriptionTable()
    table.add(record("a", "command", "C"))
    before = table.snapshot(), table.serial
    with pytest.raises(HandlerExists, match=r"C .*bus scope.*'a'"):
        table.add(record("b", "command", "C"))
    assert (table.snapshot(), table.serial) == before
    table.add(record("b", "command", "C", session="s"))


def test_the_same_name_takes_over() -> None:
    """The number stays, the generation rises, the owner changes; an older life is refused."""
    table = SubscriptionTable()
    first = table.add(record(client="one", epoch=5)).subscription
    second = table.add(record(client="two"))
    assert second.replaced == first
    assert second.subscription.number == first.number
    assert second.subscription.generation > first.generation
    assert table.remove(first.number, owner=first.owner) is None
    table.add(record(client="two", epoch=7))
    with pytest.raises(StaleRegistration):
        table.add(record(client="two", epoch=6))
    assert len(table) == 1


def test_one_wire_name_has_one_schema() -> None:
    """Another schema under a name in use is refused, unless it replaces the only user of it."""
    table = SubscriptionTable()
    table.add(record("a", fingerprint="x"))
    with pytest.raises(SchemaConflict, match="__wire_name__"):
        table.add(record("b", fingerprint="y"))
    table.add(record("a", fingerprint="y"))


def test_removing_scopes_and_clients() -> None:
    """A scope goes with its handlers and no others, never the bus's; a client's lives by epoch."""
    table = SubscriptionTable()
    for session in ("BUS", "s1", "s2"):
        table.add(record("a", session=session))
        table.add(record("b", session=session, client="d", epoch=2))
    assert {one.session for one in table.remove_scope("s1")} == {"s1"}
    with pytest.raises(ScopeRefused):
        table.remove_scope("BUS")
    assert table.statistics().handlers == {"BUS": 2, "s2": 2}
    assert table.remove_client("d", epoch=1) == []
    assert len(table.remove_client("d")) == 2
    statistics = table.statistics()
    assert (statistics.sessions, statistics.registered_handlers, statistics.handlers) == (
        1,
        2,
        {"BUS": 1, "s2": 1},
    )


def test_a_mirror_equals_its_original() -> None:
    """Snapshots and single records rebuild the table; older generations change nothing."""
    table, mirror = SubscriptionTable(), SubscriptionTable()
    old = table.add(record("a")).subscription
    table.add(record("a", epoch=2))
    table.add(record("b", "command", "C"))
    for entry in table.snapshot():
        mirror.put(SubscriptionRecord.from_wire(entry))
    mirror.put(old)
    assert (mirror.snapshot(), mirror.serial) == (table.snapshot(), table.serial)
    assert mirror.add(record("c")).subscription.number == table.add(record("c")).subscription.number
    with pytest.raises(ProtocolViolation, match="colour"):
        SubscriptionRecord.from_wire({**old.to_wire(), "colour": 1})


# Duplicate suppression


@given(st.lists(st.integers(1, 60), max_size=80), st.integers(0, 20))
def test_a_line_knows_exactly_what_is_finished(marks: list[int], floor: int) -> None:
    """Within its window a line is a set, however out of order and with gaps."""
    line = Line(100)
    for sequence in marks:
        line.mark(sequence)
    line.settle(floor)
    finished = set(marks) | set(range(1, floor))
    assert {sequence for sequence in range(1, 70) if line.seen(sequence)} == finished


def test_a_line_is_bounded() -> None:
    """Gaps never make it grow beyond its window; what is a window behind counts as settled."""
    line = Line(64)
    for sequence in range(2, 10_000, 2):
        line.mark(sequence)
    assert line.mask.bit_length() <= 64
    assert line.seen(1)
    assert not line.seen(9_997)


def test_lines_are_bounded_and_keep_what_is_used() -> None:
    """The least recently used lines are forgotten, those with running handlers never."""
    lines = Lines(10, 8)
    busy = lines.line(("busy", 1, "s"))
    busy.running = 1
    busy.mark(1)
    for number in range(100):
        lines.line((f"p{number}", 1, "s"))
        lines.line(("used", 1, "s")).mark(number)
    assert len(lines) <= 10
    assert lines.line(("busy", 1, "s")) is busy
    assert lines.line(("used", 1, "s")).seen(99)


# The mailbox


def mailbox(**fields: Any) -> Mailbox:
    return Mailbox(record(**{"concurrency": 1, **fields}), prefetch=8, high=0.8, low=0.5)


def messages(count: int, session: str = "BUS") -> list[Record]:
    line = ProducerLine(ClientState("p", 1, "r.1"), session, 0)
    head = Head(line, "E", 0, 0, None)
    return [Record(head, sequence, b"", 1) for sequence in range(1, count + 1)]


@pytest.mark.parametrize("overflow", ["block", "drop_oldest", "reject_new"])
@given(st.lists(st.booleans(), max_size=60))
def test_a_mailbox_never_exceeds_its_capacity(overflow: Any, steps: list[bool]) -> None:
    """Under any policy and schedule: first in first out, bounded, and every message accounted for."""
    box = mailbox(capacity=5, overflow=overflow)
    kept: list[Record] = []
    for message, give in zip(messages(len(steps)), steps, strict=True):
        if give:
            offer, dropped = box.offer(message, math.inf)
            if dropped is not None:
                assert dropped is kept.pop(0)
            if offer is Offer.ACCEPTED:
                kept.append(message)
            else:
                assert len(kept) == 5
        elif kept:
            assert box.queue.popleft() is kept.pop(0)
            box.counters.handled += 1
        assert list(box.queue) == kept
        assert len(kept) <= 5
        if overflow == "block" and box.waiting and len(kept) < 5:
            late, _ = box.waiting.popleft()
            box.enter(late)
            kept.append(late)
        box.validate()


def test_pressure_is_reported_once_each_way() -> None:
    """On at the high mark, off at the low mark, nothing in between."""
    box = mailbox(capacity=10)
    changes = []
    for message in messages(10):
        box.offer(message, math.inf)
        changes.append(box.press())
    assert changes == [None] * 7 + [True, None, None]
    changes = []
    for _ in range(10):
        box.queue.popleft()
        box.counters.handled += 1
        changes.append(box.press())
    assert changes == [None] * 4 + [False] + [None] * 5


def test_what_was_on_its_way_comes_first_again() -> None:
    """After a break the unanswered ones are handed out again before the rest, in order."""
    box = mailbox(capacity=10)
    offered = messages(6)
    for message in offered:
        box.offer(message, math.inf)
    for entry in range(3):
        box.inflight[entry] = box.queue.popleft()
    del box.inflight[1]
    box.counters.handled += 1
    assert box.requeue() == 2
    assert list(box.queue) == [offered[0], offered[2], *offered[3:]]
    box.validate()


# Routes


def test_routes_follow_scope_lineage_and_priority() -> None:
    """Bus and own session, class and ancestors, by priority; a command's most specific handler."""
    table = SubscriptionTable()
    for fields in (
        {"name": "bus", "priority": 60},
        {"name": "s1", "session": "s1", "priority": 10},
        {"name": "s2", "session": "s2"},
        {"name": "base", "wire_name": "Base"},
        {"name": "cmd", "kind": "command", "wire_name": "Base"},
        {"name": "sub", "kind": "command"},
        {"name": "own", "kind": "command", "wire_name": "Base", "session": "s1"},
    ):
        table.add(record(**fields))
    boxes = {one.number: Mailbox(one, prefetch=1, high=1, low=0) for one in table}
    routes = Routes(table, boxes)
    stages = [[box.subscription.name for box in stage] for stage in routes.event("E|Base", "s1")]
    assert stages == [["s1"], ["base"], ["bus"]]
    assert [[box.subscription.name for box in stage] for stage in routes.event("E", "BUS")] == [["bus"]]
    for session, name in (("BUS", "sub"), ("s1", "own"), ("s2", "sub")):
        found = routes.command("E|Base", session)
        assert found is not None
        assert found.subscription.name == name
    assert routes.command("Other", "s1") is None


# The outbox


def test_an_outbox_keeps_until_settled_and_sends_again() -> None:
    """What the router has not received goes again, from the floor and marked, when it lost its memory."""
    outbox = Outbox(BusOptions(max_unadmitted=4, max_unsettled=8))
    for _ in range(6):
        outbox.add("s", Entry(RunHead("E"), b"x"))
    [run] = outbox.runs()
    assert run[:3] == ["s", "E", 1]
    assert len(run[7]) == 4
    assert outbox.runs() == []
    assert len(list(outbox.admitted("s", 1, 3))) == 3
    assert list(outbox.admitted("s", 1, 3)) == []
    assert len(list(outbox.settled("s", 2, 2))) == 1
    assert outbox.hello() == [["s", 1, 4]]
    outbox.resume([("s", 3)], again=False)
    assert [(run[2], len(run[7]), run[5]) for run in outbox.runs()] == [(4, 3, 0)]
    outbox.resume([], again=True)
    again = outbox.runs()
    assert [(run[2], len(run[7]), run[5]) for run in again] == [
        (1, 1, wire.AGAIN),
        (2, 1, wire.VOID),
        (3, 3, wire.AGAIN),
    ]
    assert len(list(outbox.settled("s", 1, 6))) == 5
    assert (outbox.count, outbox.bytes) == (0, 0)


def test_an_outbox_cuts_a_run_where_messages_differ() -> None:
    """Equal messages share a run, however many lines there are; a publish holds at most one batch."""
    outbox = Outbox(BusOptions())
    for line in ("E", "E", "F"):
        outbox.add("s", Entry(RunHead(line), b"x"))
    for _ in range(wire.BATCH_EVENTS):
        outbox.add("t", Entry(RunHead("E"), b"x"))
    first, second = outbox.runs(), outbox.runs()
    assert [(run[1], run[2], len(run[7])) for run in first] == [
        ("E", 1, 2),
        ("F", 3, 1),
        ("E", 1, wire.BATCH_EVENTS - 3),
    ]
    assert [(run[2], len(run[7])) for run in second] == [(wire.BATCH_EVENTS - 2, 3)]
    assert not outbox.has_unsent


def test_a_message_that_was_never_sent_can_be_given_up() -> None:
    """It keeps its place in the row and nothing else; one that was sent cannot."""
    outbox = Outbox(BusOptions(max_unadmitted=1))
    for _ in range(2):
        outbox.add("s", Entry(RunHead("E", flags=wire.COMMAND), b"x"))
    outbox.runs()
    assert not outbox.give_up("s", 1)
    assert outbox.give_up("s", 2)
    list(outbox.settled("s", 1, 1))
    [run] = outbox.runs()
    assert (run[2], run[5], run[7]) == (2, wire.VOID, [b""])


# Lanes and answers


def job(session: str, sequence: int, *, command: bool = False) -> Job:
    flags = wire.COMMAND if command else 0
    head = JobHead(["p", 1, session, "E", sequence, 1, 0, flags, None, []])
    return Job(None, Line(8), head, sequence, b"", sequence, 0, 1, False, False)


def test_lanes_keep_a_sessions_order_and_let_others_pass() -> None:
    """One at a time per session, bus events and commands beside each other, all in order of arrival."""
    lanes = Lanes()
    for session in ("s1", "s1", "s2", "BUS", "BUS"):
        lanes.add(job(session, lanes.count + 1))
    started = [lanes.start() for _ in range(4)]
    assert [one.sequence for one in started] == [1, 3, 4, 5]
    assert not lanes
    lanes.ended(started[0])
    assert lanes.start().sequence == 2
    assert lanes.count == 0


def test_a_lane_may_go_on_without_being_closed() -> None:
    """What follows a job in its lane can run in its place; commands and bus events have no lane."""
    lanes = Lanes()
    for session in ("s1", "BUS", "s1"):
        lanes.add(job(session, lanes.count + 1))
    first, second = lanes.start(), lanes.start()
    assert lanes.following(second) is None
    third = lanes.following(first)
    assert third is not None
    assert (third.sequence, lanes.count) == (3, 0)
    assert lanes.following(third) is None
    lanes.ended(third)
    lanes.add(job("s1", 4))
    assert lanes.start().sequence == 4


@given(st.integers(0, 2**32))
def test_lanes_lose_nothing(seed: int) -> None:
    """Whatever starts, ends and is cleared, each session's jobs start in order and all come out."""
    choose = random.Random(seed)
    lanes = Lanes()
    running: list[Job] = []
    seen: dict[str, list[int]] = {}
    added = 0
    for number in range(1, 60):
        if choose.random() < 0.5:
            lanes.add(job(choose.choice(["s1", "s2"]), number))
            added += 1
        if lanes and choose.random() < 0.5:
            running.append(lanes.start())
        if running and choose.random() < 0.5:
            ended = running.pop(choose.randrange(len(running)))
            seen.setdefault(ended.head.session, []).append(ended.sequence)
            following = lanes.following(ended) if choose.random() < 0.5 else None
            if following is None:
                lanes.ended(ended)
            else:
                running.append(following)
        if choose.random() < 0.05:
            added -= len(lanes.clear())
    while running or lanes:
        if lanes:
            running.append(lanes.start())
        ended = running.pop()
        seen.setdefault(ended.head.session, []).append(ended.sequence)
        lanes.ended(ended)
    assert all(sequences == sorted(sequences) for sequences in seen.values())
    assert sum(map(len, seen.values())) == added


def test_answers_become_ranges() -> None:
    """Consecutive entries of one subscription travel as one range."""
    answers = Answers()
    for number, entry in ((1, 1), (1, 2), (2, 3), (1, 3), (1, 4)):
        answers.done(number, entry)
    assert answers.take() == [wire.DONE, [[1, 1, 2], [2, 3, 3], [1, 3, 4]]]
    assert answers.take() is None


def test_kept_results_are_bounded_in_bytes() -> None:
    """The oldest results are forgotten first."""
    kept, line = Kept(2_000), Line(8)
    for sequence in range(1, 11):
        kept.keep(line, sequence, wire.VALUE, [True, bytes(200)])
    assert sorted(line.outcomes) == [7, 8, 9, 10]


# Handlers


class Callable:
    def __call__(self, event: Any) -> None: ...
    def method(self, event: Any) -> None: ...


def plain(event: Any) -> None: ...
def with_delivery(event: Any, delivery: Any) -> None: ...
def with_optional(event: Any, delivery: Any = None) -> None: ...


def test_how_a_handler_is_called() -> None:
    """The delivery is passed to who asks for it; a default argument is no question."""
    assert not takes_delivery(plain)
    assert takes_delivery(with_delivery)
    assert takes_delivery(with_optional)
    assert not takes_delivery(lambda event, number=3: number)
    assert not takes_delivery(Callable())
    assert not takes_delivery(Callable().method)
    assert not takes_delivery(lambda *rest: None)
    assert takes_delivery(functools.partial(lambda extra, event, delivery: None, 1))
    bad: list[Any] = [lambda: None, lambda a, b, c: None, lambda event, *, key: None, 3]
    for handler in bad:
        with pytest.raises(InvalidHandler):
            takes_delivery(handler)


def test_names_of_handlers() -> None:
    """A module's function goes by its name; what a name cannot tell apart gets one of its own."""
    assert default_name(plain) == f"{__name__}.plain"
    for handler in (lambda event: None, Callable().method, Callable(), functools.partial(plain)):
        assert default_name(handler) is None
        assert anonymous_name(handler, "c.1", 1) != anonymous_name(handler, "c.1", 2)
