"""Which mailboxes a message goes to: scope, lineage, priority, and filters."""

from __future__ import annotations

from typing import Any

import msgpack

from llmgine.actors.bus import SubscriptionRecord, SubscriptionTable, wire
from llmgine.actors.bus.filters import MetadataFilter, Not, RateFilter, SessionFilter, TypeFilter
from llmgine.actors.bus.options import BusOptions
from llmgine.actors.bus.router.mailbox import Mailbox
from llmgine.actors.bus.router.routes import Routes
from tests.actors.bus.router.world import BODY, COMMAND, LINEAGE, World

OTHER = "test.Other|test.Event|llmgine.Event"


def names(route: Any) -> list[list[str]]:
    return [[box.subscription.name for box in stage] for stage in route.stages]


def test_routes_follow_scope_lineage_and_priority() -> None:
    """Bus and own session, class and ancestors, by priority; a command's most specific handler."""
    table = SubscriptionTable()
    handlers: dict[str, dict[str, Any]] = {
        "bus": {"priority": 60},
        "s1": {"session": "s1", "priority": 10},
        "s2": {"session": "s2"},
        "base": {"wire_name": "Base"},
        "cmd": {"kind": "command", "wire_name": "Base"},
        "sub": {"kind": "command"},
        "own": {"kind": "command", "wire_name": "Base", "session": "s1"},
    }
    for name, fields in handlers.items():
        given: dict[str, Any] = {"kind": "event", "wire_name": "E", **fields}
        table.add(SubscriptionRecord(name=name, client="c", epoch=1, **given))
    boxes = {one.number: Mailbox(one, BusOptions()) for one in table}
    routes = Routes(table, boxes)
    assert names(routes.event("E|Base", "s1")) == [["s1"], ["base"], ["bus"]]
    assert names(routes.event("E", "BUS")) == [["bus"]]
    for session, name in (("BUS", "sub"), ("s1", "own"), ("s2", "sub")):
        found = routes.command("E|Base", session)
        assert found is not None
        assert found.subscription.name == name
    assert routes.command("Other", "s1") is None


def body(**metadata: Any) -> bytes:
    packed: bytes = msgpack.packb([1, None, metadata or None, {}])
    return packed


def made(**handlers: Any) -> tuple[World, Any, Any]:
    """A handler per filter in wire form; a producer."""
    world = World()
    producer, server = world.client("p"), world.client("h")
    for name, wanted in handlers.items():
        world.handler(server, name, filter=wanted.to_wire() if wanted is not None else None)
    world.start()
    return world, producer, server


def got(world: World, server: Any) -> dict[str, list[int]]:
    world.rest()
    found = {}
    for number, handled in server.handled.items():
        record = world.table.get(number)
        assert record is not None
        found[record.name] = [sequence for _, sequence in handled]
    return found


def test_a_filtered_event_reaches_no_handler_and_is_counted() -> None:
    """Filters on type and session are asked once per route, those on metadata for each message."""
    world, producer, server = made(
        all=None,
        typed=TypeFilter(include=["test.Other"]),
        elsewhere=SessionFilter(exclude=["s1"]),
        urgent=MetadataFilter({"urgent": True}),
    )
    producer.publish("s1", body=body(urgent=True))
    producer.publish("s1", lineage=OTHER, body=body(urgent=False))
    producer.publish("s1", lineage=OTHER)
    assert got(world, server) == {"all": [1, 2, 3], "typed": [2, 3], "elsewhere": [], "urgent": [1]}
    boxes = {box.subscription.name: box.counters for box in world.core._state.mailboxes.values()}
    assert {name: counters.filtered for name, counters in boxes.items()} == {
        "all": 0,
        "typed": 1,
        "elsewhere": 3,
        "urgent": 2,
    }
    assert producer.outbox.count == 0
    [line] = world.core._state.story.of_handler("typed")
    assert (line[1], line[4]) == ("filtered", "p:1:s1:1")


def test_an_event_must_pass_all_filters_of_the_bus() -> None:
    """They hold for every handler, commands excepted, until they are taken away; their state goes on."""
    world, producer, server = made(all=None)
    run = world.handler(server, "run", "command")
    world.start()
    first, second = Not(SessionFilter(include=["s1"])).to_wire(), RateFilter(1.0, 2).to_wire()
    world.core.set_filters([[1, "c", first], [2, "c", second]], 0.0)
    for session in ("s1", "s2", "s2"):
        producer.publish(session)
    producer.publish("s1", lineage=COMMAND, flags=wire.COMMAND)
    assert got(world, server) == {"all": [1, 2], "run": [2]}
    assert world.core.filters() == [[1, "c", first], [2, "c", second]]
    world.core.set_filters([[2, "c", second]], 0.0)
    producer.publish("s1")
    producer.publish("s2")
    # The burst of two is spent: the bucket is the one of before.
    assert got(world, server) == {"all": [1, 2], "run": [2]}
    world.core.set_filters([], 0.0)
    producer.publish("s1")
    assert got(world, server)["all"] == [1, 2, 4]
    assert run.name == "run"


def test_a_rate_filter_has_a_bucket_per_handler() -> None:
    """It admits its burst, rejects beyond, recovers; another handler's is its own."""
    world, producer, server = made(one=RateFilter(1.0, 2), other=RateFilter(1.0, 3))
    for _ in range(5):
        producer.publish()
    assert got(world, server) == {"one": [1, 2], "other": [1, 2, 3]}
    world.pass_time(1.0)
    producer.publish()
    assert got(world, server) == {"one": [1, 2, 6], "other": [1, 2, 3, 6]}


def test_what_nobody_wants_is_settled_at_once() -> None:
    """An event that every filter refuses is no error, also where its result is waited for."""
    world, producer, server = made(one=MetadataFilter({"key": 1}), two=TypeFilter(exclude=["test.Event"]))
    producer.publish(body=BODY)
    producer.publish(body=b"no body", flags=wire.WAIT)
    assert got(world, server) == {"one": [], "two": []}
    assert producer.settled == {("BUS", 1)}
    assert producer.results == {("BUS", 2): []}


def test_a_filtered_durable_event_is_not_kept() -> None:
    """Only what reaches a durable handler is in the journal."""
    world = World()
    producer, server = world.client("p"), world.client("h")
    world.handler(server, "kept", durable=True, filter=MetadataFilter({"keep": True}).to_wire())
    world.start()
    store, world.store = world.store, None
    producer.publish(lineage=LINEAGE, body=body(keep=False))
    world.rest()
    assert producer.settled == {("BUS", 1)}
    producer.publish(lineage=LINEAGE, body=body(keep=True))
    world.rest(work=False)
    assert producer.admitted == {("BUS", 1)}
    world.store = store
    world.rest()
    assert [sequence for _, sequence in server.handled[1]] == [2]


def test_a_router_that_died_makes_no_message_pay_its_rate_twice() -> None:
    """What may have been admitted before is not refused when it is sent again, also within Not."""
    world, producer, server = made(one=RateFilter(1.0, 2), beyond=Not(RateFilter(1.0, 2)))
    for _ in range(2):
        producer.publish()
    world.rest(work=False)
    for _ in range(3):
        world.core.set_filters([], 0.0)
    world.start()
    producer.publish()
    world.rest(work=False)
    world.start()
    assert got(world, server)["one"] == [1, 2, 3]
