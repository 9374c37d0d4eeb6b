"""Publishes what a session tells of its turns as events on the bus, off the turns' own way."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from llmgine.actors.bus import Event
from llmgine.actors.sessions.messages import ToolCompleted, TurnCompleted, TurnStarted
from llmgine.actors.sessions.running.observer import ToolSummary, TurnObserver, TurnSummary

log = logging.getLogger(__name__)


class Announcer(TurnObserver):
    """One event for each thing told, in order. A bus that is away holds no turn back.

    At most `capacity` events wait; what is beyond, or cannot be published, is counted in `lost`.
    """

    def __init__(self, publish: Callable[[Event], Awaitable[Any]], *, capacity: int = 1000) -> None:
        self.lost = 0
        self._publish = publish
        self._capacity = capacity
        self._waiting: deque[Event] = deque()
        self._worker: asyncio.Task[None] | None = None

    def turn_started(self, session_id: str, turn_id: str) -> None:
        self._say(TurnStarted(session_id=session_id, turn_id=turn_id))

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

    def _say(self, event: Event) -> None:
        if len(self._waiting) >= self._capacity:
            self.lost += 1
            return
        self._waiting.append(event)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work(), name="announce turns")

    async def _work(self) -> None:
        try:
            while self._waiting:
                try:
                    await self._publish(self._waiting.popleft())
                except asyncio.CancelledError:
                    self.lost += 1
                    raise
                except Exception as error:
                    self.lost += 1
                    log.warning("an event of a session was not published: %s", error)
        finally:
            self._worker = None
