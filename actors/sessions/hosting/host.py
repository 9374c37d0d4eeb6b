"""A session as it lives in its process: its queue of turns, and what it answers on links.

Turns run one after another. Each lives by itself: readers come and go, by turn and offset, and a turn
goes on whether anybody reads or not. A submit with an id that is known attaches instead.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from llmgine.actors.link import LinkBroken, Stream, StreamHandler
from llmgine.actors.sessions.client.asking import ACCEPTED, REFUSED
from llmgine.actors.sessions.errors import (
    EngineFailed,
    SessionClosed,
    SessionLost,
    SessionOverloaded,
    TurnCancelled,
    TurnDeadline,
    UnknownTurn,
    error_to_wire,
)
from llmgine.actors.sessions.hosting.live import LiveTurn
from llmgine.actors.sessions.options import SessionOptions
from llmgine.actors.sessions.running.runner import TurnRunner
from llmgine.actors.sessions.running.steps import Conversation
from llmgine.actors.sessions.turns.events import TurnFailed
from llmgine.actors.sessions.turns.turn import TurnRequest
from llmgine.providers.errors import InvalidRequest, LlmgineError

log = logging.getLogger(__name__)

KINDS = (
    "turn.submit",
    "turn.attach",
    "turn.result",
    "turn.cancel",
    "session.history",
    "session.describe",
)

Answer = Callable[[Stream], Awaitable[None]]


class SessionHost:
    """Serves one conversation; `handlers()` is what its actor's endpoint listens with."""

    def __init__(self, conversation: Conversation, runner: TurnRunner, options: SessionOptions) -> None:
        self.conversation = conversation
        self.session_id = conversation.session_id
        self._runner = runner
        self._options = options
        self._turns: dict[str, LiveTurn] = {}
        self._finished: deque[LiveTurn] = deque()
        self._finished_bytes = 0
        self._waiting: deque[LiveTurn] = deque()
        self._running: LiveTurn | None = None
        self._worker: asyncio.Task[None] | None = None
        self._readers: set[object] = set()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._closing: str | None = None
        self.counts = {"submitted": 0, "done": 0, "failed": 0, "cancelled": 0, "refused": 0}

    def handlers(self) -> Mapping[str, StreamHandler]:
        """The kinds of stream that a session serves."""
        return dict.fromkeys(KINDS, self.serve)

    async def serve(self, stream: Stream) -> None:
        """Takes the request, says so or why not, then answers; a reader that has gone is no failure."""
        reader = object()
        self._readers.add(reader)
        self._quiet.clear()
        try:
            try:
                answer = self._take(stream.kind, stream.header)
            except LlmgineError as error:
                await stream.send([REFUSED, error_to_wire(error)])
                return
            await stream.send([ACCEPTED, stream.header.get("turn_id")])
            await answer(stream)
        except LinkBroken:
            return
        finally:
            self._readers.discard(reader)
            if not self._readers:
                self._quiet.set()

    # What others ask for

    def submit(self, request: TurnRequest) -> LiveTurn:
        """Takes a turn on, or finds it where its id is known; raises why it is refused."""
        known = self._turns.get(request.turn_id)
        if known is not None:
            return known
        self._admit(request)
        loop = asyncio.get_running_loop()
        seconds = self._options.turn_deadline if request.deadline is None else request.deadline
        deadline = loop.time() + seconds
        turn = LiveTurn(request, deadline)
        turn.expiry = loop.call_at(deadline, self._expire, turn)
        self._turns[request.turn_id] = turn
        self._waiting.append(turn)
        self.counts["submitted"] += 1
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name=f"turns of {self.session_id}")
        return turn

    def find(self, turn_id: str) -> LiveTurn:
        """The turn of that id; UnknownTurn where it never was, or is let go of."""
        try:
            return self._turns[turn_id]
        except KeyError:
            raise UnknownTurn(
                f"session {self.session_id!r} knows no turn {turn_id!r}; it keeps the last "
                f"{self._options.finished_turns} finished ones (sessions.finished_turns)"
            ) from None

    def cancel(self, turn_id: str, reason: str = "the turn was cancelled") -> bool:
        """Cancels a turn that has not ended; False where it has."""
        turn = self.find(turn_id)
        if turn in self._waiting:
            self._waiting.remove(turn)
            self._fail(turn, TurnCancelled(f"{reason} before it began"))
            return True
        if turn.log.terminal is not None or turn.task is None:
            return False
        if not turn.cancelling:  # a second one would cut short what the first one leaves in order
            turn.cancelling = True
            turn.task.cancel()
        return True

    def describe(self) -> dict[str, Any]:
        """The session as it stands."""
        shared = self.conversation
        return {
            "session": self.session_id,
            "model": shared.model,
            "tools": list(shared.toolset.tools),
            "mcp": shared.toolset.mcp.describe(),
            "messages": len(shared.context),
            "running": None if self._running is None else self._running.request.turn_id,
            "waiting": len(self._waiting),
            "turns": dict(self.counts),
            "abandoned_threads": shared.toolset.abandoned,
            "healthy": shared.toolset.healthy,
            "closing": self._closing is not None,
        }

    async def end(self, reason: str, grace: float) -> int:
        """Takes no more turns, lets those that were taken on end within `grace` seconds, cancels the rest.

        Returns how many were cancelled. Readers have their turns' last events when it returns.
        """
        self._closing = self._closing or reason
        if self._worker is not None:
            await asyncio.wait({self._worker}, timeout=grace)
        left = [turn for turn in self._turns.values() if turn.log.terminal is None]
        for turn in left:
            self.cancel(turn.request.turn_id, f"the session ended ({reason})")
        if self._worker is not None:
            await self._worker
        await self.conversation.toolset.mcp.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(1.0, grace)):
                await self._quiet.wait()
        return len(left)

    # The queue

    def _admit(self, request: TurnRequest) -> None:
        try:
            if self._closing is not None:
                raise SessionClosed(f"session {self.session_id!r} has ended ({self._closing})")
            if request.prompt.role != "user":
                raise InvalidRequest(f"a prompt is a message of role user, not {request.prompt.role}")
            if request.deadline is not None and not 0 < request.deadline < math.inf:
                raise InvalidRequest(f"deadline= is a number of seconds above 0, not {request.deadline!r}")
            if len(self._waiting) >= self._options.queue:
                raise SessionOverloaded(
                    f"{len(self._waiting)} turns wait in session {self.session_id!r} (sessions.queue); "
                    "await some of them before submitting more"
                )
        except LlmgineError:
            self.counts["refused"] += 1
            raise

    async def _work(self) -> None:
        while self._waiting:
            turn = self._running = self._waiting.popleft()
            await self._run(turn)
            self._running = None
        self._worker = None

    async def _run(self, turn: LiveTurn) -> None:
        if turn.expiry is not None:
            turn.expiry.cancel()
        turn.state = "running"
        turn.task = asyncio.create_task(
            self._runner.run(turn.request, turn.emit, deadline=turn.deadline),
            name=f"turn {turn.request.turn_id}",
        )
        await asyncio.wait({turn.task})
        if turn.task.cancelled():
            error: LlmgineError = TurnCancelled("the turn was cancelled")
        elif turn.task.exception() is not None:
            log.error("turn %s broke", turn.request.turn_id, exc_info=turn.task.exception())
            error = EngineFailed(f"the turn broke: {turn.task.exception()!r}")
        else:
            error = EngineFailed("the turn ended without a word")
        if turn.log.terminal is None:
            turn.emit(TurnFailed(error))
        self._retire(turn)

    def _expire(self, turn: LiveTurn) -> None:
        if turn in self._waiting:
            self._waiting.remove(turn)
            self._fail(
                turn, TurnDeadline("the turn's deadline passed while it waited for the turns before it")
            )

    def _fail(self, turn: LiveTurn, error: LlmgineError) -> None:
        if turn.expiry is not None:
            turn.expiry.cancel()
        turn.emit(TurnFailed(error))
        self._retire(turn)

    def _retire(self, turn: LiveTurn) -> None:
        """Counts a turn that has ended and keeps its events, bounded by number and bytes."""
        self.counts[turn.state] += 1
        self._finished.append(turn)
        self._finished_bytes += turn.log.size
        while len(self._finished) > 1 and (
            len(self._finished) > self._options.finished_turns
            or self._finished_bytes > self._options.finished_bytes
        ):
            oldest = self._finished.popleft()
            self._finished_bytes -= oldest.log.size
            del self._turns[oldest.request.turn_id]

    # Links

    def _take(self, kind: str, header: Any) -> Answer:
        asked = header.get("session") if isinstance(header, dict) else None
        if not isinstance(header, dict) or asked != self.session_id:
            raise SessionLost(f"session {asked!r} is not in this process, which serves {self.session_id!r}")
        match kind:
            case "turn.submit":
                return self._on_submit(header)
            case "turn.attach":
                return _follow(self._named(header), header)
            case "turn.result":
                return _follow(self._named(header), {"reply": "result"})
            case "turn.cancel":
                return _say(self.cancel(self._named(header).request.turn_id))
            case "session.history":
                return _say(*(part.model_dump_json().encode() for part in self.conversation.context.view()))
            case _:
                return _say(self.describe())

    def _on_submit(self, header: dict[str, Any]) -> Answer:
        try:
            request = TurnRequest.from_wire(header)
            return _follow(self.submit(request), header)
        except (ValidationError, KeyError, TypeError) as error:
            raise InvalidRequest(f"this is no turn: {error}") from None

    def _named(self, header: dict[str, Any]) -> LiveTurn:
        return self.find(str(header.get("turn_id")))


def _say(*messages: Any) -> Answer:
    async def answer(stream: Stream) -> None:
        for message in messages:
            await stream.send(message)

    return answer


def _follow(turn: LiveTurn, header: dict[str, Any]) -> Answer:
    async def answer(stream: Stream) -> None:
        reply = header.get("reply", "events")
        if reply == "result":
            await stream.send(await turn.ended())
        elif reply == "events":
            await turn.follow(stream.send, int(header.get("from", 0)))

    return answer
