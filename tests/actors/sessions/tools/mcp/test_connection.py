"""A connection to an MCP server over its life."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from llmgine.actors.sessions.tools.mcp.connection import McpConnection, Unavailable
from llmgine.actors.sessions.tools.mcp.content import as_parts
from llmgine.actors.sessions.tools.mcp.server import McpServer, with_secrets
from llmgine.actors.sessions.tools.secrets import Secrets
from tests.actors.sessions.tools.mcp import servers
from tests.actors.sessions.tools.mcp.loopback import Loopback


class Known:
    """Secrets of a test."""

    def find(self, name: str) -> str:
        return f"the-{name}"

    def masked(self, text: str) -> str:
        return text.replace("the-", "***")


def program(**fields: Any) -> McpServer:
    return McpServer.stdio(sys.executable, [servers.__file__], name="box", **fields)


@asynccontextmanager
async def connected(server: McpServer) -> AsyncIterator[McpConnection]:
    connection = McpConnection(server, Known(), lambda: None)
    connection.open()
    try:
        await connection.ready()
        yield connection
    finally:
        await connection.close()


async def text_of(connection: McpConnection, tool: str, **arguments: Any) -> str:
    (part,) = as_parts(await connection.call(tool, arguments))
    assert part.type == "text"
    return part.text


async def test_a_program_serves_its_tools_and_ends_with_the_connection() -> None:
    """Tools are listed when it is ready, calls are answered, and its process is gone after the close."""
    async with connected(program()) as connection:
        assert {"add", "draw"} <= {tool.name for tool in connection.tools}
        assert await text_of(connection, "add", a=1, b=2) == "3"
        process = int(await text_of(connection, "pid"))
        os.kill(process, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
    with pytest.raises(Unavailable, match="not active"):
        await connection.call("add", {"a": 1, "b": 2})


async def test_a_program_sees_secrets_and_little_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """References in env are looked up for the process alone; the rest of the environment stays here."""
    monkeypatch.setenv("PRIVATE", "here")
    server = program(env={"TOKEN": "secret:TOK", "PLAIN": "plain"})
    async with connected(server) as connection:
        assert await text_of(connection, "variable", name="TOKEN") == "the-TOK"
        assert await text_of(connection, "variable", name="PLAIN") == "plain"
        assert await text_of(connection, "variable", name="PRIVATE") == "(not set)"
    assert "TOK" not in repr(server)
    assert "plain" not in repr(server)


def test_references_stand_anywhere_in_a_value() -> None:
    """Each is looked up by any name that a secret may have; the rest of the value stays."""
    values = {"a": "Bearer secret:shop-key", "b": "secret:x_1/secret:y", "c": "a secret: none"}
    assert with_secrets(values, Known().find) == {
        "a": "Bearer the-shop-key",
        "b": "the-x_1/the-y",
        "c": "a secret: none",
    }


async def test_a_secret_that_is_missing_is_named() -> None:
    """The server is unavailable, and the reason says which secret was looked for."""
    connection = McpConnection(program(env={"TOKEN": "secret:NOWHERE"}), Secrets(), lambda: None)
    connection.open()
    await connection.ready()
    assert "no secret 'NOWHERE'" in connection.describe()["reason"]
    await connection.close()


async def test_a_program_that_dies_is_started_again() -> None:
    """The call in flight is told that the server was lost; the next one is answered by a new process."""
    async with connected(program()) as connection:
        before = await text_of(connection, "pid")
        with pytest.raises(Unavailable, match="lost during this call"):
            await connection.call("die", {})
        assert await text_of(connection, "pid") != before


SILENT = "import sys; sys.stdin.read()"
RUBBISH = "import os, sys; print('Welcome to the toolbox!'); sys.exit('started with ' + os.environ['TOKEN'])"
DYING = "import sys; sys.exit('no shelf to stand on')"


@pytest.mark.parametrize(
    ("script", "timeout", "reason"),
    [
        (SILENT, 0.5, "did not start within 0.5 seconds"),
        (RUBBISH, 60.0, "not the protocol: 'Welcome to the toolbox!'"),
        (DYING, 60.0, "no shelf to stand on"),
    ],
    ids=["silent", "rubbish", "dying"],
)
async def test_a_program_that_is_no_server_is_told_of(script: str, timeout: float, reason: str) -> None:
    """One that is silent, prints rubbish, or ends is unavailable, with the reason and without secrets."""
    environ = {"TOKEN": "secret:TOK"}
    server = McpServer.stdio(sys.executable, ["-c", script], name="box", env=environ, start_timeout=timeout)
    async with connected(server) as connection:
        assert connection.state == "away"
        with pytest.raises(Unavailable) as refused:
            await connection.call("add", {})
    assert reason in str(refused.value)
    assert "the-TOK" not in str(refused.value)


async def test_a_missing_program_is_told_of() -> None:
    """A command that is not there is named."""
    async with connected(McpServer.stdio("/no/such/program", name="box")) as connection:
        assert "/no/such/program" in connection.describe()["reason"]


async def test_a_new_tool_is_heard_of(eventually: Callable[..., Any]) -> None:
    """A server that says that its tools changed is asked for them again."""
    async with connected(program()) as connection:
        await connection.call("learn", {"name": "sing"})
        await eventually(lambda: "sing" in {tool.name for tool in connection.tools})
        assert await text_of(connection, "sing") == "sing"


async def test_calls_run_at_the_same_time_and_can_be_given_up() -> None:
    """A cancelled call leaves the connection and the calls beside it as they are."""
    async with connected(program()) as connection:
        slow = asyncio.create_task(connection.call("wait", {"seconds": 60}))
        assert await text_of(connection, "add", a=1, b=1) == "2"
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        assert await text_of(connection, "add", a=2, b=2) == "4"


async def test_a_server_at_a_url_gets_its_headers() -> None:
    """Over HTTP the tools are the same, and headers carry secrets that were referred to."""
    async with Loopback() as web:
        server = McpServer.http(web.url, name="web", headers={"Authorization": "Bearer secret:TOK"})
        async with connected(server) as connection:
            assert await text_of(connection, "add", a=1, b=2) == "3"
        assert web.authorizations == {"Bearer the-TOK"}
        assert "secret:" not in repr(server)


async def test_a_server_at_a_url_may_go_and_come_back() -> None:
    """While it is down calls are unavailable, and after its return they are answered."""
    async with Loopback() as web:
        server = McpServer.http(web.url, name="web", start_timeout=5.0)
        async with connected(server) as connection:
            assert await text_of(connection, "add", a=1, b=2) == "3"
            await web.stop()
            with pytest.raises(Unavailable):
                await connection.call("add", {"a": 1, "b": 2})
            await web.start()
            assert await answered_at_last(connection) == "3"


async def answered_at_last(connection: McpConnection) -> str:
    while True:
        try:
            return await text_of(connection, "add", a=1, b=2)
        except Unavailable:
            await asyncio.sleep(0)
