"""A session's connection to one MCP server, kept up for as long as the session is active."""

from __future__ import annotations

import asyncio
import importlib
import logging
import math
from collections.abc import Callable
from typing import Any, Literal

from llmgine.actors.sessions.tools.mcp.server import McpServer, Secrets

log = logging.getLogger(__name__)

State = Literal["starting", "ready", "away", "closed"]

# Loaded in a thread, once a session has such a server, because the SDK is heavy.
_LINKING = "llmgine.actors.sessions.tools.mcp.linking"

# Seconds before a server that was lost is tried again by itself; a call tries at once.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
# A server that ran for so long is not one that fails at each start.
_STEADY = 10.0
# How long its end may take: the protocol's own steps from closing its input to SIGKILL fit in.
_CLOSING = 8.0


class Unavailable(Exception):
    """The server cannot be reached; the text says why."""


class McpConnection:
    """Connects, lists tools, calls them, and connects again after the server was lost.

    `tools` are those it offers, or offered last; `changed` is called whenever they are others. All of it
    runs in one task, because what the SDK opens must be closed where it was opened.
    """

    def __init__(self, server: McpServer, secrets: Secrets, changed: Callable[[], None]) -> None:
        self.server = server
        self.state: State = "starting"
        self.reason = "it has not started yet"
        self.tools: tuple[Any, ...] = ()
        self._secrets = secrets
        self._changed = changed
        self._link: Any = None
        self._failures = 0
        self._wanted = asyncio.Event()
        self._attempted = asyncio.Event()
        self._scope: Any = None
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begins to connect; `ready` waits for what comes of it."""
        if self._task is None:
            self._task = asyncio.create_task(self._keep(), name=f"MCP server {self.server.name}")

    async def ready(self) -> None:
        """Waits for a start that is under way; not for one more try of a server that has failed before."""
        if self.state == "starting" and not self._failures:
            await self._attempted.wait()

    async def probe(self) -> Any:
        """The connection where it stands, else Unavailable.

        A server that was lost is started again and waited for; one that could not be started is tried
        again too, and the reason told at once.
        """
        if self.state == "away":
            self._wanted.set()
        await self._attempted.wait()
        if self.state != "ready" or self._link is None:
            raise Unavailable(self.reason)
        return self._link

    async def call(self, tool: str, arguments: dict[str, Any]) -> Any:
        """The server's result; Unavailable as in `probe`, or where it was lost meanwhile."""
        link = await self.probe()
        try:
            return await link.call(tool, arguments)
        except Exception as error:
            if not link.lost(error):
                raise
            self._away(link.reason(error))
            raise Unavailable(f"it was lost during this call ({link.reason(error)})") from None

    async def close(self) -> None:
        """Ends the connection, and the process that was started for it."""
        self.state, self.reason = "closed", "the session is not active"
        self._attempted.set()
        if self._task is None:
            return
        if self._scope is not None:
            self._scope.cancel()
        else:
            self._task.cancel()
        _, late = await asyncio.wait({self._task}, timeout=_CLOSING)
        if late:
            log.warning("MCP server %s did not end in time", self.server.name)
            self._task.cancel()

    def describe(self) -> dict[str, Any]:
        """The connection as it stands."""
        told = {"state": self.state, "tools": len(self.tools)}
        return told if self.state == "ready" else {**told, "reason": self.reason}

    async def _keep(self) -> None:
        try:
            linking: Any = await asyncio.to_thread(importlib.import_module, _LINKING)
        except ImportError as error:
            self._away(f"the MCP SDK is missing here ({error}); install llmgine-ray[mcp] on every node")
            self.state = "closed"
            self._attempted.set()
            return
        pause = _FIRST_PAUSE
        with linking.CancelScope() as self._scope:
            while self.state != "closed":
                ran = await self._once(linking.Link(self.server, self._secrets), linking.fail_after)
                self._failures = 0 if ran else self._failures + 1
                pause = _FIRST_PAUSE if ran >= _STEADY else min(pause * 2, _LONGEST_PAUSE)
                with linking.move_on_after(pause):
                    await self._wanted.wait()
                self._wanted.clear()
                self._attempted.clear()
                self.state = "starting"

    async def _once(self, link: Any, fail_after: Callable[[float], Any]) -> float:
        """One connection from its start to its end; returns how many seconds it stood."""
        clock = asyncio.get_running_loop().time
        since: float | None = None
        failure: BaseException | None = None
        try:
            with fail_after(self.server.start_timeout) as scope:
                async with link.open():
                    scope.deadline = math.inf
                    since = clock()
                    self._up(link)
                    await link.stay(lambda: self._offered(link))
        except TimeoutError:
            limit = f"{self.server.start_timeout:g} seconds (start_timeout)"
            failure = TimeoutError(f"it did not start within {limit}") if since is None else None
        except Exception as error:
            failure = error
        self._away(link.reason(failure))
        if since is None:
            self._attempted.set()
            return 0.0
        return clock() - since

    def _up(self, link: Any) -> None:
        self._link, self.state = link, "ready"
        self._offered(link)
        self._attempted.set()

    def _offered(self, link: Any) -> None:
        self.tools = link.tools
        self._changed()

    def _away(self, reason: str) -> None:
        if self.state != "away":
            log.warning("MCP server %s is away: %s", self.server.name, reason)
        self._link, self.state, self.reason = None, "away", reason
        self._attempted.clear()
        self._changed()
