"""The bus as a driver holds it: the whole of it, or one session's scope."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any, TypeVar

from llmgine.actors.bus import BUS, BusClient, Command, CommandResult, Event, Message, Receipt, Subscription
from llmgine.providers import InvalidRequest

E = TypeVar("E", bound=Event)
C = TypeVar("C", bound=Command[Any])
M = TypeVar("M", bound=Message)
R = TypeVar("R")

Handler = Callable[..., Any]


class Bus:
    """`runtime.bus`: events to any number of handlers, commands to exactly one, wherever they run."""

    def __init__(self, client: BusClient) -> None:
        self._client = client

    async def register_event_handler(
        self,
        event: type[E],
        handler: Handler,
        *,
        session_id: str | None = None,
        name: str | None = None,
        priority: int = 50,
        filter: None = None,
        overflow: str = "block",
        durable: bool = False,
        concurrency: int | None = None,
        deadline: float | None = None,
    ) -> Subscription:
        """Calls `handler(event)` or `handler(event, delivery)` here, for the class and its subclasses.

        With `session_id` it hears that session's events only. `priority` orders the handlers of one
        event, the lower first; `deadline` bounds one attempt, in seconds. It is registered when this
        returns. Raises `RegistrationRefused` with the reason.
        """
        return await self._client.register_event_handler(
            event,
            handler,
            session_id=session_id,
            name=name,
            priority=priority,
            filter=filter,
            overflow=overflow,
            durable=durable,
            concurrency=concurrency,
            deadline=deadline,
        )

    async def register_command_handler(
        self,
        command: type[C],
        handler: Handler,
        *,
        session_id: str | None = None,
        name: str | None = None,
        idempotent: bool = False,
        durable: bool = False,
        concurrency: int | None = None,
        deadline: float | None = None,
    ) -> Subscription:
        """Lets `handler` answer commands of this class; a second one under another name is refused.

        `idempotent=True` allows running a command again when the process that ran it died.
        """
        return await self._client.register_command_handler(
            command,
            handler,
            session_id=session_id,
            name=name,
            idempotent=idempotent,
            durable=durable,
            concurrency=concurrency,
            deadline=deadline,
        )

    async def publish(self, event: Event, wait: bool = False) -> Receipt:
        """Returns once the event is admitted; with `wait`, once its own handlers are done."""
        return await self._client.publish(_checked(event, Event), wait)

    async def execute(self, command: Command[R], *, deadline: float | None = None) -> CommandResult[R]:
        """Its one handler's result; never raises what the handler raised. `deadline` is in seconds."""
        return await self._client.execute(_checked(command, Command), deadline=checked_deadline(deadline))

    def add_observer(self, observer: Callable[[Event], Any]) -> Callable[[], None]:
        """Shows each event that this process publishes to a function, once; the answer removes it."""
        return self._client.add_observer(observer)

    async def statistics(self) -> dict[str, Any]:
        """Exact counters and gauges of the router, and this process's own under "client"."""
        return await self._client.statistics()


class ScopedBus:
    """The bus in one session's scope; what is registered through it can be removed together."""

    def __init__(self, client: BusClient, session_id: str) -> None:
        self._client = client
        self._session_id = session_id
        self._registered: list[Subscription] = []

    async def register_event_handler(self, event: type[E], handler: Handler, **options: Any) -> Subscription:
        subscription = await self._client.register_event_handler(
            event, handler, session_id=self._session_id, **options
        )
        self._registered.append(subscription)
        return subscription

    async def register_command_handler(
        self, command: type[C], handler: Handler, **options: Any
    ) -> Subscription:
        subscription = await self._client.register_command_handler(
            command, handler, session_id=self._session_id, **options
        )
        self._registered.append(subscription)
        return subscription

    async def publish(self, event: Event, wait: bool = False) -> Receipt:
        return await self._client.publish(self._scoped(_checked(event, Event)), wait)

    async def execute(self, command: Command[R], *, deadline: float | None = None) -> CommandResult[R]:
        scoped = self._scoped(_checked(command, Command))
        return await self._client.execute(scoped, deadline=checked_deadline(deadline))

    async def remove_all(self) -> None:
        """Removes every handler that was registered here; the others of the session stay."""
        registered, self._registered = self._registered, []
        await asyncio.gather(*(subscription.remove() for subscription in registered))

    def _scoped(self, message: M) -> M:
        if message.session_id == self._session_id:
            return message
        if message.session_id == BUS:
            return message.model_copy(update={"session_id": self._session_id})
        raise InvalidRequest(
            f"this {type(message).__name__} belongs to session {message.session_id!r}, not to "
            f"{self._session_id!r}; publish it through its own session or through runtime.bus"
        )


def checked_deadline(deadline: float | None) -> float | None:
    """The deadline, or `InvalidRequest` where no time would be left."""
    if deadline is None:
        return None
    if not isinstance(deadline, int | float) or not (0 < deadline < math.inf):
        raise InvalidRequest(f"deadline is seconds above 0, not {deadline!r}; leave it out for the default")
    return deadline


def _checked(message: M, kind: type[Message]) -> M:
    """The message, or `InvalidRequest` that says what was given in its place."""
    if isinstance(message, kind):
        return message
    verb = "publish takes an event" if kind is Event else "execute takes a command"
    given = f"the class {message.__name__}" if isinstance(message, type) else type(message).__name__
    raise InvalidRequest(f"{verb}, an instance of a subclass of {kind.__name__}, and was given {given}")
