"""One connection to an MCP server through the official SDK, from its start to its end.

Imported where a session has such a server, because the SDK is heavy.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TextIO

import anyio
import httpx2
import mcp
from anyio import CancelScope, fail_after, move_on_after
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
from mcp_types import CONNECTION_CLOSED
from pydantic import ValidationError

from llmgine.actors.sessions.tools.mcp.server import McpServer, Secrets, with_secrets
from llmgine.telemetry import traceparent

__all__ = ["CancelScope", "Link", "fail_after", "move_on_after"]

log = logging.getLogger(__name__)
# It logs what a server prints, and that may be a secret.
logging.getLogger("mcp.client.stdio").addFilter(lambda record: "Failed to parse" not in record.getMessage())

# What the SDK says where a server no longer knows its session, as after its restart.
_FORGOTTEN = "Session terminated"
# Pages of a server's list of tools, so that one which never ends does.
_PAGES = 100
# A server may hold a stream open between two messages.
_HTTP_TIMEOUT = httpx2.Timeout(30.0, read=300.0)


class Link:
    """A server that is connected: what it offers, and whether it still is there."""

    def __init__(self, server: McpServer, secrets: Secrets) -> None:
        self.tools: tuple[Any, ...] = ()
        self._ended = False
        self._server = server
        self._secrets = secrets
        self._client: Any = None
        self._stirred = asyncio.Event()
        self._changed = False
        self._rubbish = ""
        self._said: deque[str] = deque(maxlen=2)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Connected, with its tools read, inside the block; raises whatever stands in the way."""
        transport = self._http() if self._server.url else self._stdio()
        async with mcp.Client(transport, message_handler=self._heard, cache=None) as client:
            self._client = client
            await self._list()
            listening = asyncio.create_task(self._listen(), name=f"changes of {self._server.name}")
            try:
                yield
            finally:
                listening.cancel()

    async def stay(self, changed: Callable[[], None]) -> None:
        """Returns when the server has gone; `changed` is called after each change of its tools."""
        while not self._ended:
            await self._stirred.wait()
            self._stirred.clear()
            if self._changed:
                self._changed = False
                await self._list()
                changed()

    async def call(self, tool: str, arguments: dict[str, Any]) -> Any:
        """The server's `CallToolResult`."""
        try:
            below = traceparent()
            meta: Any = None if below is None else {"traceparent": below}
            return await self._client.call_tool(tool, arguments, meta=meta)
        except mcp.MCPError as error:
            if str(error) == _FORGOTTEN:
                self._end()
            raise

    def lost(self, error: Exception) -> bool:
        """Whether a call failed because the server has gone."""
        return self._ended or (isinstance(error, mcp.MCPError) and error.code == CONNECTION_CLOSED)

    def reason(self, error: BaseException | None) -> str:
        """Why it is not connected, in one line without secrets."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if error is None:
            told = "it has ended"
        elif isinstance(error, mcp.MCPError | OSError):
            told = str(error)
        else:
            told = f"{type(error).__name__}: {error}".rstrip(": ")
        if self._rubbish:
            told += f"; it printed what is not the protocol: {self._rubbish}"
        if self._said:
            told += f"; it said: {' | '.join(self._said)}"
        return self._secrets.masked(told)

    async def _list(self) -> None:
        tools: list[Any] = []
        cursor: str | None = None
        for _ in range(_PAGES):
            page = await self._client.list_tools(cursor=cursor)
            tools += page.tools
            cursor = page.next_cursor
            if cursor is None:
                break
        self.tools = tuple(tools)

    async def _listen(self) -> None:
        """Asks to be told of changes, where the protocol wants that; they come to `_heard` either way."""
        try:
            async with self._client.listen(tools_list_changed=True) as changes:
                self._note_change()  # there may have been one since they were read
                async for _ in changes:
                    pass
        except (ListenNotSupportedError, SubscriptionLost, mcp.MCPError, TimeoutError):
            return

    async def _heard(self, message: Any) -> None:
        if isinstance(message, Exception):
            self._rubbish = self._rubbish or _shown(message)
        elif getattr(message, "method", "") == "notifications/tools/list_changed":
            self._note_change()

    def _note_change(self) -> None:
        self._changed = True
        self._stirred.set()

    def _end(self) -> None:
        self._ended = True
        self._stirred.set()

    @asynccontextmanager
    async def _http(self) -> AsyncIterator[tuple[Any, Any]]:
        headers = with_secrets(self._server.headers, self._secrets.find)
        async with (
            httpx2.AsyncClient(headers=headers, timeout=_HTTP_TIMEOUT) as client,
            streamable_http_client(self._server.url, http_client=client) as (incoming, outgoing),
        ):
            yield _Watched(incoming, self._end), outgoing

    @asynccontextmanager
    async def _stdio(self) -> AsyncIterator[tuple[Any, Any]]:
        env = with_secrets(self._server.env, self._secrets.find)
        parameters = StdioServerParameters(
            command=self._server.command, args=list(self._server.args), env=env, cwd=self._server.cwd
        )
        with _overheard(self._say) as errors:
            async with stdio_client(parameters, errors) as (incoming, outgoing):
                errors.close()  # the process has its own now
                yield _Watched(incoming, self._end), outgoing

    def _say(self, line: str) -> None:
        line = self._secrets.masked(line)
        log.info("MCP server %s: %s", self._server.name, line)
        if line.strip():
            self._said.append(line.strip()[:300])


class _Watched:
    """A stream of incoming messages that tells when it has ended."""

    def __init__(self, stream: Any, ended: Callable[[], None]) -> None:
        self._stream = stream
        self._ended = ended

    async def receive(self) -> Any:
        try:
            return await self._stream.receive()
        except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            self._ended()
            raise

    def __aiter__(self) -> _Watched:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> _Watched:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> Any:
        return await self._stream.__aexit__(*error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _overheard(say: Callable[[str], None]) -> Iterator[TextIO]:
    """A file for a process to write its errors to; each line of it is said here."""
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    rest = b""

    def read() -> None:
        nonlocal rest
        try:
            data = os.read(reading, 65536)
        except BlockingIOError:
            return
        if not data:
            loop.remove_reader(reading)
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            say(line.decode(errors="replace").rstrip())
        rest = rest[-65536:]

    loop.add_reader(reading, read)
    try:
        with os.fdopen(writing, "w") as errors:
            yield errors
    finally:
        read()
        loop.remove_reader(reading)
        os.close(reading)


def _shown(message: Exception) -> str:
    given = message.errors()[0]["input"] if isinstance(message, ValidationError) else message
    return repr(given)[:200]
