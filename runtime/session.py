"""A session as a driver holds it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import AsyncGenerator, Callable, Sequence
from types import TracebackType
from typing import Any, Self

from llmgine.actors.bus import Command, CommandResult, Event, Receipt
from llmgine.actors.sessions import (
    Engine,
    Reply,
    SessionClient,
    SessionClosed,
    Tool,
    TurnClient,
    TurnEvent,
)
from llmgine.providers import InvalidRequest, Message
from llmgine.providers.catalogue import resolve
from llmgine.runtime.bus import ScopedBus
from llmgine.runtime.driver import Driver

_LONGEST_ID = 200


class Session:
    """One conversation, in an actor of its own; used as `async with runtime.session(…) as session`.

    Leaving the block detaches this handle and removes the handlers that were registered through it.
    The session ends when the last handle is off, unless it was opened with `stay=True`.
    """

    def __init__(
        self,
        driver: Driver,
        session_id: str | None,
        *,
        model: str,
        system: str | None,
        tools: Sequence[Tool[..., Any] | Callable[..., Any]],
        engine: Engine | None,
        stay: bool,
    ) -> None:
        self.id = checked_id(session_id or f"s-{uuid.uuid4().hex[:12]}")
        self.model = str(resolve(model, driver.settings.providers))
        self.bus = ScopedBus(driver.bus, self.id)
        self._driver = driver
        self._system = system
        self._tools = tools
        self._engine = engine
        self._stay = stay
        self._handle = uuid.uuid4().hex
        self._client: SessionClient | None = None

    async def open(self) -> Self:
        """Attaches to the session, which is started where it is not open yet."""
        code, fingerprint = await self._driver.pack(self._tools, self._engine)
        if self._system is not None:
            fingerprint = hashlib.sha256(f"{fingerprint}\n{self._system}".encode()).hexdigest()
        spec = {
            "session_id": self.id,
            "model": self.model,
            "system": self._system,
            "stay": self._stay,
            "fingerprint": fingerprint,
        }
        self._driver.attached.add((self.id, self._handle))
        try:
            where = await self._driver.control.call("open_session", self._driver.id, self._handle, spec, code)
        except BaseException:
            self._driver.attached.discard((self.id, self._handle))
            raise
        self._client = SessionClient(self.id, self._driver.ground.peer(where["actor"]))
        return self

    async def leave(self, error: str | None = None) -> None:
        """Detaches this handle and removes its handlers; what it was left with is told to the end event."""
        if self._client is None:
            return
        self._client = None
        self._driver.attached.discard((self.id, self._handle))
        await self._driver.control.call("detach_session", self.id, self._handle, error)
        await self.bus.remove_all()

    async def close(self) -> None:
        """Ends the session, whoever else is attached."""
        await self._driver.control.call("close_session", self.id)

    async def ask(
        self,
        prompt: str | Message,
        *,
        output: Any = None,
        model: str | None = None,
        deadline: float | None = None,
        **options: Any,
    ) -> Reply:
        """Runs a turn and returns its reply; raises what the turn failed with.

        `model` answers this turn only; `output`, a pydantic model or another type, asks for an answer
        of that shape; `deadline` is in seconds. Further options go to the engine, as `tool_choice`.
        """
        return await self._asked().ask(
            prompt, output=output, model=self._model(model), deadline=deadline, options=options
        )

    async def stream(
        self,
        prompt: str | Message,
        *,
        output: Any = None,
        model: str | None = None,
        deadline: float | None = None,
        **options: Any,
    ) -> AsyncGenerator[TurnEvent]:
        """The turn's events as they come; the last is `done` or `error`. Leaving it early cancels nothing."""
        events = self._asked().stream(
            prompt, output=output, model=self._model(model), deadline=deadline, options=options
        )
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()

    async def submit(
        self,
        prompt: str | Message,
        *,
        output: Any = None,
        model: str | None = None,
        deadline: float | None = None,
        **options: Any,
    ) -> TurnClient:
        """The turn's handle as soon as the session has taken it on."""
        return await self._asked().submit(
            prompt, output=output, model=self._model(model), deadline=deadline, options=options
        )

    async def history(self) -> tuple[Message, ...]:
        """The conversation as it stands."""
        return await self._asked().history()

    async def describe(self) -> dict[str, Any]:
        """What the session says of itself."""
        return await self._asked().describe()

    async def publish(self, event: Event, *, wait: bool = False) -> Receipt:
        """Publishes to this session's handlers and the bus's."""
        return await self.bus.publish(event, wait=wait)

    async def execute[R](self, command: Command[R], **options: Any) -> CommandResult[R]:
        """Executes for this session: its own handler, else the bus's."""
        return await self.bus.execute(command, **options)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave(None if error is None else f"{type(error).__name__}: {error}")

    def _asked(self) -> SessionClient:
        if self._client is None:
            raise SessionClosed(
                f"this handle of session {self.id!r} is not attached; use it inside "
                f"`async with runtime.session(...) as session`"
            )
        return self._client

    def _model(self, model: str | None) -> str:
        """The handle's own model, whatever the driver that opened the session chose."""
        return self.model if model is None else str(resolve(model, self._driver.settings.providers))


def checked_id(session_id: str) -> str:
    """The id, or `InvalidRequest` that says what one may be."""
    if not session_id.strip() or len(session_id) > _LONGEST_ID or not session_id.isprintable():
        raise InvalidRequest(
            f"a session's id is 1 to {_LONGEST_ID} printable characters, not {session_id[:50]!r}"
        )
    if session_id == "BUS":
        raise InvalidRequest('"BUS" names the scope of the whole bus and can be no session\'s id')
    return session_id
