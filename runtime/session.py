"""A session as a driver holds it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractContextManager, aclosing
from types import TracebackType
from typing import Any, Self, Unpack

from llmgine.actors.bus import (
    Command,
    CommandOptions,
    CommandResult,
    Event,
    EventOptions,
    Receipt,
    Subscription,
)
from llmgine.actors.control import RuntimeNotFound, RuntimeStopping
from llmgine.actors.sessions import (
    Engine,
    Found,
    Limits,
    McpServer,
    Reply,
    SessionClient,
    SessionClosed,
    Tool,
    ToolChatEngine,
    TurnClient,
    TurnDone,
    TurnEvent,
    TurnFailed,
    WhenBusy,
    Window,
)
from llmgine.actors.sessions.context.store import PINNED
from llmgine.actors.sessions.hosting.code import SessionCode, fingerprint
from llmgine.actors.sessions.hosting.handlers import as_handlers
from llmgine.actors.sessions.options import RecoveryPolicy
from llmgine.actors.sessions.tools.policy import ByApproval, ToolPolicy
from llmgine.providers import Fallback, LlmgineError, Message, ModelChain
from llmgine.providers.contracts import Priority
from llmgine.providers.names import full_chain, resolve
from llmgine.runtime.checks import (
    C,
    E,
    Handler,
    R,
    checked_deadline,
    checked_id,
    checked_kind,
    checked_number,
    checked_one_of,
    checked_prompt,
    checked_several,
)
from llmgine.runtime.driver import Driver
from llmgine.runtime.placing import Placement, placed
from llmgine.runtime.schedules import ScheduledEvent, ScheduleOptions
from llmgine.runtime.scoped_bus import ScopedBus
from llmgine.runtime.spans import asked
from llmgine.telemetry import OpenSpan, TraceContext, error_type, names

# What a wrong value is answered with.
_LIMITS = "Limits(steps=4)"

logger = logging.getLogger(__name__)


class Session:
    """One conversation, durable in the store; used as `async with runtime.session(…) as session`.

    Leaving the block detaches this handle and removes the handlers that were registered through it.
    The session ends when the last handle is off, unless it was opened with `stay=True`.
    """

    def __init__(
        self,
        driver: Driver,
        session_id: str | None,
        *,
        model: ModelChain,
        system: str | None,
        tools: Sequence[Tool[..., Any] | Callable[..., Any] | McpServer],
        engine: Engine | None,
        policy: ToolPolicy | None,
        handlers: Sequence[Callable[..., Any]],
        stay: bool,
        placement: Placement | None,
        trusted: bool,
        window: Window | None,
        limits: Limits | None,
        when_busy: WhenBusy | None,
        recovery: RecoveryPolicy | None,
        priority: Priority | None,
        response_cache: bool | None,
    ) -> None:
        self.id = checked_id(f"s-{uuid.uuid4().hex[:12]}" if session_id is None else session_id)
        self.model, self._fallbacks = full_chain(model, driver.settings.providers)
        self._bus = ScopedBus(driver.bus, driver.schedules, self.id)
        self._driver = driver
        self._system = checked_kind("system", system, str, "a text")
        # What is no tool is refused here, where it was written.
        code = SessionCode(
            checked_several("tools", tools),
            engine or ToolChatEngine(),
            policy=policy or ByApproval(),
            handlers=as_handlers(checked_several("handlers", handlers)),
        )
        self._code = code if tools or engine or policy or handlers else None
        self._stay = checked_kind("stay", stay, bool, "True or False")
        checked_kind("window", window, Window, "Window.messages(40)")
        checked_kind("limits", limits, Limits, _LIMITS)
        if window is not None and window.model is not None:
            writer = str(resolve(window.model, driver.settings.providers))
            window = window.model_copy(update={"model": writer})
        options = {
            "priority": checked_one_of("priority", priority, Priority),
            "response_cache": checked_kind("response_cache", response_cache, bool, "True or False"),
        }
        self._ways: dict[str, Any] = {
            "window": window and window.model_dump(mode="json"),
            "limits": limits and limits.model_dump(mode="json"),
            "when_busy": checked_one_of("when_busy", when_busy, WhenBusy),
            "recovery": checked_one_of("recovery", recovery, RecoveryPolicy),
            "options": {name: value for name, value in options.items() if value is not None},
        }
        checked_kind("trusted", trusted, bool, "True or False")
        placement = checked_one_of("placement", placement, Placement)
        self._placement = placed(placement, driver.settings.sessions.placement, self._code, trusted)
        self._handle = uuid.uuid4().hex
        self._client: SessionClient | None = None

    async def open(self) -> Self:
        """Attaches to the session, which is started where it is not open yet."""
        code = None if self._code is None else await self._driver.pack(self._code)
        spec = {
            "session_id": self.id,
            "model": self.model,
            "system": self._system,
            "stay": self._stay,
            "fingerprint": self._fingerprint(),
            "placement": self._placement,
            "runs": "" if self._code is None else fingerprint(self._code),
            "tools": [tool.spec.model_dump(mode="json") for tool in self._tools()],
            **self._ways,
            "options": {**self._ways["options"], **_behind(self._fallbacks)},
        }
        driver = self._driver
        driver.attached.add((self.id, self._handle))
        opening = asyncio.ensure_future(
            driver.control.call("open_session", driver.id, self._handle, spec, code)
        )
        try:
            where = await asyncio.shield(opening)
        except BaseException:
            driver.attached.discard((self.id, self._handle))
            if not opening.done():
                driver.undo(self._give_up(opening))
            raise
        self._client = SessionClient(self.id, driver.link(self.id, where["actor"]))
        return self

    async def leave(self, error: str | None = None) -> None:
        """Detaches this handle and removes its handlers; what it was left with is told to the end event."""
        if self._client is None:
            return
        self._client = None
        self._driver.attached.discard((self.id, self._handle))
        try:
            await self._driver.control.call("detach_session", self.id, self._handle, error)
        except (RuntimeNotFound, RuntimeStopping) as gone:
            logger.info("session %s ended with its runtime: %s", self.id, gone)
        finally:
            await self._bus.remove_all()

    async def close(self) -> None:
        """Ends the session, whoever else is attached; returns when it has ended."""
        await self._driver.control.call("close_session", self.id)

    async def ask(
        self,
        prompt: str | Message,
        *,
        output: Any = None,
        model: ModelChain | None = None,
        deadline: float | None = None,
        limits: Limits | None = None,
        when_busy: WhenBusy | None = None,
        recovery: RecoveryPolicy | None = None,
        trace: TraceContext | str | None = None,
        **options: Any,
    ) -> Reply:
        """Runs a turn and returns its reply; raises what the turn failed with.

        `model` answers this turn only; `output`, a pydantic model or another type, asks for an answer
        of that shape; `deadline` is in seconds. `limits`, `when_busy` and `recovery` go over the
        session's. Further options go to the engine, as `tool_choice`, `priority` and `response_cache`.
        `trace` is the span that the turn stands below, or a `traceparent`; by default the current span.
        WouldDeadlock where a turn of this session waits for the code that asks.
        """
        with self._spanned("ask", trace) as span:
            reply = await self._asked().ask(
                checked_prompt(prompt),
                output=output,
                trace=span.context,
                **_bounds(deadline, limits, when_busy, recovery),
                **self._asks(model, options),
            )
            span.set({names.LLMGINE_TURN_ID: reply.turn_id})
            return reply

    async def stream(
        self,
        prompt: str | Message,
        *,
        output: Any = None,
        model: ModelChain | None = None,
        deadline: float | None = None,
        limits: Limits | None = None,
        when_busy: WhenBusy | None = None,
        recovery: RecoveryPolicy | None = None,
        trace: TraceContext | str | None = None,
        **options: Any,
    ) -> AsyncGenerator[TurnEvent]:
        """The turn's events as they come; the last is `done` or `error`. Leaving it early cancels nothing."""
        with self._spanned("stream", trace) as span:
            events = self._asked().stream(
                checked_prompt(prompt),
                output=output,
                trace=span.context,
                **_bounds(deadline, limits, when_busy, recovery),
                **self._asks(model, options),
            )
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, TurnFailed):
                        span.end(error=error_type(event.error), message=str(event.error))
                    elif isinstance(event, TurnDone):
                        span.set({names.LLMGINE_TURN_ID: event.reply.turn_id})
                        span.end()
                    yield event

    async def submit(
        self,
        prompt: str | Message,
        *,
        key: str | None = None,
        output: Any = None,
        model: ModelChain | None = None,
        deadline: float | None = None,
        limits: Limits | None = None,
        when_busy: WhenBusy | None = None,
        recovery: RecoveryPolicy | None = None,
        trace: TraceContext | str | None = None,
        **options: Any,
    ) -> TurnClient:
        """The turn's handle as soon as the session has taken it on, which no crash takes back.

        The turn of a `key` is taken on once: submitted again, this is the handle of the first one.
        """
        with self._spanned("submit", trace) as span:
            turn = await self._asked().submit(
                checked_prompt(prompt),
                key=key,
                output=output,
                trace=span.context,
                **_bounds(deadline, limits, when_busy, recovery),
                **self._asks(model, options),
            )
            span.set({names.LLMGINE_TURN_ID: turn.id})
            return turn

    async def steer(self, message: str | Message) -> bool:
        """Says something to the turn that runs, which reads it before its next model call and its end.

        Kept when it returns True. False where no turn runs: then nothing was said.
        """
        return await self._asked().steer(checked_prompt(message))

    async def history(self) -> tuple[Message, ...]:
        """The conversation as it stands, oldest message first; that of a running turn is a part of it."""
        return await self._asked().history()

    async def search(self, query: str, *, limit: int = 20) -> tuple[Found, ...]:
        """The newest messages that hold every word of the query, whatever its case; newest first."""
        return await self._asked().search(
            checked_kind("query", query, str, "words to look for"), checked_number("limit", limit, 1)
        )

    async def note(self, message: int, key: str, value: Any) -> None:
        """Notes a JSON value at a message, by its number in the history from 0; None takes it away.

        It is kept when this returns. ContextError where there is no such message.
        """
        checked_kind("key", key, str, "a text")
        await self._asked().note(checked_number("message", message, 0), key, value)

    async def notes(self) -> dict[int, dict[str, Any]]:
        """What was noted, by the message's number and the note's key."""
        return await self._asked().notes()

    async def pin(self, message: int) -> None:
        """Keeps a message, by its number in the history, in view of the models; ContextError for none."""
        await self._asked().note(checked_number("message", message, 0), PINNED, True)

    async def unpin(self, message: int) -> None:
        """Lets the window leave a message out again."""
        await self._asked().note(checked_number("message", message, 0), PINNED, None)

    async def describe(self) -> dict[str, Any]:
        """How it stands, as plain values: model, tools, MCP servers, messages, the turn that runs, damage.

        `running` is that turn's id, `waiting` how many come after it, `approvals` what calls wait for.
        """
        return await self._asked().describe()

    async def register_event_handler(
        self, event: type[E], handler: Handler, **options: Unpack[EventOptions]
    ) -> Subscription:
        """As `runtime.bus.register_event_handler`, for this session's events, until the block is left."""
        return await self._bus.register_event_handler(event, handler, **options)

    async def register_command_handler(
        self, command: type[C], handler: Handler, **options: Unpack[CommandOptions]
    ) -> Subscription:
        """As `runtime.bus.register_command_handler`, for this session, until the block is left."""
        return await self._bus.register_command_handler(command, handler, **options)

    async def publish(self, event: Event, *, wait: bool = False) -> Receipt:
        """Publishes in this session's scope: to its handlers and the bus's."""
        return await self._bus.publish(event, wait=wait)

    async def execute(
        self, command: Command[R], *, durable: bool = False, deadline: float | None = None
    ) -> CommandResult[R]:
        """Executes in this session's scope: by its own handler, else the bus's."""
        return await self._bus.execute(command, durable=durable, deadline=deadline)

    async def schedule(self, event: Event, **when: Unpack[ScheduleOptions]) -> ScheduledEvent:
        """As `runtime.bus.schedule`, in this session's scope, whether it is open by then or not."""
        return await self._bus.schedule(event, **when)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave(None if error is None else f"{type(error).__name__}: {error}")

    async def _give_up(self, opening: asyncio.Future[Any]) -> None:
        """The opening was given up on this side only: what it comes to is left again."""
        try:
            await opening
            await self._driver.control.call(
                "detach_session", self.id, self._handle, "its opening was given up"
            )
        except LlmgineError as error:
            logger.info("session %s, whose opening was given up: %s", self.id, error)

    def _spanned(self, verb: str, trace: TraceContext | str | None) -> AbstractContextManager[OpenSpan]:
        checked_kind("trace", trace, TraceContext | str, "a traceparent or a span's context")
        return asked(self._driver.recorder, verb, self.id, trace)

    def _asked(self) -> SessionClient:
        if self._client is None:
            raise SessionClosed(
                f"this handle of session {self.id!r} is not attached; use it inside "
                f"`async with runtime.session(...) as session`"
            )
        return self._client

    def _tools(self) -> tuple[Tool[..., Any], ...]:
        return () if self._code is None else self._code.tools

    def _fingerprint(self) -> str:
        """What must be equal for two handles to share a session; empty where this one brings nothing."""
        if self._code is None and self._system is None and not any(self._ways.values()):
            return ""
        code = "" if self._code is None else fingerprint(self._code)
        ways = json.dumps(self._ways, sort_keys=True)
        return hashlib.sha256(f"{code}\n{ways}\n{self._system or ''}".encode()).hexdigest()

    def _asks(self, model: ModelChain | None, options: dict[str, Any]) -> dict[str, Any]:
        """The handle's own model, whatever the driver that opened the session chose, and the options."""
        name, fallbacks = self.model, self._fallbacks
        if model is not None:
            name, fallbacks = full_chain(model, self._driver.settings.providers)
        return {"model": name, "options": {**_behind(fallbacks), **options}}


def _bounds(
    deadline: float | None,
    limits: Limits | None,
    when_busy: WhenBusy | None,
    recovery: RecoveryPolicy | None,
) -> dict[str, Any]:
    """How far a turn may go and what becomes of it, checked."""
    return {
        "deadline": checked_deadline(deadline),
        "limits": checked_kind("limits", limits, Limits, _LIMITS),
        "when_busy": checked_one_of("when_busy", when_busy, WhenBusy),
        "recovery": checked_one_of("recovery", recovery, RecoveryPolicy),
    }


def _behind(fallbacks: tuple[Fallback, ...]) -> dict[str, Any]:
    """Fallbacks as an option of turns; none where there are none."""
    return {"fallbacks": [one.model_dump() for one in fallbacks]} if fallbacks else {}
