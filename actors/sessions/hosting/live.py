"""A turn in its session's process: its log, its state, and who waits for it to grow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from llmgine.actors.sessions.running.runner import outcome_of
from llmgine.actors.sessions.turns.events import TurnEvent, TurnFailed, to_wire
from llmgine.actors.sessions.turns.turn import TurnLog, TurnRequest, TurnState


class LiveTurn:
    """One turn in its session's process: its log, and who waits for it to grow."""

    def __init__(self, request: TurnRequest, deadline: float) -> None:
        self.request = request
        self.deadline = deadline
        self.log = TurnLog()
        self.state: TurnState = "waiting"
        self.task: asyncio.Task[None] | None = None
        self.cancelling = False
        self.expiry: asyncio.TimerHandle | None = None
        self._grown: set[asyncio.Event] = set()

    def emit(self, event: TurnEvent) -> None:
        self.log.append(event)
        if self.log.terminal is not None:
            error = event.error if isinstance(event, TurnFailed) else None
            self.state = outcome_of(error)
        for grown in self._grown:
            grown.set()

    async def follow(self, send: Callable[[list[Any]], Awaitable[None]], offset: int) -> None:
        """Sends each event from `offset` on, as `[offset after it, event]`, the terminal one included."""
        grown = asyncio.Event()
        self._grown.add(grown)
        try:
            while True:
                for following, event in self.log.read(offset):
                    await send([following, to_wire(event)])
                    offset = following
                if self.log.terminal is not None and offset >= self.log.end:
                    return
                if offset >= self.log.end:
                    grown.clear()
                    await grown.wait()
        finally:
            self._grown.discard(grown)

    async def ended(self) -> list[Any]:
        """Waits for the terminal event; gives it as `follow` does."""
        grown = asyncio.Event()
        self._grown.add(grown)
        try:
            while self.log.terminal is None:
                grown.clear()
                await grown.wait()
        finally:
            self._grown.discard(grown)
        return [self.log.end, to_wire(self.log.terminal)]
