"""The tools of a session's MCP servers, as they are at this moment."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from llmgine.actors.sessions.errors import ToolError
from llmgine.actors.sessions.tools.failing import CallFailed
from llmgine.actors.sessions.tools.mcp.connection import McpConnection, Unavailable
from llmgine.actors.sessions.tools.mcp.content import as_parts, as_text
from llmgine.actors.sessions.tools.mcp.names import distinct, namespaced
from llmgine.actors.sessions.tools.mcp.server import McpOptions, McpServer, Secrets
from llmgine.actors.sessions.tools.tool import Tool

log = logging.getLogger(__name__)


class McpTools:
    """Connects to each server from `open` to `close`; `changed` is called when there are other tools.

    A server that was lost keeps its tools, whose calls say why they cannot run. One that never came up
    has a single tool in their place, which tells the model the same.
    """

    def __init__(self, servers: Iterable[McpServer], secrets: Secrets, changed: Callable[[], None]) -> None:
        self._connections = [McpConnection(server, secrets, changed) for server in servers]
        self._told: set[tuple[str, str]] = set()

    def open(self) -> None:
        """Begins to connect; nobody waits for it before `ready`."""
        for connection in self._connections:
            connection.open()

    async def ready(self) -> None:
        """Waits for servers that are starting, each for its `start_timeout` at most."""
        for connection in self._connections:
            await connection.ready()

    async def close(self) -> None:
        """Ends the connections, and the processes that were started for them."""
        await asyncio.gather(*(connection.close() for connection in self._connections))

    def describe(self) -> dict[str, Any]:
        """Each server's connection as it stands, by the server's name."""
        return {connection.server.name: connection.describe() for connection in self._connections}

    def tools(self, taken: Mapping[str, Any]) -> dict[str, Tool[..., Any]]:
        """All tools there are now by their names; those whose name is taken are left out, which is logged."""
        found: dict[str, Tool[..., Any]] = {}
        for connection in self._connections:
            listed = {item.name: item for item in connection.tools}
            names, refused = distinct(connection.server.name, listed, {*taken, *found})
            for tool in refused:
                self._leave_out(connection, tool, "its name here is taken")
            for name, own in names.items():
                try:
                    found[name] = _tool(connection, name, listed[own])
                except ValidationError as error:
                    self._leave_out(connection, own, error.errors()[0]["msg"])
            if not listed and connection.state == "away":
                stand_in = _stand_in(connection)
                found.setdefault(stand_in.name, stand_in)
        return found

    def _leave_out(self, connection: McpConnection, tool: str, reason: str) -> None:
        if (connection.server.name, tool) not in self._told:
            self._told.add((connection.server.name, tool))
            log.warning("tool %r of MCP server %s is left out: %s", tool, connection.server.name, reason)


def _tool(connection: McpConnection, name: str, listed: Any) -> Tool[..., Any]:
    async def call(arguments: dict[str, Any], context: Any) -> Any:
        return await _answer(connection, listed.name, arguments)

    hints = listed.annotations
    repeatable = hints is not None and bool(hints.read_only_hint or hints.idempotent_hint)
    options: McpOptions = {"idempotent": repeatable, **connection.server.options}
    return Tool.from_schema(
        call,
        name=name,
        description=listed.description or listed.title or "",
        parameters={"type": "object", "properties": {}, **listed.input_schema},
        **options,
    )


def _stand_in(connection: McpConnection) -> Tool[..., Any]:
    server = connection.server.name

    async def call(arguments: dict[str, Any], context: Any) -> Any:
        return await _answer(connection, "", {})

    return Tool.from_schema(
        call,
        name=namespaced(server, "unavailable"),
        description=f"Stands for the tools of {server!r}, which are unavailable; a call says why.",
        parameters={"type": "object", "properties": {}},
        idempotent=True,
    )


async def _answer(connection: McpConnection, tool: str, arguments: dict[str, Any]) -> Any:
    server = connection.server.name
    try:
        if not tool:
            await connection.probe()
            return f"The tools of {server!r} are available again from the next turn on."
        result = await connection.call(tool, arguments)
    except Unavailable as error:
        raise CallFailed(f"The tools of {server!r} are unavailable: {error}", again=True) from None
    if result.is_error:
        raise ToolError(as_text(result))
    return as_parts(result)
