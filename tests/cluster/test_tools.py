"""Tools outside of their session's process, on a real cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from llmgine.runtime import Runtime, Tool, ToolContext, ToolProgress, TurnDone, tool

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]


@tool(remote=True, num_cpus=0.1)
def far(context: ToolContext) -> Iterator[Any]:
    """Works on the cluster."""
    yield "begun"
    print("this goes to the log of the task")
    yield {"pid": os.getpid(), "turn": context.turn_id}


@tool(remote=True, num_cpus=0.1)
def falls() -> None:
    """Ends its process."""
    os._exit(3)


@tool(process=True)
def apart() -> int:
    """Works in a process of its own."""
    print("this goes to the log of the session")
    return os.getpid()


@tool(process=True)
def crashes() -> None:
    """Ends its process."""
    os.abort()


async def called(runtime: Runtime, given: Tool[..., Any]) -> tuple[list[Any], Any]:
    """What one call of the tool reported, and its result."""
    async with runtime.session(model="scripted/tool", tools=[given]) as session:
        events = [event async for event in session.stream("Go")]
    assert isinstance(events[-1], TurnDone)
    (call,) = events[-1].reply.tool_calls
    return [event.data for event in events if isinstance(event, ToolProgress)], call.result


async def test_remote_tool(runtime: Runtime) -> None:
    """A remote tool runs as a task in another process and reports from there while it runs."""
    reported, result = await called(runtime, far)
    assert not result.is_error, result.text
    assert reported[0] == "begun"
    assert reported[1]["pid"] != os.getpid()


async def test_remote_tool_that_ends_its_process(runtime: Runtime) -> None:
    """A task whose process dies is an error result; the turn goes on."""
    _, result = await called(runtime, falls)
    assert result.is_error
    assert result.text.startswith("falls failed: its task died: ")


async def test_process_tool(runtime: Runtime) -> None:
    """A process tool runs beside its session's actor, and one that crashes leaves the session as it was."""
    _, result = await called(runtime, apart)
    assert not result.is_error, result.text
    _, result = await called(runtime, crashes)
    assert result.text == "crashes failed: its process was ended by SIGABRT."
