"""A session's own handlers: functions that travel with its code and run in its process.

They are registered durably, in the session's scope. While the session sleeps, what comes for them waits,
and the session is woken for it.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from llmgine.actors.bus import (
    Command,
    CommandResult,
    Delivery,
    Event,
    InvalidHandler,
    Mark,
    Receipt,
    marks_on,
)
from llmgine.actors.bus.messages import module_name
from llmgine.actors.sessions.client.client import plain_options
from llmgine.actors.sessions.hosting.bus import SessionBus
from llmgine.actors.sessions.messages import SessionPassivated
from llmgine.actors.sessions.turns.turn import TurnRequest
from llmgine.providers.contracts import Message
from llmgine.providers.layers.output_type import OutputType
from llmgine.telemetry import OpenSpan, current_trace, span

R = TypeVar("R")


class OwnSession(Protocol):
    """As much of a session as its own handlers may use."""

    async def submit_own(self, request: TurnRequest) -> None:
        """Returns once the turn is taken on for good; does nothing where one of its id was."""
        ...

    def history(self) -> tuple[Message, ...]:
        """The conversation as it stands."""
        ...


@dataclass(frozen=True, slots=True)
class SessionHandler:
    """One function with all that it handles; `name` is its own in every process that it travels to."""

    name: str
    function: Callable[..., Any]
    marks: tuple[Mark, ...]


def as_handlers(functions: Iterable[Callable[..., Any] | SessionHandler]) -> tuple[SessionHandler, ...]:
    """The handlers of marked functions; `InvalidHandler` for what is none, or has the name of another."""
    made = tuple(one if isinstance(one, SessionHandler) else _handler(one) for one in functions)
    names = [one.name for one in made]
    for name in names:
        if names.count(name) > 1:
            raise InvalidHandler(
                f"two handlers of a session are named {name}, and the next process could not tell them "
                "apart; give one of the functions another name"
            )
    return made


def _handler(function: Callable[..., Any]) -> SessionHandler:
    marks = marks_on(function)
    name = f"{module_name(getattr(function, '__module__', None) or '?')}.{function.__qualname__}"
    if any(mark.message_class is SessionPassivated for mark in marks):
        raise InvalidHandler(f"{name} handles SessionPassivated, and a session that sleeps hears nothing")
    if _takes_context(function, name) and not inspect.iscoroutinefunction(function):
        raise InvalidHandler(f"{name} takes a context, whose verbs are awaited: make it an async function")
    return SessionHandler(name, function, marks)


def _takes_context(function: Callable[..., Any], name: str) -> bool:
    parameters = list(inspect.signature(function).parameters.values())
    required = [one for one in parameters if one.default is one.empty]
    if not len(parameters) >= 1 or len(required) > 2 or any(one.kind is one.KEYWORD_ONLY for one in required):
        raise InvalidHandler(
            f"{name} must take (message) or (message, context), not {inspect.signature(function)}"
        )
    return len(required) == 2


def bound(handler: SessionHandler, session: OwnSession, bus: SessionBus) -> Callable[..., Any]:
    """The function as the bus calls it, with the context where it takes one."""
    function = handler.function
    if not _takes_context(function, handler.name):
        return function

    async def call(message: Any, delivery: Delivery) -> Any:
        return await function(message, HandlerContext(session, bus, delivery))

    return call


class HandlerContext:
    """What a handler of a session may know and do; given to one that takes a second argument."""

    def __init__(self, session: OwnSession, bus: SessionBus, delivery: Delivery) -> None:
        self._session = session
        self._bus = bus
        self._submitted = 0
        self.delivery = delivery

    @property
    def session_id(self) -> str:
        return self.delivery.session_id

    async def submit(
        self,
        prompt: str | Message,
        *,
        output: Any = None,
        model: str | None = None,
        deadline: float | None = None,
        **options: Any,
    ) -> str:
        """The id of a turn that the session has taken on for good; `runtime.turn(id)` follows it.

        A handler that is called again with the same message, as after a crash, makes no second turn: the
        first call of `submit` for a message is always the same turn, and so is the second one.
        """
        request = TurnRequest(
            turn_id=self._turn_id(),
            prompt=Message.user(prompt) if isinstance(prompt, str) else prompt,
            model=model,
            deadline=deadline,
            output=None if output is None else OutputType(output).schema,
            options=plain_options(options),
            trace=current_trace(),
        )
        await self._session.submit_own(request)
        return request.turn_id

    def history(self) -> tuple[Message, ...]:
        """The conversation as it stands, a running turn's finished steps included."""
        return self._session.history()

    async def publish(self, event: Event, wait: bool = False) -> Receipt:
        """As `session.publish`; a handler that is called again publishes again."""
        return await self._bus.publish(event, wait)

    async def execute(
        self, command: Command[R], *, durable: bool = False, deadline: float | None = None
    ) -> CommandResult[R]:
        """As `session.execute`: the result says what came of it, and is never raised."""
        return await self._bus.execute(command, durable=durable, deadline=deadline)

    def span(
        self, name: str, attributes: Mapping[str, Any] | None = None, /, **named: Any
    ) -> AbstractContextManager[OpenSpan]:
        """A span of the handler's own: `with context.span("look it up"): ...`."""
        return span(name, attributes, **named)

    def _turn_id(self) -> str:
        self._submitted += 1
        cause = "\x1f".join((self.delivery.id, self.delivery.handler, str(self._submitted)))
        digest = hashlib.blake2b(cause.encode(errors="replace"), digest_size=16)
        return f"{self.session_id}:{digest.hexdigest()}"
