"""Tools of MCP servers in sessions."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from llmgine.runtime import McpServer, Runtime, SessionConflict, ToolDefinitionError, tool
from tests.actors.sessions.tools.mcp import servers

CLOCK = McpServer.stdio(sys.executable, ["-m", "mcp_server_time", "--local-timezone", "UTC"], name="clock")


def box() -> McpServer:
    return McpServer.stdio(sys.executable, [servers.__file__], name="box")


def absent(**fields: Any) -> McpServer:
    return McpServer.stdio("/no/such/program", name="box", **fields)


def script(*calls: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """A model that makes these calls, one a step, and then says so."""
    replies: list[dict[str, Any]] = [{"tool_calls": [{"name": n, "arguments": a}]} for n, a in calls]
    return {"replies": [*replies, {"text": "done"}]}


async def results_of(*calls: tuple[str, dict[str, Any]], tools: list[Any]) -> list[Any]:
    """What each of the calls came to, in a session of its own."""
    settings = {"providers": {"scripts": {"caller": script(*calls)}}}
    async with (
        Runtime.in_process(settings) as runtime,
        runtime.session(model="scripted/caller", tools=tools) as session,
    ):
        reply = await session.ask("Go on.")
        assert reply.text == "done"
        return [
            part for message in await session.history() if message.role == "tool" for part in message.parts
        ]


async def test_a_published_server_is_a_source_of_tools(clean_environ: Path) -> None:
    """A session calls a tool of an MCP server that others publish, and has its answer."""
    call = (
        "clock_convert_time",
        {"source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo"},
    )
    (result,) = await results_of(call, tools=[CLOCK])
    assert not result.is_error
    assert json.loads(result.text)["time_difference"] == "+9.0h"


async def test_schemas_reach_the_model_as_they_are(clean_environ: Path) -> None:
    """The scripted model fills the arguments that the server's own schema asks for."""
    async with (
        Runtime.in_process() as runtime,
        runtime.session(model="scripted/tool", tools=[CLOCK]) as session,
    ):
        reply = await session.ask("What time is it?")
        assert (await session.describe())["tools"] == ["clock_get_current_time", "clock_convert_time"]
    (called,) = reply.tool_calls
    assert called.name == "clock_get_current_time"
    assert list(called.arguments or {}) == ["timezone"]


async def test_results_and_errors_come_as_the_server_gives_them(clean_environ: Path) -> None:
    """A picture is a picture; a failure, wrong arguments and an unknown tool are errors in words."""
    drawn, failed, wrong, unknown = await results_of(
        ("box_draw", {}), ("box_fail", {}), ("box_add", {"a": "x"}), ("box_sing", {}), tools=[box()]
    )
    assert (drawn.content[0].type, drawn.content[0].data) == ("image", servers.PIXEL)
    assert [part.is_error for part in (drawn, failed, wrong, unknown)] == [False, True, True, True]
    assert "the shelf is empty" in failed.text
    assert "valid integer" in wrong.text
    assert "no tool named 'box_sing'" in unknown.text


async def test_a_turn_goes_on_when_the_server_dies(clean_environ: Path) -> None:
    """The call in flight comes to an error that says so, and the next is answered by a new process."""
    died, added = await results_of(("box_die", {}), ("box_add", {"a": 1, "b": 2}), tools=[box()])
    assert died.is_error
    assert "tools of 'box' are unavailable: it was lost during this call" in died.text
    assert (added.is_error, added.text) == (False, "3")


async def test_a_server_that_does_not_start_is_told_to_the_model(clean_environ: Path) -> None:
    """The session opens all the same; a tool stands in for the server's own, and a call says why."""
    (result,) = await results_of(("box_unavailable", {}), tools=[absent()])
    assert result.is_error
    assert "/no/such/program" in result.text


async def test_own_tools_keep_their_names(clean_environ: Path) -> None:
    """A tool of a server whose name is taken by one of the session's is left out."""

    @tool(name="box_add")
    def own(a: int, b: int) -> str:
        """Adds in a way of its own."""
        return "own"

    (result,) = await results_of(("box_add", {"a": 1, "b": 2}), tools=[own, box()])
    assert result.text == "own"


async def test_the_process_ends_with_the_session(clean_environ: Path, eventually: Callable[..., Any]) -> None:
    """A closed session leaves no process of its servers behind."""
    settings = {"providers": {"scripts": {"caller": script(("box_pid", {}))}}}
    async with Runtime.in_process(settings) as runtime:
        async with runtime.session(model="scripted/caller", tools=[box()]) as session:
            reply = await session.ask("Go on.")
            (called,) = reply.tool_calls
            assert called.result is not None
            process = int(called.result.text)
            os.kill(process, 0)
            assert (await session.describe())["mcp"]["box"]["state"] == "ready"
        await eventually(lambda: gone(process))


def gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: McpServer.stdio("x", name="1box"), "name is a letter"),
        (lambda: McpServer.stdio("x", "a b", name="box"), "list of words"),
        (lambda: McpServer.http("ftp://box", name="box"), "http"),
        (
            lambda: McpServer.stdio("x", name="box", env=cast("Any", {"A": 1})),
            "env= has 'A' as int; give a text",
        ),
        (
            lambda: McpServer.http("http://x", name="box", headers=cast("Any", ["A"])),
            "headers= is texts by their names",
        ),
        (lambda: McpServer.stdio("x", name="box", timeout=-1), "timeout is -1"),
        (lambda: McpServer.stdio("x", name="box", start_timeout=0), "start_timeout is 0"),
    ],
)
def test_a_bad_declaration_is_refused_where_it_is_written(make: Callable[[], Any], reason: str) -> None:
    """What cannot work is refused at once, with the reason."""
    with pytest.raises(ToolDefinitionError) as refused:
        make()
    assert reason in str(refused.value)


async def test_two_servers_of_one_name_are_refused(clean_environ: Path) -> None:
    """Their tools could not be told apart."""
    async with Runtime.in_process() as runtime:
        with pytest.raises(ToolDefinitionError, match="two MCP servers"):
            runtime.session(model="scripted/echo", tools=[absent(), absent()])


async def test_sessions_with_other_servers_are_others(clean_environ: Path) -> None:
    """A second handle with the same server attaches; one with another does not."""
    async with Runtime.in_process() as runtime, runtime.session("s", model="scripted/echo", tools=[absent()]):
        async with asyncio.timeout(30), runtime.session("s", model="scripted/echo", tools=[absent()]):
            pass
        other = runtime.session("s", model="scripted/echo", tools=[absent(env={"A": "b"})])
        with pytest.raises(SessionConflict):
            await other.open()
