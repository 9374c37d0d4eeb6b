"""What users rely on, with real clients, a real router and real links in one loop."""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

import pytest

from llmgine.actors.bus import (
    BusError,
    Command,
    CommandResult,
    Delivery,
    Event,
    HandlerExists,
    InvalidHandler,
    SchemaConflict,
    InvalidOption,
)

pytestmark = pytest.mark.timeout(20)

World = Any


class Add(Command[int]):
    left: int
    right: int


class Noted(Event):
    text: str = ""


class Louder(Noted):
    volume: int = 11


# Commands


async def test_a_command_runs_its_handler_under_its_session(world: World) -> None:
    """Executing runs the one handler, returns its result, and the handler sees the session id."""
    seen: list[str] = []

    async def add(command: Add) -> int:
        seen.append(command.session_id)
        return command.left + command.right

    server, caller = world.client(), world.client()
    await server.register_command_handler(Add, add)
    result = await caller.execute(Add(left=2, right=3, session_id="s1"))
    assert result.success
    assert result.unwrap() == 5
    assert seen == ["s1"]


async def test_a_second_command_handler_is_refused(world: World) -> None:
    """A second handler for a command in the same scope is refused, naming class and scope."""
    client = world.client()
    await client.register_command_handler(Add, lambda command: 1)
    with pytest.raises(HandlerExists, match=r"Add.*bus scope"):
        await client.register_command_handler(Add, lambda command: 2)
    await client.register_command_handler(Add, lambda command: 3, session_id="s1")
    with pytest.raises(HandlerExists, match=r"Add.*'s1'"):
        await client.register_command_handler(Add, lambda command: 4, session_id="s1")


async def test_a_command_nobody_handles_fails_promptly(world: World) -> None:
    """A command without a handler gets a failed result that names the class."""
    result = await asyncio.wait_for(world.client().execute(Add(left=1, right=1)), 2)
    assert not result.success
    assert result.error is not None
    assert result.error.kind == "no_handler"
    assert "Add" in result.error.text


async def test_a_raising_handler_gives_a_failed_result(world: World) -> None:
    """The error's kind and text reach the caller, and everything lives on."""

    def explode(command: Add) -> int:
        if command.left == 0:
            raise ValueError("left is zero")
        return command.left

    client = world.client()
    await client.register_command_handler(Add, explode)
    result = await client.execute(Add(left=0, right=0))
    assert (result.success, result.error and result.error.kind) == (False, "ValueError")
    assert result.error is not None
    assert result.error.text == "left is zero"
    assert (await client.execute(Add(left=7, right=0))).value == 7


async def test_a_returned_failure_is_a_failure(world: World) -> None:
    """A handler that returns a failed CommandResult is treated like one that raises."""
    client = world.client()
    await client.register_command_handler(Add, lambda command: CommandResult.failed("busy", "later"))
    result = await client.execute(Add(left=0, right=0))
    assert result.error is not None
    assert (result.error.kind, result.error.text) == ("busy", "later")
    statistics = await client.statistics()
    assert (statistics["commands_sent_total"], statistics["commands_failed_total"]) == (1, 1)


async def test_the_sessions_handler_wins_over_the_bus(world: World) -> None:
    """The session's handler wins, else the bus's runs; another session's is never seen."""
    client = world.client()
    await client.register_command_handler(Add, lambda command: 0)
    await client.register_command_handler(Add, lambda command: 1, session_id="s1")
    await client.register_command_handler(Add, lambda command: 2, session_id="s2")
    sessions = ("s1", "s2", "s3", "BUS")
    results = await asyncio.gather(*(client.execute(Add(left=0, right=0, session_id=s)) for s in sessions))
    assert [result.value for result in results] == [1, 2, 0, 0]


async def test_a_result_of_the_wrong_type_is_a_failure(world: World) -> None:
    """What the handler returns is checked against the R of the command's class."""
    client = world.client()
    await client.register_command_handler(Add, lambda command: "many")
    result = await client.execute(Add(left=0, right=0))
    assert result.error is not None
    assert result.error.kind == "invalid_result"


async def test_a_command_past_its_deadline_is_cancelled(world: World) -> None:
    """The caller gets a failed result at its deadline, and the handler is cancelled."""
    cancelled = asyncio.Event()

    async def forever(command: Add) -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return 0

    client = world.client()
    await client.register_command_handler(Add, forever)
    result = await client.execute(Add(left=0, right=0), deadline=0.1)
    assert result.error is not None
    assert result.error.kind == "deadline"
    await asyncio.wait_for(cancelled.wait(), 2)


# Events


async def test_publish_and_wait_returns_the_outcomes_of_its_own_handlers(world: World) -> None:
    """It returns when each of the event's handlers has run once, failed ones told as outcomes."""
    ran: list[str] = []

    async def good(event: Noted) -> None:
        await asyncio.sleep(0)
        ran.append("good")

    def bad(event: Noted) -> None:
        ran.append("bad")
        raise RuntimeError("no")

    client, publisher = world.client(), world.client()
    await client.register_event_handler(Noted, good)
    await client.register_event_handler(Noted, bad, name="bad")
    receipt = await publisher.publish(Noted(), wait=True)
    assert sorted(ran) == ["bad", "good"]
    assert receipt.admitted
    assert len(receipt.outcomes) == 2
    [failed] = [outcome for outcome in receipt.outcomes if not outcome.success]
    assert (failed.handler, failed.kind, failed.text, failed.reason) == (
        "bad",
        "RuntimeError",
        "no",
        "handler",
    )


async def test_a_waiting_publish_waits_for_no_other_event(world: World) -> None:
    """A publish that waits returns although another event's handler has not ended."""
    gate = asyncio.Event()

    async def slow(event: Louder) -> None:
        await gate.wait()

    client = world.client()
    await client.register_event_handler(Louder, slow)
    await client.register_event_handler(Noted, lambda event: None)
    other = asyncio.create_task(client.publish(Louder(), wait=True))
    await asyncio.wait_for(client.publish(Noted(), wait=True), 2)
    assert not other.done()
    gate.set()
    await other


async def test_a_handler_may_publish_and_wait(world: World) -> None:
    """Publishing and waiting inside a handler re-enters the same handler beside its suspended self."""
    depth: list[int] = []

    async def recurse(event: Louder, delivery: Delivery) -> None:
        depth.append(delivery.depth)
        if event.volume > 0:
            await client.publish(Louder(volume=event.volume - 1, session_id=event.session_id), wait=True)

    client = world.client()
    await client.register_event_handler(Louder, recurse, concurrency=1)
    for session in ("BUS", "s1"):
        depth.clear()
        await asyncio.wait_for(client.publish(Louder(volume=5, session_id=session), wait=True), 3)
        assert depth == [0, 1, 2, 3, 4, 5]


async def test_two_handlers_that_call_each_other_do_not_deadlock(world: World) -> None:
    """Commands that call each other in a circle end, with one place per handler, also many at once."""

    class Ping(Command[int]):
        left: int

    class Pong(Command[int]):
        left: int

    async def ping(command: Ping) -> int:
        return 1 + (await one.execute(Pong(left=command.left - 1))).unwrap() if command.left else 0

    async def pong(command: Pong) -> int:
        return 1 + (await two.execute(Ping(left=command.left - 1))).unwrap() if command.left else 0

    one, two = world.client(), world.client()
    await one.register_command_handler(Ping, ping, concurrency=1)
    await two.register_command_handler(Pong, pong, concurrency=1)
    results = await asyncio.wait_for(asyncio.gather(*(one.execute(Ping(left=6)) for _ in range(20))), 10)
    assert [result.value for result in results] == [6] * 20


async def test_endless_causation_is_cut(make_world: Any) -> None:
    """Events that cause one another without end stop at the depth that is allowed, and are counted."""
    world = await make_world(max_depth=10)
    count = 0
    ended = asyncio.Event()

    async def again(event: Noted) -> None:
        nonlocal count
        count += 1
        receipt = await client.publish(Noted())
        if receipt.refused:
            assert receipt.refused == (("", "depth"),)
            assert not receipt.admitted
            ended.set()

    client = world.client()
    await client.register_event_handler(Noted, again)
    await client.publish(Noted())
    await asyncio.wait_for(ended.wait(), 3)
    await client.drain()
    assert count == 11
    assert (await client.statistics())["failures"] == {"depth": 1}


async def test_scopes(world: World) -> None:
    """A bus event reaches bus handlers only; a session event its session's handlers and the bus's."""
    seen: list[tuple[str, str]] = []
    client = world.client()
    for scope in ("BUS", "s1", "s2"):
        await client.register_event_handler(
            Noted, lambda event, scope=scope: seen.append((scope, event.text)), session_id=scope
        )
    await client.publish(Noted(text="bus"), wait=True)
    await client.publish(Noted(text="one", session_id="s1"), wait=True)
    await client.publish(Noted(text="other", session_id="s3"), wait=True)
    assert sorted(seen) == [("BUS", "bus"), ("BUS", "one"), ("BUS", "other"), ("s1", "one")]


async def test_an_event_nobody_handles_is_no_error(world: World) -> None:
    """It is admitted, settled and counted."""
    client = world.client()
    receipt = await client.publish(Noted())
    assert receipt.admitted
    assert (await client.publish(Noted(), wait=True)).outcomes == ()
    await client.drain()
    statistics = await client.statistics()
    assert statistics["events_published_total"] == statistics["events_processed_total"] == 2


async def test_a_failing_handler_stops_nobody(world: World) -> None:
    """Others and later events go on; the failure is counted and recorded."""
    seen: list[str] = []

    def bad(event: Noted) -> None:
        raise KeyError(event.text)

    client = world.client()
    await client.register_event_handler(Noted, bad)
    await client.register_event_handler(Noted, lambda event: seen.append(event.text))
    for number in range(3):
        await client.publish(Noted(text=str(number)))
    assert await client.drain() == 0
    assert seen == ["0", "1", "2"]
    statistics = await client.statistics()
    assert statistics["events_published_total"] == statistics["events_failed_total"] == 3
    assert [failure.kind for failure in world.core.failures] == ["KeyError"] * 3


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
async def test_priority_is_strict(world: World, order: tuple[int, ...]) -> None:
    """A lower number runs first and to its end, whatever the order of registration, across processes."""
    story: list[str] = []

    def handler(priority: int) -> Any:
        async def handle(event: Noted) -> None:
            story.append(f"begin {priority}")
            for _ in range(5):
                await asyncio.sleep(0)
            story.append(f"end {priority}")

        return handle

    for priority in order:
        await world.client().register_event_handler(Noted, handler(priority), priority=priority)
    await world.client().publish(Noted(), wait=True)
    assert story == ["begin 0", "end 0", "begin 1", "end 1", "begin 2", "end 2"]


async def test_publishes_before_the_start_are_delivered_after_it(make_world: Any) -> None:
    """What is published before there is a router is delivered once there is, exactly once."""
    world = await make_world(router=False)
    seen: list[str] = []
    client = world.client()
    publishes = [asyncio.create_task(client.publish(Noted(text=str(number)))) for number in range(3)]
    registering = asyncio.create_task(
        client.register_event_handler(Noted, lambda event: seen.append(event.text))
    )
    await asyncio.sleep(0)
    await world.start_router(load=False)
    assert not any(task.done() for task in publishes)
    world.service.load(world.table.snapshot())
    await asyncio.wait_for(asyncio.gather(registering, *publishes), 5)
    await client.drain()
    assert seen == ["0", "1", "2"]


async def test_a_burst_is_processed_completely(world: World) -> None:
    """A burst larger than any batch or window is handled in order without a further call."""
    seen: list[int] = []
    client, publisher = world.client(), world.client()
    await client.register_event_handler(Louder, lambda event: seen.append(event.volume))
    await asyncio.gather(*(publisher.publish(Louder(volume=number)) for number in range(5_000)))
    assert await publisher.drain() == 0
    assert seen == list(range(5_000))


async def test_a_burst_beyond_the_mailbox_is_held_back_not_lost(make_world: Any) -> None:
    """With the default policy publishers wait for room, and everything arrives in order."""
    world = await make_world(mailbox_capacity=20, prefetch=8, max_unadmitted=50)
    seen: list[int] = []

    async def handle(event: Louder) -> None:
        await asyncio.sleep(0)
        seen.append(event.volume)

    client, publisher = world.client(), world.client()
    await client.register_event_handler(Louder, handle, session_id="s1")
    await asyncio.gather(
        *(publisher.publish(Louder(volume=number, session_id="s1")) for number in range(1_000))
    )
    assert await publisher.drain() == 0
    assert seen == list(range(1_000))
    statistics = await client.statistics()
    assert statistics["backpressure_on_total"] == statistics["backpressure_off_total"] >= 1
    assert statistics["queue_size"] == statistics["in_flight"] == statistics["backpressure_active"] == 0


async def test_reject_new_keeps_what_is_queued_and_tells_the_producer(make_world: Any) -> None:
    """Beyond its capacity the mailbox refuses, and the receipt names the handler."""
    world = await make_world(mailbox_capacity=3)
    gate = asyncio.Event()
    seen: list[int] = []

    async def handle(event: Louder) -> None:
        await gate.wait()
        seen.append(event.volume)

    client = world.client()
    await client.register_event_handler(Louder, handle, name="h", overflow="reject_new", concurrency=1)
    receipts = [await client.publish(Louder(volume=number)) for number in range(6)]
    assert [receipt.refused for receipt in receipts] == [()] * 4 + [(("h", "overflow"),)] * 2
    gate.set()
    await client.drain()
    assert seen == [0, 1, 2, 3]


async def test_drop_oldest_keeps_the_newest_in_order(make_world: Any) -> None:
    """What waits longest makes room; the drops are counted."""
    world = await make_world(mailbox_capacity=3)
    gate = asyncio.Event()
    seen: list[int] = []

    async def handle(event: Louder) -> None:
        await gate.wait()
        seen.append(event.volume)

    client = world.client()
    await client.register_event_handler(Louder, handle, overflow="drop_oldest", concurrency=1)
    for number in range(10):
        await client.publish(Louder(volume=number))
    gate.set()
    await client.drain()
    assert seen == [0, 7, 8, 9]
    assert (await client.statistics())["failures"] == {"dropped": 6}


async def test_a_full_mailbox_lets_go_of_its_copy_after_a_while(make_world: Any) -> None:
    """A stuck handler delays only itself: others get the event at once, the publisher goes on."""
    world = await make_world(mailbox_capacity=1, block_timeout=0.2)
    gate = asyncio.Event()
    seen: list[int] = []

    async def stuck(event: Louder) -> None:
        await gate.wait()

    client = world.client()
    await client.register_event_handler(Louder, stuck, name="stuck", concurrency=1)
    await client.register_event_handler(Louder, lambda event: seen.append(event.volume))
    for number in range(2):
        await client.publish(Louder(volume=number))
    late = await asyncio.wait_for(client.publish(Louder(volume=2)), 3)
    assert seen == [0, 1, 2]
    assert late.refused == (("stuck", "overflow"),)
    gate.set()


# Sessions, statistics, registration


async def test_a_session_that_ended_receives_nothing(world: World) -> None:
    """Its handlers receive nothing more; the bus's and other sessions' do."""
    seen: list[str] = []
    client = world.client()
    for scope in ("BUS", "s1", "s2"):
        await client.register_event_handler(Noted, lambda event, s=scope: seen.append(s), session_id=scope)
    world.end_session("s1")
    for scope in ("s1", "s2"):
        await client.publish(Noted(session_id=scope), wait=True)
    assert sorted(seen) == ["BUS", "BUS", "s2"]


async def test_many_sessions_receive_exactly_their_own(world: World) -> None:
    """A hundred sessions at once: each gets its own events, in order, once."""
    seen: dict[str, list[str]] = {}
    sessions = [f"s{number}" for number in range(100)]
    consumer, publisher = world.client(), world.client()
    for session in sessions:
        seen[session] = []
        await consumer.register_event_handler(
            Noted,
            lambda event, s=session: seen[s].append(f"{event.session_id}/{event.text}"),
            session_id=session,
        )
    await asyncio.gather(
        *(
            publisher.publish(Noted(text=str(n), session_id=session))
            for n in range(20)
            for session in sessions
        )
    )
    assert await publisher.drain() == 0
    assert seen == {session: [f"{session}/{n}" for n in range(20)] for session in sessions}


async def test_statistics_are_exact(world: World) -> None:
    """Sessions, handlers per scope and counters equal what happened."""
    client = world.client()
    kept = await client.register_event_handler(Noted, lambda event: None)
    await client.register_event_handler(Noted, lambda event: None, session_id="s1")
    await client.register_command_handler(Add, lambda command: 1, session_id="s1")
    for number in range(5):
        await client.publish(Noted(text=str(number)))
    await client.execute(Add(left=1, right=1, session_id="s1"))
    await client.drain()
    statistics = await client.statistics()
    assert statistics["registered_handlers"] == 3
    assert statistics["handlers"] == {"BUS": 1, "s1": 2}
    assert statistics["active_sessions"] == 1
    assert statistics["events_published_total"] == statistics["events_processed_total"] == 5
    assert statistics["commands_sent_total"] == statistics["commands_processed_total"] == 1
    assert (statistics["queue_size"], statistics["in_flight"], statistics["unsettled"]) == (0, 0, 0)
    await kept.remove()
    await kept.remove()
    assert not kept.active
    statistics = await client.statistics()
    assert statistics["handlers"] == {"s1": 2}


async def test_subclasses_reach_handlers_of_their_ancestors(world: World) -> None:
    """A handler gets its class and its subclasses; a foreign subclass arrives as the registered class."""
    seen: list[Event] = []
    client = world.client()
    await client.register_event_handler(Noted, seen.append)
    await client.publish(Louder(text="hey", metadata={"a": (1, 2)}), wait=True)
    assert [type(event) for event in seen] == [Noted]
    assert seen[0].text == "hey"  # type: ignore[attr-defined]
    assert seen[0].metadata == {"a": (1, 2)}
    assert seen[0].id
    assert seen[0].timestamp.tzinfo is not None


async def test_what_does_not_validate_is_a_failure_of_that_handler_only(world: World) -> None:
    """An undecodable message is recorded with that reason and kills nobody."""

    class Before(Event):
        __wire_name__ = "test.Changed"
        size: int

    class After(Event):
        __wire_name__ = "test.Changed"
        size: str

    seen: list[int] = []
    client = world.client()
    await client.register_event_handler(Before, lambda event: seen.append(event.size))
    receipt = await client.publish(After(size="big"), wait=True)
    assert [outcome.reason for outcome in receipt.outcomes] == ["undecodable"]
    await client.publish(Before(size=3), wait=True)
    assert seen == [3]
    with pytest.raises(SchemaConflict, match=r"test\.Changed"):
        await client.register_event_handler(After, lambda event: None)


async def test_unsupported_parameters_are_refused_by_name(world: World) -> None:
    """What this version does not offer is refused at registration, naming the parameter."""
    client = world.client()
    for options in ({"filter": object()}, {"durable": True}, {"overflow": "coalesce"}):
        with pytest.raises(InvalidOption, match=next(iter(options))):
            await client.register_event_handler(Noted, lambda event: None, **options)
    with pytest.raises(InvalidHandler):
        await client.register_event_handler(Noted, lambda: None)
    with pytest.raises(InvalidHandler, match="Event"):
        await client.register_event_handler(Add, lambda event: None)
    assert (await client.statistics())["registered_handlers"] == 0


async def test_observers_see_each_event_once(world: World) -> None:
    """Each event that this process publishes is observed once; a failing observer disturbs nobody."""
    seen: list[str] = []

    def fails(event: Event) -> None:
        raise RuntimeError("observer")

    client = world.client()
    client.add_observer(fails)
    remove = client.add_observer(lambda event: seen.append(event.text))
    await client.register_event_handler(Noted, lambda event: None)
    await client.register_event_handler(Noted, lambda event: None)
    await client.publish(Noted(text="a"), wait=True)
    await client.publish(Noted(text="b"))
    remove()
    remove()
    await client.publish(Noted(text="c"))
    assert seen == ["a", "b"]
    assert client.report()["observer_failures"] == 3
    await client.drain()
    assert (await client.statistics())["events_published_total"] == 3


async def test_a_handler_past_its_deadline_is_cancelled_and_fails(world: World) -> None:
    """An attempt that takes too long is cancelled; the next event is handled."""
    seen: list[str] = []

    async def slow(event: Noted) -> None:
        if event.text == "slow":
            await asyncio.Event().wait()
        seen.append(event.text)

    client = world.client()
    await client.register_event_handler(Noted, slow, deadline=0.1, session_id="s1")
    first = await client.publish(Noted(text="slow", session_id="s1"), wait=True)
    await client.publish(Noted(text="fast", session_id="s1"), wait=True)
    assert [outcome.reason for outcome in first.outcomes] == ["deadline"]
    assert seen == ["fast"]


async def test_closing_reports_what_is_left(world: World) -> None:
    """A client that leaves drains for a while and says how much it leaves behind."""
    client, other = world.client(), world.client()

    async def forever(event: Noted) -> None:
        await asyncio.Event().wait()

    await other.register_event_handler(Noted, forever)
    await client.publish(Noted())
    left = await client.close(timeout=0.1)
    assert left.messages == 1
    with pytest.raises(BusError):
        await client.publish(Noted())


@pytest.mark.parametrize("session", ["BUS", "s1"])
async def test_a_handler_may_wait_at_any_step(world: World, session: str) -> None:
    """Values, errors and cancellations come through, whether a handler ends at its first step or later."""
    client, seen = world.client(), []
    gate = asyncio.Event()

    async def handle(event: Noted) -> None:
        kind = event.text
        if kind.startswith("late"):
            await asyncio.sleep(0)
        try:
            if kind == "late gate":
                await gate.wait()
            async with asyncio.timeout(None if "error" not in kind else 0):
                await asyncio.sleep(0 if "error" not in kind else 60)
        except TimeoutError:
            raise RuntimeError(kind) from None
        finally:
            seen.append(kind)
            if len(seen) == 4:
                gate.set()

    await client.register_event_handler(Noted, handle, name="handle")
    kinds = ["now", "late", "error", "late error", "late gate"]
    pending = [
        asyncio.ensure_future(client.publish(Noted(session_id=session, text=kind), wait=True))
        for kind in kinds
    ]
    outcomes = [receipt.outcomes[0] for receipt in await asyncio.gather(*pending)]
    assert [(one.success, one.text) for one in outcomes] == [
        (True, ""),
        (True, ""),
        (False, "error"),
        (False, "late error"),
        (True, ""),
    ]
    if session != "BUS":
        assert seen == kinds


async def test_a_waiting_publish_keeps_no_event(make_world: Any) -> None:
    """Until it is admitted a publish keeps the packed message alone."""
    world = await make_world(router=False)
    client = world.client()
    await client.start()
    event = Noted(text="x")
    kept = weakref.ref(event)
    publishing = asyncio.create_task(client.publish(event))
    del event
    await asyncio.sleep(0)
    assert kept() is None
    await world.start_router()
    assert (await publishing).admitted
