"""Who may handle what, in which scope, and what is seen and counted of it."""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

import pytest

from llmgine.actors.bus import (
    BusError,
    Command,
    Event,
    InvalidHandler,
    RetryPolicy,
    SchemaConflict,
    TypeFilter,
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


def noting(seen: list[str]) -> Any:
    """A handler on the loop, so that what it sees is in order."""

    async def handle(event: Noted) -> None:
        seen.append(f"{event.session_id}/{event.text}")

    return handle


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
            noting(seen[session]),
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


async def test_a_function_that_is_no_handler_is_refused(world: World) -> None:
    """What takes no message, or is registered for the other kind of message, is refused."""
    client = world.client()
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

    await client.register_event_handler(Noted, handle, name="handle", retry=RetryPolicy(retries=0))
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


@pytest.mark.parametrize("session", ["BUS", "s1"])
async def test_priorities_hold_up_nothing_that_a_handler_waits_for(world: World, session: str) -> None:
    """A handler of a higher priority may publish its own class and wait for all of that one's handlers."""
    client, seen = world.client(), []

    async def first(event: Noted) -> None:
        if len(event.text) < 3:
            await client.publish(Noted(text=event.text + "x", session_id=session), wait=True)
        seen.append(f"first {event.text}")

    async def second(event: Noted) -> None:
        seen.append(f"second {event.text}")

    await client.register_event_handler(Noted, first, priority=10)
    await client.register_event_handler(Noted, second, priority=50)
    receipt = await client.publish(Noted(text="x", session_id=session), wait=True)
    assert [outcome.success for outcome in receipt.outcomes] == [True, True]
    assert seen == [f"{who} {text}" for text in ("xxx", "xx", "x") for who in ("first", "second")]


async def test_functions_that_wait_for_functions_need_no_thread_each(make_world: Any) -> None:
    """A plain function may publish and wait for another one, though there is one thread for both."""
    world = await make_world(handler_threads=1)
    client = world.client()
    loop = asyncio.get_running_loop()
    seen: list[str] = []

    def outer(event: Noted) -> None:
        publishing = client.publish(Louder(), wait=True)
        asyncio.run_coroutine_threadsafe(publishing, loop).result(10)
        seen.append("outer")

    await client.register_event_handler(Noted, outer, filter=TypeFilter(exclude=(Louder,)))
    await client.register_event_handler(Louder, lambda event: seen.append("inner"))
    await client.publish(Noted(), wait=True)
    assert seen == ["inner", "outer"]


async def test_a_waiting_publish_keeps_no_event(make_world: Any, until: Any) -> None:
    """Until it is admitted a publish keeps the packed message alone."""
    world = await make_world(router=False)
    client = world.client()
    await client.start()
    event = Noted(text="x")
    kept = weakref.ref(event)
    publishing = asyncio.create_task(client.publish(event))
    del event
    await until(lambda: kept() is None)
    await world.start_router()
    assert (await publishing).admitted
