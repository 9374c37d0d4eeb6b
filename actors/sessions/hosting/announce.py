"""Publishes what a session tells of its turns as events on the bus, off the turns' own way."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from llmgine.actors.bus import Event
from llmgine.actors.sessions.hosting.listeners import Listeners
from llmgine.actors.sessions.messages import (
    ApprovalAnswered,
    ApprovalRequested,
    StreamDelta,
    ToolCompleted,
    ToolProgressed,
    ToolStarted,
    TurnCompleted,
    TurnStarted,
    TurnSuspended,
)
from llmgine.actors.sessions.running.observer import Piece, ToolSummary, TurnObserver, TurnSummary
from llmgine.actors.store.rows import ApprovalRow
from llmgine.providers.contracts import ToolCallPart
from llmgine.telemetry.current import Scope, scope, within

log = logging.getLogger(__name__)

# So many events are published at once; they reach the bus in their order.
_TOGETHER: Final = 100


@dataclass(slots=True)
class _Said:
    """Pieces that concatenate, until they are published as one."""

    session_id: str
    turn_id: str
    first: Piece
    texts: list[str] = field(default_factory=list)

    def joins(self, session_id: str, turn_id: str, piece: Piece) -> bool:
        mine = self.first
        return (
            self.turn_id == turn_id
            and self.session_id == session_id
            and not piece.restarted
            and (mine.step, mine.kind, mine.index) == (piece.step, piece.kind, piece.index)
        )

    def event(self) -> StreamDelta:
        piece = self.first
        return StreamDelta(
            session_id=self.session_id,
            turn_id=self.turn_id,
            step=piece.step,
            kind=piece.kind,
            index=piece.index,
            text="".join(self.texts),
            restarted=piece.restarted,
        )


class Announcer(TurnObserver):
    """One event for each thing told, in order. A bus that is away holds no turn back.

    At most `capacity` events wait; what is beyond, or cannot be published, is counted in `lost`. What a
    model says, and how far a tool is, is published only where `listeners` knows of any.
    """

    def __init__(
        self,
        publish: Callable[[Event], Awaitable[Any]],
        listeners: Listeners | None = None,
        *,
        capacity: int = 1000,
    ) -> None:
        self.lost = 0
        self._publish = publish
        self._listeners = Listeners() if listeners is None else listeners
        self._capacity = capacity
        # With the span that each was told under, which is its turn's.
        self._waiting: deque[tuple[Event | _Said, Scope | None]] = deque()
        self._under_way = 0
        self._worker: asyncio.Task[None] | None = None

    def turn_started(self, session_id: str, turn_id: str) -> None:
        self._say(TurnStarted(session_id=session_id, turn_id=turn_id))

    def turn_suspended(self, session_id: str, turn_id: str) -> None:
        self._say(TurnSuspended(session_id=session_id, turn_id=turn_id))

    def said(self, session_id: str, turn_id: str, piece: Piece) -> None:
        if not self._listeners.hear(StreamDelta, session_id):
            return
        last = self._waiting[-1][0] if self._waiting else None
        if isinstance(last, _Said) and last.joins(session_id, turn_id, piece):
            last.texts.append(piece.text)
        else:
            self._say(_Said(session_id, turn_id, piece, [piece.text]))

    def approval_requested(self, row: ApprovalRow) -> None:
        expires = None if row.expires is None else datetime.fromtimestamp(row.expires / 1e9, UTC)
        self._say(
            ApprovalRequested(
                session_id=row.session,
                approval_id=row.id,
                turn_id=row.turn,
                call_id=row.call,
                tool=row.tool,
                reason=row.reason,
                expires=expires,
            )
        )

    def approval_answered(self, row: ApprovalRow) -> None:
        assert row.state != "pending", row.id
        self._say(
            ApprovalAnswered(
                session_id=row.session,
                approval_id=row.id,
                turn_id=row.turn,
                call_id=row.call,
                tool=row.tool,
                state=row.state,
                by=row.by,
                note=row.note,
            )
        )

    def tool_started(self, session_id: str, turn_id: str, call: ToolCallPart) -> None:
        self._say(ToolStarted(session_id=session_id, turn_id=turn_id, call_id=call.id, name=call.name))

    def tool_progressed(self, session_id: str, turn_id: str, call: ToolCallPart, data: Any) -> None:
        if self._listeners.hear(ToolProgressed, session_id):
            self._say(
                ToolProgressed(
                    session_id=session_id, turn_id=turn_id, call_id=call.id, name=call.name, data=data
                )
            )

    def tool_completed(self, summary: ToolSummary) -> None:
        self._say(
            ToolCompleted(
                session_id=summary.session_id,
                turn_id=summary.turn_id,
                call_id=summary.call_id,
                name=summary.name,
                ok=summary.ok,
                seconds=summary.seconds,
            )
        )

    def turn_completed(self, summary: TurnSummary) -> None:
        self._say(
            TurnCompleted(
                session_id=summary.session_id,
                turn_id=summary.turn_id,
                model=summary.model,
                steps=summary.steps,
                input_tokens=summary.usage.input_tokens,
                output_tokens=summary.usage.output_tokens,
                cost=summary.cost,
                seconds=summary.seconds,
                error=summary.error,
            )
        )

    async def flush(self) -> None:
        """Returns when everything that was told is published or lost."""
        if self._worker is not None:
            await asyncio.wait({self._worker})

    def close(self) -> None:
        """Gives up what waits."""
        self.lost += len(self._waiting)
        self._waiting.clear()
        if self._worker is not None:
            self._worker.cancel()

    def _say(self, event: Event | _Said) -> None:
        if len(self._waiting) >= self._capacity:
            self.lost += 1
            return
        self._waiting.append((event, scope.get()))
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name="announce turns")

    async def _work(self) -> None:
        try:
            while self._waiting:
                # Together: each by itself would be no more than one for each way to the router and back.
                count = self._under_way = min(len(self._waiting), _TOGETHER)
                said = [self._waiting.popleft() for _ in range(count)]
                ends = await asyncio.gather(*(self._published(*one) for one in said), return_exceptions=True)
                self._under_way = 0
                for error in ends:
                    if isinstance(error, BaseException):
                        self.lost += 1
                        log.warning("an event of a session was not published: %s", error)
        finally:
            self.lost += self._under_way
            self._worker = None

    async def _published(self, said: Event | _Said, told_under: Scope | None) -> None:
        with within(told_under):
            await self._publish(said.event() if isinstance(said, _Said) else said)
