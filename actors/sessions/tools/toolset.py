"""A session's tools at work: every call comes to a result that the model can read."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

from llmgine.actors.bus.pacing import full_jitter
from llmgine.actors.control import Tasks
from llmgine.actors.sessions.options import SessionOptions
from llmgine.actors.sessions.tools.away import Order, followed
from llmgine.actors.sessions.tools.context import Call, Chain, ToolBus, ToolContext
from llmgine.actors.sessions.tools.driving import Progress, Report, unheard
from llmgine.actors.sessions.tools.failing import CallFailed, cut, raised, told
from llmgine.actors.sessions.tools.here import Here
from llmgine.actors.sessions.tools.mcp.server import McpServer
from llmgine.actors.sessions.tools.mcp.source import McpTools
from llmgine.actors.sessions.tools.process.workshop import Workshop
from llmgine.actors.sessions.tools.remote import RemoteTools
from llmgine.actors.sessions.tools.results import Content, as_content, masked
from llmgine.actors.sessions.tools.secrets import Secrets
from llmgine.actors.sessions.tools.subsession import SubSessions
from llmgine.actors.sessions.tools.tool import Tool, as_tools
from llmgine.providers.contracts import TextPart, ToolCallPart, ToolResultPart, ToolSpec
from llmgine.telemetry import traceparent
from llmgine.telemetry.current import masking

# The longest waits before a call is made again, in seconds: the first one, and any.
_BACKOFF = (0.2, 5.0)
_ALONE = Chain()


@dataclass(frozen=True, slots=True)
class ToolPorts:
    """What a session's tools reach beyond it; what is not given, they do without."""

    session_id: str = ""
    bus: ToolBus | None = None
    sessions: SubSessions | None = None
    tasks: Tasks | None = None


class Toolset:
    """The tools of one session; `run` never raises but when it is cancelled."""

    def __init__(
        self,
        tools: Iterable[Tool[..., Any] | Callable[..., Any]],
        options: SessionOptions,
        ports: ToolPorts | None = None,
        *,
        servers: Iterable[McpServer] = (),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._own = {tool.name: tool for tool in as_tools(tools)}
        self.tools = dict(self._own)
        self.mcp = McpTools(servers, Secrets(options.secrets_folder), self._other_tools)
        self._options = options
        self._ports = ToolPorts() if ports is None else ports
        self._sleep = sleep
        self._here = Here()
        self._workshop = Workshop(tool for tool in self._own.values() if tool.process)
        tasks = self._ports.tasks
        remote = [tool for tool in self._own.values() if tool.remote]
        self._remote = None if tasks is None else RemoteTools(remote, tasks)
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._make_slots()

    def open(self) -> None:
        """Begins to connect to the MCP servers; `ready` waits for them."""
        self.mcp.open()

    async def ready(self) -> tuple[ToolSpec, ...]:
        """The tools as a turn that begins now sees them, those of servers that are starting included."""
        await self.mcp.ready()
        return self.specs

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools as models see them, in the order given."""
        return tuple(tool.spec for tool in self.tools.values())

    @property
    def abandoned(self) -> int:
        """Threads that were left behind and still run."""
        return self._here.abandoned

    @property
    def healthy(self) -> bool:
        """Whether the process may go on: so few threads were left behind."""
        return self.abandoned < self._options.abandoned_threads

    def spec(self, name: str) -> ToolSpec | None:
        """The tool as models see it; None where there is none of that name."""
        tool = self.tools.get(name)
        return None if tool is None else tool.spec

    def is_idempotent(self, name: str) -> bool:
        """Whether a call may run twice; an unknown tool has no effect, so it may."""
        tool = self.tools.get(name)
        return tool is None or tool.idempotent

    async def close(self) -> None:
        """Ends what runs in processes of its own, MCP servers included."""
        self._workshop.close()
        await self.mcp.close()

    def _other_tools(self) -> None:
        self.tools = {**self._own, **self.mcp.tools(self._own)}
        self._make_slots()

    def _make_slots(self) -> None:
        for tool in self.tools.values():
            if tool.concurrency is not None:
                self._slots.setdefault(tool.name, asyncio.Semaphore(tool.concurrency))

    async def run(
        self, call: ToolCallPart, turn_id: str = "", report: Report = unheard, chain: Chain = _ALONE
    ) -> ToolResultPart:
        """The call's result; whatever goes wrong is a result with `is_error` that says what.

        Until it is there, `report` is told how far the tool says that it is.
        """
        secrets = Secrets(self._options.secrets_folder)
        progress = Progress(report, self._options.tool_progress_bytes, secrets.masked)
        made = Call(self._ports.session_id, turn_id, call.id, chain=chain)
        try:
            with masking(secrets.masked):
                content, failed = await self._content(call, made, progress, secrets), False
        except CallFailed as error:
            content, failed = (TextPart(text=str(error)),), True
        except Exception as error:  # no room for a thread, or a value whose own code fails when it is written
            content, failed = (TextPart(text=str(raised(call.name, error))),), True
        finally:
            progress.close()
        return ToolResultPart(
            call_id=call.id, name=call.name, content=masked(content, secrets.masked), is_error=failed
        )

    async def _content(self, call: ToolCallPart, made: Call, report: Report, secrets: Secrets) -> Content:
        tool = self.tools.get(call.name)
        if tool is None:
            known = ", ".join(self.tools) or "none"
            raise CallFailed(f"There is no tool named {cut(repr(call.name))}. Tools: {known}.")
        arguments = _validated(tool, call)
        async with self._slots.get(call.name) or nullcontext():
            while True:
                try:
                    elsewhere = self._elsewhere(tool)
                    if elsewhere is not None:
                        order = self._order(tool, call.arguments or {}, made)
                        return await self._followed(tool, elsewhere(order), report)
                    return await self._called(tool, arguments, made, report, secrets)
                except CallFailed as failed:
                    if not failed.again or made.attempt > tool.retries:
                        raise _after(made.attempt, failed) from None
                await self._sleep(full_jitter(*_BACKOFF, made.attempt, random.random))
                made = replace(made, attempt=made.attempt + 1)

    async def _called(
        self, tool: Tool[..., Any], arguments: dict[str, Any], made: Call, report: Report, secrets: Secrets
    ) -> Content:
        """One attempt in this process."""
        if tool.context_parameter is not None:
            context = ToolContext(
                made,
                report=report,
                bus=self._ports.bus,
                secrets=secrets,
                sessions=self._ports.sessions,
                loop=asyncio.get_running_loop(),
            )
            arguments = {**arguments, tool.context_parameter: context}
        value = await self._here.run(tool, arguments, report, self._timeout(tool))
        return as_content(tool.name, value, self._options.tool_result_bytes)

    async def _followed(self, tool: Tool[..., Any], frames: AsyncGenerator[bytes], report: Report) -> Content:
        """One attempt in another process, which says these frames."""
        patience = self._options.tool_start
        return await followed(frames, tool, report, timeout=self._timeout(tool), patience=patience)

    def _elsewhere(self, tool: Tool[..., Any]) -> Callable[[Order], AsyncGenerator[bytes]] | None:
        """Where the tool runs; None for this process, where remote ones run too if it is the only one."""
        if tool.process:
            return self._workshop.frames
        return self._remote.frames if tool.remote and self._remote is not None else None

    def _order(self, tool: Tool[..., Any], arguments: dict[str, Any], made: Call) -> Order:
        options = self._options
        return Order(
            tool=tool.name,
            arguments=arguments,
            call=made,
            result_bytes=options.tool_result_bytes,
            progress_bytes=options.tool_progress_bytes,
            memory=tool.memory or options.process_memory,
            secrets_folder=None if options.secrets_folder is None else str(options.secrets_folder),
            trace=traceparent(),
        )

    def _timeout(self, tool: Tool[..., Any]) -> float:
        return tool.timeout or self._options.tool_timeout


def _validated(tool: Tool[..., Any], call: ToolCallPart) -> dict[str, Any]:
    if call.arguments is None:
        given = cut(call.raw_arguments)
        raise CallFailed(f"The arguments of {call.name} must be one JSON object, not: {given}")
    try:
        return tool.validate(call.arguments)
    except ValueError as error:
        raise CallFailed(f"The arguments of {call.name} are wrong: {cut(str(error))}") from None
    except Exception as error:  # a validator of the user's own
        raise CallFailed(f"The arguments of {call.name} are wrong: {told(error)}") from None


def _after(attempts: int, failed: CallFailed) -> CallFailed:
    return failed if attempts == 1 else CallFailed(f"{failed} ({attempts} attempts)")
