"""Whoever a turn waits for cannot ask that turn's session: it is told so at once, wherever it runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from llmgine.runtime import Command, Event, Runtime, WouldDeadlock, tool

pytestmark = pytest.mark.timeout(30)


class Look(Command[str]): ...


class Looked(Event): ...


@pytest.fixture
async def runtime() -> AsyncIterator[Runtime]:
    async with Runtime.in_process() as runtime:
        yield runtime


class Asking:
    """A tool whose work is set later, once there is a session to ask."""

    def __init__(self) -> None:
        self.work: Any = None

    @property
    def tool(self) -> Any:
        @tool(name="look")
        async def look() -> str:
            """Look around."""
            return str(await self.work())

        return look


async def result_of(session: Any) -> str:
    reply = await asyncio.wait_for(session.ask("go"), 20)
    return reply.tool_calls[0].result.text if reply.tool_calls[0].result else ""


async def test_from_its_own_tool(runtime: Runtime) -> None:
    """A tool that asks or streams from its own session fails at once; a submitted turn follows."""
    asking = Asking()
    async with runtime.session(model="scripted/tool", tools=[asking.tool]) as session:

        async def ask() -> str:
            with pytest.raises(WouldDeadlock, match=r"submit\(\)"):
                await session.ask("deeper")
            with pytest.raises(WouldDeadlock):
                async for _ in session.stream("deeper"):
                    pass
            return (await session.submit("later", model="scripted/echo")).id

        asking.work = ask
        reply = await runtime.turn(await result_of(session)).result()
        assert reply.text == "later"


@pytest.mark.parametrize("wait", ["execute", "publish"])
async def test_from_a_handler_that_its_tool_waits_for(runtime: Runtime, wait: str) -> None:
    """A handler at the other end of the bus is told, too, and may ask any other session."""
    asking, told = Asking(), []
    async with (
        runtime.session(model="scripted/tool", tools=[asking.tool]) as session,
        runtime.session(model="scripted/echo") as other,
    ):

        async def handle(message: Any) -> str:
            told.append((await other.ask("hello")).text)
            try:
                return (await session.ask("deeper")).text
            except WouldDeadlock:
                told.append("refused")
                return "refused"

        await session.register_command_handler(Look, handle)
        await session.register_event_handler(Looked, handle)
        if wait == "execute":
            asking.work = lambda: session.execute(Look())
        else:
            asking.work = lambda: session.publish(Looked(), wait=True)
        await result_of(session)
    assert told == ["hello", "refused"]


async def test_through_another_session(runtime: Runtime) -> None:
    """A session that is asked by the tool of another one cannot ask that one back."""
    first, second = Asking(), Asking()
    async with (
        runtime.session("a", model="scripted/tool", tools=[first.tool]) as a,
        runtime.session("b", model="scripted/tool", tools=[second.tool]) as b,
    ):
        first.work = lambda: result_of(b)
        second.work = lambda: a.ask("back")
        assert "WouldDeadlock" in await result_of(a)


async def test_a_handler_that_nobody_waits_for_may_ask(runtime: Runtime) -> None:
    """An event published and let go is handled by whoever may then ask the session."""
    asking, answered = Asking(), asyncio.Event()
    async with runtime.session(model="scripted/tool", tools=[asking.tool]) as session:

        async def handle(event: Looked) -> None:
            assert (await session.ask("after", model="scripted/echo")).text == "after"
            answered.set()

        await session.register_event_handler(Looked, handle)
        asking.work = lambda: session.publish(Looked())
        await result_of(session)
        await asyncio.wait_for(answered.wait(), 20)
