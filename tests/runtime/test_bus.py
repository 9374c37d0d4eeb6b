"""`runtime.bus` and a session's scope of it, over two routers."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest

from llmgine.runtime import (
    BatchPolicy,
    Command,
    Event,
    InvalidOption,
    InvalidRequest,
    Middleware,
    RetryPolicy,
    Runtime,
    SessionFilter,
    TypeFilter,
)

pytestmark = pytest.mark.timeout(60)


class Noted(Event):
    text: str = ""


class Shout(Command[str]):
    text: str = ""


@pytest.fixture
async def runtime(clean_environ: object) -> AsyncIterator[Runtime]:
    async with Runtime.in_process({"bus": {"shards": 2}}) as runtime:
        yield runtime


async def test_the_face_offers_what_the_bus_can(runtime: Runtime) -> None:
    """Policies, filters, batches and middleware are given with the handler, and hold."""
    seen: list[Any] = []

    class Loud(Middleware):
        async def handle(self, message: Any, delivery: Any, call_next: Any) -> Any:
            seen.append("loud")
            return await call_next(message, delivery)

    async def together(events: list[Noted]) -> None:
        seen.extend(event.text for event in events)

    await runtime.bus.register_event_handler(
        Noted,
        together,
        name="together",
        batch=BatchPolicy(size=2, wait=5.0),
        filter=SessionFilter(exclude=("quiet",)),
        middleware=[Loud()],
        overflow="adaptive",
        order="strict",
    )
    await runtime.bus.publish(Noted(text="unheard", session_id="quiet"), wait=True)
    published = [runtime.bus.publish(Noted(text=text), wait=True) for text in ("one", "two")]
    receipts = await asyncio.gather(*published)
    assert [one.success for receipt in receipts for one in receipt.outcomes] == [True, True]
    assert seen == ["loud", "one", "two"]


async def test_a_failing_handler_is_explained(runtime: Runtime) -> None:
    """The story of handler, session or event names the failure; one asks for exactly one of them."""

    async def failing(event: Noted) -> None:
        raise RuntimeError("not today")

    await runtime.bus.register_event_handler(Noted, failing, name="failing", retry=RetryPolicy(retries=0))
    receipt = await runtime.bus.publish(Noted(session_id="s1"), wait=True)
    for about in ({"handler": "failing"}, {"session": "s1"}, {"event": receipt.id}):
        story = await runtime.bus.story(**about)
        assert [line.text for line in story if line.what == "attempt failed"] == [
            "RuntimeError: not today"
        ], story
    for wrong in ({}, {"handler": "failing", "session": "s1"}):
        with pytest.raises(InvalidRequest, match="exactly one"):
            await runtime.bus.story(**wrong)


async def test_statistics_are_exact_over_all_routers(runtime: Runtime) -> None:
    """Whatever was published to whichever router is counted once, and nothing else is."""
    before = await runtime.bus.statistics()
    await runtime.bus.register_event_handler(Noted, ignore)
    for number in range(8):
        await runtime.bus.publish(Noted(session_id=f"s{number}"), wait=True)
    after = await runtime.bus.statistics()
    assert after["events_published_total"] - before["events_published_total"] == 8
    assert after["registered_handlers"] - before["registered_handlers"] == 1
    assert after["queue_size"] == after["in_flight"] == after["backpressure_active"] == 0


async def ignore(event: Noted) -> None: ...


async def test_a_session_takes_the_same_options(runtime: Runtime) -> None:
    """What is registered through a session has its scope, and may say everything but another one."""
    heard: list[str] = []

    async def hear(event: Noted) -> None:
        heard.append(event.text)

    async def shout(command: Shout) -> str:
        return command.text.upper()

    async with runtime.session(model="scripted/echo") as session:
        subscription = await session.register_event_handler(
            Noted, hear, priority=10, filter=TypeFilter(include=(Noted,))
        )
        await session.register_command_handler(Shout, shout, retry=RetryPolicy(retries=1))
        await session.publish(Noted(text="here"), wait=True)
        await runtime.bus.publish(Noted(text="elsewhere"), wait=True)
        assert (await session.execute(Shout(text="hey"))).unwrap() == "HEY"
        assert (await runtime.bus.execute(Shout(text="hey"))).error is not None
        with pytest.raises(InvalidOption, match="session_id"):
            await session.register_event_handler(Noted, hear, session_id="other")
        with pytest.raises(InvalidOption, match="takes no priority"):
            await session.register_command_handler(Shout, shout, priority=1)  # type: ignore[call-arg]  # meant
    assert heard == ["here"]
    assert not subscription.active


async def test_a_session_keeps_no_handler_that_was_removed(runtime: Runtime) -> None:
    """However many are registered and removed while it is open, it holds on to those that are there."""
    async with runtime.session(model="scripted/echo") as session:
        removed = await session.register_event_handler(Noted, ignore, name="removed")
        await removed.remove()
        gone = weakref.ref(removed)
        del removed
        await session.register_event_handler(Noted, ignore, name="kept")
        gc.collect()
        assert gone() is None


async def test_a_durable_command_is_answered_like_any_other(runtime: Runtime) -> None:
    """It is in the store before it is handed out, and its result comes all the same."""

    async def shout(command: Shout) -> str:
        return command.text.upper()

    await runtime.bus.register_command_handler(Shout, shout, durable=True, name="shout")
    result = await runtime.bus.execute(Shout(text="hey"), durable=True, deadline=20.0)
    assert result.unwrap() == "HEY"


async def test_an_event_that_nobody_handles_is_explained(runtime: Runtime) -> None:
    """The story of an event without a handler says so, with its class; of a handled one it says nothing."""
    unheard = await runtime.bus.publish(Noted(session_id="s1"))
    story = await runtime.bus.story(event=unheard.id)
    assert [line.what for line in story] == ["no handler"]
    assert "nobody handles" in story[0].text
    assert "Noted" in story[0].text

    async def handle(event: Noted) -> None: ...

    await runtime.bus.register_event_handler(Noted, handle)
    heard = await runtime.bus.publish(Noted(session_id="s1"), wait=True)
    assert await runtime.bus.story(event=heard.id) == []
