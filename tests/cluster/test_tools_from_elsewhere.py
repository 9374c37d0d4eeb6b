"""On a cluster: sessions that ask sessions, tools of MCP servers, and many prompts at once."""

from __future__ import annotations

import os
import sys

import pytest

from llmgine.runtime import McpServer, Reply, Runtime, session_tool, tool

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]

CLOCK = McpServer.stdio(sys.executable, ["-m", "mcp_server_time", "--local-timezone", "UTC"], name="clock")


@tool
def where(item: str) -> int:
    """The process that a tool runs in."""
    return os.getpid()


async def test_a_session_asks_another_process(runtime: Runtime) -> None:
    """The tools of the session that is asked travel with the one that asks, to a process of their own."""
    helper = session_tool("helper", "Helps.", model="scripted/tool", tools=[where])
    async with runtime.session("asks", model="scripted/tool", tools=[helper]) as session:
        reply = await session.ask("Where?")
        here = (await runtime.sessions.show("asks")).host
        (asked,) = [one async for one in runtime.sessions.list(parent="asks")]
    (called,) = reply.tool_calls
    assert called.result is not None
    assert not called.result.is_error, called.result.text
    assert asked.turns == 1
    assert here is not None
    await runtime.sessions.delete("asks")
    assert [one.id async for one in runtime.sessions.list(prefix="asks")] == []


async def test_an_mcp_server_in_a_session_of_its_own_process(runtime: Runtime) -> None:
    """The program is started on the node of the session and answers its calls."""
    async with runtime.session("clock", model="scripted/tool", tools=[CLOCK]) as session:
        reply = await session.ask("What time is it?")
        described = await session.describe()
    (called,) = reply.tool_calls
    assert called.name == "clock_get_current_time"
    assert described["mcp"]["clock"] == {"state": "ready", "tools": 2}


async def test_many_prompts_at_once(runtime: Runtime) -> None:
    """Each has its reply, in order, and what is done is taken from the store."""
    prompts = [f"prompt {number}" for number in range(40)]
    first = await runtime.map(prompts[:30], model="scripted/echo", name="many", concurrency=10)
    again = await runtime.map(prompts, model="scripted/echo", name="many", concurrency=10)
    assert [one.text for one in again if isinstance(one, Reply)] == prompts
    assert [one.turn_id for one in first if isinstance(one, Reply)] == [
        one.turn_id for one in again[:30] if isinstance(one, Reply)
    ]
    assert {one.turns async for one in runtime.sessions.list(prefix="many/")} == {1}
