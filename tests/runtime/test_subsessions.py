"""Tools that are other sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmgine.actors.sessions.tools.context import ToolContext
from llmgine.runtime import (
    Deny,
    Limits,
    Runtime,
    SubSession,
    ToolDefinitionError,
    TurnCancelled,
    session_tool,
    tool,
)
from tests.runtime.looks import cluster_of

Until = Callable[..., Any]


def asks(name: str, *prompts: str) -> dict[str, Any]:
    """A model that asks a tool with each of these prompts, one a step, and then is done."""
    calls = [{"tool_calls": [{"name": name, "arguments": {"prompt": prompt}}]} for prompt in prompts]
    return {"replies": [*calls, {"text": "done"}]}


SCRIPTS: dict[str, Any] = {
    "boss": asks("helper", "first", "second"),
    "chief": asks("boss", "go"),
    "breaks": {"replies": [{"text": "x", "fault": {"kind": "context_length"}}]},
    "waits": {"replies": [{"tool_calls": [{"name": "wait", "arguments": {}}]}, {"text": "waited"}]},
    "once": asks("helper", "only"),
}


def opened() -> Any:
    return Runtime.in_process({"providers": {"scripts": SCRIPTS}, "control": {"stop_grace": 1}})


class Gate:
    """Where the tool `wait` of a session that is asked stands."""

    def __init__(self) -> None:
        self.inside, self.go_on = asyncio.Event(), asyncio.Event()
        self.entered = 0

    def tool(self) -> Any:
        @tool
        async def wait() -> str:
            """Waits."""
            self.entered += 1
            self.inside.set()
            await self.go_on.wait()
            return "it is time"

        return wait


async def told(runtime: Runtime, prefix: str) -> dict[str, tuple[str, int]]:
    return {one.id: (one.state, one.messages) async for one in runtime.sessions.list(prefix=prefix)}


async def test_each_call_asks_a_session_of_its_own(clean_environ: Path, eventually: Until) -> None:
    """The reply is the call's result; each session begins anew, ends with its call, and names its parent."""
    helper = session_tool("helper", "Helps.", model="scripted/echo", system="Be brief.")
    async with opened() as runtime, runtime.session("p", model="scripted/boss", tools=[helper]) as session:
        reply = await session.ask("go")
        assert [call.result.text for call in reply.tool_calls] == ["first", "second"]
        await eventually(lambda: ended(runtime, "p/helper/", [2, 2]))
        assert [one.parent async for one in runtime.sessions.list(parent="p")] == ["p", "p"]


async def ended(runtime: Runtime, prefix: str, messages: list[int]) -> bool:
    found = await told(runtime, prefix)
    return list(found.values()) == [("closed", count) for count in messages]


async def test_a_kept_session_remembers(clean_environ: Path, eventually: Until) -> None:
    """With keep the same session is asked each time, until the one that asks it ends."""
    helper = session_tool("helper", "Helps.", model="scripted/echo", keep=True)
    async with opened() as runtime:
        async with runtime.session("p", model="scripted/boss", tools=[helper]) as session:
            await session.ask("go")
            assert (await told(runtime, "p/"))["p/helper"][0] == "open"
        await eventually(lambda: ended(runtime, "p/helper", [4]))


async def test_the_whole_is_one_trace(clean_environ: Path, eventually: Until) -> None:
    """The other session's turn stands below the call that asked for it."""
    helper = session_tool("helper", "Helps.", model="scripted/echo")
    async with opened() as runtime, runtime.session("p", model="scripted/once", tools=[helper]) as session:
        reply = await session.ask("go")

        async def joined() -> bool:
            spans = (await runtime.telemetry.trace(reply.trace_id)).spans
            calls = {span.span_id for span in spans if span.name == "execute_tool helper"}
            return any(span.parent_id in calls and span.name == "invoke_agent" for span in spans)

        await eventually(joined)


async def test_what_goes_wrong_there_is_an_error_here(clean_environ: Path) -> None:
    """The turn goes on with an error result that names what happened."""
    helper = session_tool("helper", "Helps.", model="scripted/breaks")
    async with opened() as runtime, runtime.session(model="scripted/once", tools=[helper]) as session:
        reply = await session.ask("go")
    (called,) = reply.tool_calls
    assert reply.text == "done"
    assert called.result.is_error
    assert "helper failed: ProviderError" in called.result.text


async def test_sessions_ask_sessions_only_so_deep(clean_environ: Path) -> None:
    """Where more sessions than `depth` would wait in a row, the call is an error."""
    for depth, failed in ((2, False), (1, True)):
        helper = session_tool("helper", "Helps.", model="scripted/echo", depth=depth)
        boss = session_tool("boss", "Leads.", model="scripted/boss", tools=[helper])
        async with opened() as runtime, runtime.session("p", model="scripted/chief", tools=[boss]) as session:
            await session.ask("go")
            (asked,) = [one.id async for one in runtime.sessions.list(parent="p")]
            exported = await runtime.sessions.export(asked)
            assert ("depth=1" in exported) == failed


async def test_a_session_that_is_asked_has_limits_and_a_policy(clean_environ: Path) -> None:
    """Its own, whatever those of the one that asks are."""

    class Closed:
        def decide(self, call: Any, tool: Any, view: Any) -> Deny:
            return Deny("we are closed")

    gate = Gate()
    gate.go_on.set()
    ways: dict[str, dict[str, Any]] = {"limits": {"limits": Limits(steps=1)}, "policy": {"policy": Closed()}}
    told: dict[str, str] = {}
    for name, way in ways.items():
        helper = session_tool("helper", "Helps.", model="scripted/waits", tools=[gate.tool()], **way)
        async with opened() as runtime, runtime.session("p", model="scripted/once", tools=[helper]) as asking:
            (called,) = (await asking.ask("go")).tool_calls
            (asked,) = [one.id async for one in runtime.sessions.list(parent="p")]
            told[name] = called.result.text + await runtime.sessions.export(asked)
    assert "StepLimit" in told["limits"]
    assert "we are closed" in told["policy"]
    assert gate.entered == 1


async def test_a_cancel_goes_all_the_way(clean_environ: Path, eventually: Until) -> None:
    """Cancelling a turn cancels those that it waits for."""
    gate = Gate()
    helper = session_tool("helper", "Helps.", model="scripted/waits", tools=[gate.tool()])
    async with opened() as runtime, runtime.session("p", model="scripted/once", tools=[helper]) as session:
        turn = await session.submit("go")
        await asyncio.wait_for(gate.inside.wait(), 20)
        await turn.cancel()
        with pytest.raises(TurnCancelled):
            await turn.result()

        async def cancelled() -> bool:
            asked = [one.id async for one in runtime.sessions.list(parent="p")]
            return [one.state for one in await runtime.sessions.turns(asked[0])] == ["cancelled"]

        await eventually(cancelled)


async def test_a_crash_of_the_one_that_asks_asks_nothing_twice(
    clean_environ: Path, eventually: Until
) -> None:
    """The turn goes on in another process and finds what its call had begun."""
    gate = Gate()
    helper = session_tool("helper", "Helps.", model="scripted/waits", tools=[gate.tool()])
    async with opened() as runtime, runtime.session("p", model="scripted/once", tools=[helper]) as session:
        asking = asyncio.create_task(session.ask("go"))
        await asyncio.wait_for(gate.inside.wait(), 20)
        host = (await runtime.sessions.show("p")).host
        assert host is not None
        await cluster_of(runtime).kill(host)
        gate.go_on.set()
        reply = await asyncio.wait_for(asking, 30)
    assert [call.result.text for call in reply.tool_calls] == ["waited"]
    assert gate.entered == 1


async def test_any_tool_may_ask_a_session(clean_environ: Path) -> None:
    """A tool with a context asks sessions that it describes itself, each prompt once."""
    echo = SubSession("echo", "scripted/echo")

    @tool
    async def helper(prompt: str, context: ToolContext) -> str:
        """Asks an echo."""
        asked = [prompt, "other", prompt]
        replies = [await context.ask(echo, one) for one in asked]
        assert [reply.text for reply in replies] == asked
        return f"{len({reply.turn_id for reply in replies})} turns"

    async with opened() as runtime, runtime.session(model="scripted/once", tools=[helper]) as session:
        reply = await session.ask("go")
    assert [call.result.text for call in reply.tool_calls] == ["2 turns"]


def test_a_bad_depth_is_refused() -> None:
    """A session that nobody may ask is no tool."""
    with pytest.raises(ToolDefinitionError, match="depth is 0"):
        session_tool("helper", "Helps.", model="scripted/echo", depth=0)
