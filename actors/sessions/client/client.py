"""The driver's side of a session: turns asked for, followed, and cancelled over its actor's link.

A turn lives in the session's process and goes on whatever becomes of its reader. The reader knows
how far it has read; after a break it asks for the rest, wherever the session lives by then. A turn is
sent again under its id, by which the session knows it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, TypedDict, Unpack

from pydantic_core import to_jsonable_python

from llmgine.actors.bus.handling.turns import waiting_sessions
from llmgine.actors.control.errors import ControlError
from llmgine.actors.link import Stream
from llmgine.actors.sessions.client.asking import (
    PATIENCE,
    Link,
    Patience,
    accepted,
    ask_link,
    broken_off,
    is_passing,
    open_stream,
)
from llmgine.actors.sessions.context.search import Found
from llmgine.actors.sessions.errors import SessionClosed, TurnError, UnknownTurn, WouldDeadlock
from llmgine.actors.sessions.options import RecoveryPolicy
from llmgine.actors.sessions.turns.events import (
    Reply,
    TurnDone,
    TurnEvent,
    TurnFailed,
    from_wire,
    is_terminal,
)
from llmgine.actors.sessions.turns.limits import Limits
from llmgine.actors.sessions.turns.turn import TurnRequest, WhenBusy
from llmgine.providers.contracts import Message, OutputSchema, ToolSpec
from llmgine.providers.errors import InvalidRequest, LlmgineError, OutputInvalid
from llmgine.providers.layers.output_type import OutputType
from llmgine.telemetry import TraceContext, current_trace

# The loop holds its tasks weakly, and nobody waits for these.
_cancelling: set[asyncio.Task[None]] = set()


def new_turn_id(session_id: str, key: str | None = None) -> str:
    """An id that names its session, and that no other turn has but one of the same key."""
    if key is not None and (not isinstance(key, str) or not key or ":" in key):
        raise InvalidRequest(f"key= is some characters without a colon, not {key!r}")
    return f"{session_id}:{uuid.uuid4().hex if key is None else key}"


def session_of(turn_id: str) -> str:
    """The session that a turn belongs to; UnknownTurn for what is no turn's id."""
    session_id = turn_id.rpartition(":")[0] if isinstance(turn_id, str) else ""
    if not session_id:
        raise UnknownTurn(f"{turn_id!r} is no turn's id; ids come from submit()")
    return session_id


class Asking(TypedDict, total=False):
    """How a turn is asked for; what is not given is as the session has it."""

    output: Any
    model: str | None
    deadline: float | None
    limits: Limits | None
    when_busy: WhenBusy | None
    recovery: RecoveryPolicy | None
    options: Mapping[str, Any] | None
    trace: TraceContext | None


class SessionClient:
    """Asks a session for turns and what it knows; any number of them, from any task of one loop.

    `patience` is for how many seconds a session that does not answer is looked for.
    """

    def __init__(self, session_id: str, link: Link, *, patience: float = PATIENCE) -> None:
        self.session_id = session_id
        self._link = link
        self._patience = patience

    async def ask(self, prompt: str | Message, **asking: Unpack[Asking]) -> Reply:
        """The turn's reply; raises what the turn failed with. Cancelling this wait cancels the turn."""
        turn = self._turn(prompt, self._waiting(), **asking)
        try:
            return await turn.result()
        except asyncio.CancelledError:
            turn.cancel_soon()
            raise

    async def stream(self, prompt: str | Message, **asking: Unpack[Asking]) -> AsyncGenerator[TurnEvent]:
        """The turn's events, the last one `TurnDone` or `TurnFailed`; the turn goes on when this is left."""
        turn = self._turn(prompt, self._waiting(), **asking)
        async with aclosing(turn.stream()) as events:
            async for event in events:
                yield event

    async def submit(
        self, prompt: str | Message, *, key: str | None = None, **asking: Unpack[Asking]
    ) -> TurnClient:
        """The turn's handle once the session has taken it on; it runs to its end without further help.

        The turn of a `key` is taken on once: submitted again, this is the handle of the first one.
        """
        turn = self._turn(prompt, (), key, **asking)
        await turn.accepted()
        return turn

    def turn_of(
        self,
        messages: Sequence[Message],
        *,
        key: str | None = None,
        model: str | None = None,
        system: str | None = None,
        tools: Sequence[ToolSpec] = (),
        output: OutputSchema | None = None,
        options: Mapping[str, Any] | None = None,
        limits: Limits | None = None,
        trace: TraceContext | None = None,
    ) -> TurnClient:
        """A turn of somebody with `tools` of its own, which is taken on once its events are followed.

        `messages` are a prompt and what follows it, or first the results of calls that the session's last
        turn has left open. `system` holds for this turn where the session has none.
        """
        if not messages:
            raise InvalidRequest("nothing is asked; give a prompt, or results of open calls")
        request = TurnRequest(
            turn_id=new_turn_id(self.session_id, key),
            prompt=messages[0],
            model=model,
            output=output,
            options=plain_options(options or {}),
            limits=limits,
            trace=trace,
            more=tuple(messages[1:]),
            system=system,
            tools=tuple(tools),
        )
        return TurnClient(
            request.turn_id, self._link, request=request, fresh=key is None, patience=self._patience
        )

    def turn(self, turn_id: str, *, output: Any = None) -> TurnClient:
        """The handle of a turn that was submitted before, by anybody."""
        return TurnClient(turn_id, self._link, output=output, patience=self._patience)

    async def history(self) -> tuple[Message, ...]:
        """The conversation as it stands, a running turn's finished steps included."""
        messages = await ask_link(self._link, "session.history", self._header(), self._patience)
        return tuple(Message.model_validate_json(message) for message in messages)

    async def describe(self) -> dict[str, Any]:
        """What the session says of itself: model, tools, turns, counts."""
        (described,) = await ask_link(self._link, "session.describe", self._header(), self._patience)
        return dict(described)

    def _header(self) -> dict[str, Any]:
        return {"session": self.session_id}

    async def steer(self, message: str | Message) -> bool:
        """Says something to the turn that runs, for its next model call; False where none runs."""
        (taken,) = await _steer(self._link, "session.steer", self._header(), message, self._patience)
        return bool(taken)

    async def search(self, query: str, limit: int) -> tuple[Found, ...]:
        """The newest messages that hold every word of the query."""
        header = {**self._header(), "query": query, "limit": limit}
        found = await ask_link(self._link, "session.search", header, self._patience)
        return tuple(Found.model_validate_json(one) for one in found)

    async def note(self, message: int, key: str, value: Any) -> None:
        """Notes a JSON value at a message, by its number; kept when it returns."""
        header = {**self._header(), "message": message, "key": key, "value": _plain_value(value)}
        await ask_link(self._link, "session.note", header, self._patience)

    async def notes(self) -> dict[int, dict[str, Any]]:
        """What was noted, by the message's number and the note's key."""
        (notes,) = await ask_link(self._link, "session.notes", self._header(), self._patience)
        return {int(number): dict(one) for number, one in notes.items()}

    def _waiting(self) -> tuple[str, ...]:
        """The sessions whose turns wait for the answer; WouldDeadlock where this one is among them."""
        waiting = waiting_sessions()
        if self.session_id in waiting:
            raise WouldDeadlock(
                f"a turn of session {self.session_id!r} waits for this code, so what it asks that session "
                "would never be answered; submit() the turn without waiting for it, or ask another session"
            )
        return waiting

    def _turn(
        self,
        prompt: str | Message,
        waiting: tuple[str, ...],
        key: str | None = None,
        *,
        output: Any = None,
        model: str | None = None,
        deadline: float | None = None,
        limits: Limits | None = None,
        when_busy: WhenBusy | None = None,
        recovery: RecoveryPolicy | None = None,
        options: Mapping[str, Any] | None = None,
        trace: TraceContext | None = None,
    ) -> TurnClient:
        kind = None if output is None else OutputType(output)
        request = TurnRequest(
            turn_id=new_turn_id(self.session_id, key),
            prompt=Message.user(prompt) if isinstance(prompt, str) else prompt,
            model=model,
            deadline=deadline,
            output=None if kind is None else kind.schema,
            options=plain_options(options or {}),
            limits=limits,
            when_busy=when_busy,
            waiting=waiting,
            recovery=recovery,
            trace=current_trace(trace),
        )
        patience = self._patience if deadline is None else min(deadline, self._patience)
        return TurnClient(
            request.turn_id, self._link, output=kind, request=request, fresh=key is None, patience=patience
        )


class TurnClient:
    """One turn: its events, its result, its cancel. Made by `SessionClient`.

    A `fresh` one has an id that nobody has used, so its session need not look whether it has ended before.
    """

    def __init__(
        self,
        turn_id: str,
        link: Link,
        *,
        output: Any = None,
        request: TurnRequest | None = None,
        fresh: bool = False,
        patience: float = PATIENCE,
    ) -> None:
        self.id = turn_id
        self.session_id = session_of(turn_id)
        self._link = link
        self._output = (
            OutputType(output) if output is not None and not isinstance(output, OutputType) else output
        )
        self._request = request
        self._patience = patience
        self._sent = not fresh

    async def accepted(self) -> None:
        """Returns once the session has taken the turn on; raises why it was refused."""
        async with aclosing(self._follow("none")) as nothing:
            async for _ in nothing:
                break

    async def stream(self, from_: int = 0) -> AsyncGenerator[TurnEvent]:
        """The events from an offset on, each once, whatever happens to the link; the last is terminal.

        What lies behind when this begins, or while the reader is slow, comes as fewer, longer deltas.
        """
        async with aclosing(self._follow("events", from_)) as events:
            async for event in events:
                yield with_output(event, self._output)

    async def result(self) -> Reply:
        """The reply, however long it takes; raises what the turn failed with."""
        async with aclosing(self._follow("result")) as events:
            async for event in events:
                last = with_output(event, self._output)
                if isinstance(last, TurnDone):
                    return last.reply
                if isinstance(last, TurnFailed):
                    raise last.error
        raise TurnError(f"turn {self.id} ended without a word")

    async def cancel(self) -> bool:
        """Cancels the turn, also one that waits; False where it had ended before."""
        return await self._unless_ended(
            ask_link(self._link, "turn.cancel", self._header(), self._patience),
        )

    async def steer(self, message: str | Message) -> bool:
        """Says something to the turn, for its next model call; False where it has ended."""
        return await self._unless_ended(
            _steer(self._link, "turn.steer", self._header(), message, self._patience)
        )

    def cancel_soon(self) -> None:
        """Cancels without waiting for it; nothing is said of a cancel that does not arrive."""
        task = asyncio.create_task(self._cancel_quietly(), name=f"cancel {self.id}")
        _cancelling.add(task)
        task.add_done_callback(_cancelling.discard)

    async def _cancel_quietly(self) -> None:
        try:
            await self.cancel()
        except LlmgineError:
            return

    def _header(self) -> dict[str, Any]:
        return {"session": self.session_id, "turn_id": self.id}

    async def _follow(self, reply: str, from_: int = 0) -> AsyncGenerator[TurnEvent]:
        """The turn's events over as many connections as it takes; `reply` says which of them."""
        offset, epoch = from_, None
        patience = Patience(self.session_id, self._link, self._patience)
        while True:
            stream: Stream | None = None
            try:
                stream = await self._open(reply, offset, epoch)
                epoch = await accepted(stream)
                patience.answered()
                async for following, wire in stream:
                    event = from_wire(wire)
                    offset = following
                    patience.told()
                    yield event
                    if is_terminal(event):
                        return
                return
            except LlmgineError as error:
                if not is_passing(error):
                    ended = await self._ended(error)
                    if ended is not None:
                        yield ended
                        return
                    raise broken_off(self.session_id, f"turn {self.id}", error) from None
                await patience.after(error)
            finally:
                if stream is not None:
                    stream.reset("left", "the reader has gone")

    async def _open(self, reply: str, offset: int, epoch: int | None) -> Stream:
        header = {**self._header(), "reply": reply, "from": offset, "epoch": epoch}
        if self._request is None:
            return await open_stream(self._link, "turn.attach", header)
        again, self._sent = self._sent, True
        return await open_stream(
            self._link, "turn.submit", {**header, **self._request.to_wire(), "again": again}
        )

    async def _unless_ended(self, asking: Awaitable[list[Any]]) -> bool:
        """What the session answers; False where it is not there to answer, and the store knows the end."""
        try:
            (done,) = await asking
        except LlmgineError as error:
            if await self._ended(error) is None:
                raise
            return False
        return bool(done)

    async def _ended(self, error: LlmgineError) -> TurnEvent | None:
        """How the turn ended, where its session is not there to tell and the store knows."""
        if self._link.ended is None or not isinstance(error, ControlError | SessionClosed | UnknownTurn):
            return None
        wire = await self._link.ended(self.id)
        return None if wire is None else from_wire(wire)


def with_output(event: TurnEvent, output: OutputType | None) -> TurnEvent:
    """The event with its reply's output as a value of that type; a failure where it is none."""
    if output is None or not isinstance(event, TurnDone):
        return event
    reply = event.reply
    try:
        value = output.parse(reply.text) if reply.output is None else output.value(reply.output)
    except OutputInvalid as error:
        return TurnFailed(error, Message(role="assistant", parts=reply.parts))
    return TurnDone(reply.model_copy(update={"output": value}))


async def _steer(
    link: Link, kind: str, header: dict[str, Any], message: str | Message, patience: float
) -> list[Any]:
    said = Message.user(message) if isinstance(message, str) else message
    wire = {**header, "steer": uuid.uuid4().hex, "message": said.model_dump_json().encode()}
    return await ask_link(link, kind, wire, patience)


# Fields of a request that the session itself says, with the place where they are set.
_SET_ELSEWHERE = {
    "messages": "the session holds its conversation",
    "system": "runtime.session(system=…) sets it",
    "tools": "runtime.session(tools=…) sets them",
}


def _plain_value(value: Any) -> Any:
    try:
        return to_jsonable_python(value)
    except ValueError as error:
        raise InvalidRequest(f"a note holds what is no JSON: {error}") from None


def plain_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """A turn's options as JSON values; `InvalidRequest` for what is none, or is no option."""
    for name, where in _SET_ELSEWHERE.items():
        if name in options:
            raise InvalidRequest(f"a turn has no {name} of its own: {where}")
    try:
        return dict(to_jsonable_python(dict(options)))
    except ValueError as error:
        raise InvalidRequest(f"options= holds what is no JSON: {error}") from None
