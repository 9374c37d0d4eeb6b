"""What a tool may know and do besides its arguments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from llmgine.actors.bus import Command, CommandResult, Event, Receipt
from llmgine.actors.control import NotSupported
from llmgine.actors.sessions.tools.secrets import Secrets
from llmgine.telemetry import OpenSpan, TraceContext, span

if TYPE_CHECKING:
    from llmgine.actors.sessions.tools.subsession import SubSession, SubSessions
    from llmgine.actors.sessions.turns.events import Reply

R = TypeVar("R")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Chain:
    """What a call hands on to a session that it asks.

    `waiting` are the sessions that wait for the turn already, `remaining` the seconds that it has left.
    `moved` says that the turn goes on in another process, which wants what was asked.
    """

    trace: TraceContext | None = None
    waiting: tuple[str, ...] = ()
    remaining: float | None = None
    moved: Callable[[], bool] = lambda: False


@dataclass(frozen=True, slots=True)
class Call:
    """One attempt of a tool call, and whose it is; attempts count from 1."""

    session_id: str = ""
    turn_id: str = ""
    call_id: str = ""
    attempt: int = 1
    chain: Chain = Chain()

    @property
    def key(self) -> str:
        """The same for every attempt of one call, also after a crash; unique to the call."""
        return f"{self.turn_id}:{self.call_id}"


class ToolBus(Protocol):
    """The bus in the scope of the tool's session."""

    async def publish(self, event: Event, wait: bool = False) -> Receipt: ...

    async def execute(
        self, command: Command[R], *, durable: bool = False, deadline: float | None = None
    ) -> CommandResult[R]: ...


class ToolContext:
    """Given to a parameter that is annotated `ToolContext`, which the model never sees.

    Made without arguments it serves a test that calls the tool's function itself.
    """

    def __init__(
        self,
        call: Call | None = None,
        *,
        report: Callable[[Any], None] | None = None,
        bus: ToolBus | None = None,
        secrets: Secrets | None = None,
        sessions: SubSessions | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._call = Call() if call is None else call
        self._report = report
        self._bus = bus
        self._secrets = Secrets() if secrets is None else secrets
        self._sessions = sessions
        self._loop = loop

    @property
    def session_id(self) -> str:
        return self._call.session_id

    @property
    def turn_id(self) -> str:
        return self._call.turn_id

    @property
    def call_id(self) -> str:
        return self._call.call_id

    @property
    def attempt(self) -> int:
        """1, and one more for each retry within the same process."""
        return self._call.attempt

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of one call, also after a crash; unique to the call."""
        return self._call.key

    def progress(self, data: Any) -> None:
        """Tells whoever follows the turn how far the call is; JSON values, models and dataclasses."""
        if self._report is not None:
            self._report(data)

    def secret(self, name: str) -> str:
        """A secret of the node on which the tool runs; `MissingSecret` names the places looked at.

        Where the value turns up in what the tool returns, reports, raises or writes of its spans, its name
        stands instead.
        """
        return self._secrets.find(name)

    def span(
        self, name: str, attributes: Mapping[str, Any] | None = None, /, **named: Any
    ) -> AbstractContextManager[OpenSpan]:
        """A span of the tool's own, below that of its call: `with context.span("look it up"): ...`.

        What is written of it: the attributes, `event` and `set` of what the block is given, and how it ends.
        """
        return span(name, attributes, **named)

    async def publish(self, event: Event, wait: bool = False) -> Receipt:
        """As `session.publish`: in the scope of the tool's session."""
        return await self._on_bus().publish(event, wait)

    async def execute(
        self, command: Command[R], *, durable: bool = False, deadline: float | None = None
    ) -> CommandResult[R]:
        """As `session.execute`: the result says what came of it, and is never raised."""
        return await self._on_bus().execute(command, durable=durable, deadline=deadline)

    async def ask(self, sub: SubSession, prompt: str) -> Reply:
        """The reply of another session, in this turn's time and trace; raises what its turn failed with.

        A prompt that one attempt of a call asks twice is asked once, also after a crash.
        """
        if self._sessions is None:
            raise NotSupported(
                "no session can be asked where this tool runs; a tool that asks one runs in its session's "
                "process: leave process=True and remote=True out"
            )
        return await self._sessions.ask(sub, prompt, self._call)

    def wait(self, work: Coroutine[Any, Any, V]) -> V:
        """For sync tools: what `publish` or `execute` comes to, waited for in the tool's own thread."""
        if self._loop is None:
            return asyncio.run(work)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _on_bus(self) -> ToolBus:
        if self._bus is None:
            raise NotSupported(
                "there is no bus where this tool runs; a tool that publishes or executes runs in its "
                "session's process: leave process=True and remote=True out"
            )
        return self._bus


@dataclass(frozen=True, slots=True)
class Result(Generic[V]):
    """Yielded by a generator: its result, after which it is not asked for more."""

    value: V
