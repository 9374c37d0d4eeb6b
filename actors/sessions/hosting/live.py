"""A turn in its session's process: its log, its state, and who waits for it to grow."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from llmgine.actors.link import StreamReset
from llmgine.actors.sessions.client.asking import MOVED
from llmgine.actors.sessions.journal.state import Progress
from llmgine.actors.sessions.running.runner import outcome_of
from llmgine.actors.sessions.turns.events import TurnEvent, TurnFailed, TurnReset, to_wire
from llmgine.actors.sessions.turns.steering import Steering
from llmgine.actors.sessions.turns.turn import TurnLog, TurnRequest, TurnState


class LiveTurn:
    """One turn in its session's process: its log, and who waits for it to grow.

    `epoch` is the session's while this log is written; offsets into it mean nothing in another.
    `progress` is how far the turn had come in a process that died, `steering` what is said to it.
    """

    def __init__(
        self,
        request: TurnRequest,
        deadline: float,
        epoch: int,
        progress: Progress | None = None,
        steering: Steering | None = None,
    ) -> None:
        self.request = request
        self.deadline = deadline
        self.epoch = epoch
        self.progress = progress
        self.steering = steering or Steering()
        self.log = TurnLog()
        self.state: TurnState = "waiting"
        self.task: asyncio.Task[None] | None = None
        self.cancelling = False
        self.expiry: asyncio.TimerHandle | None = None
        self._moved = ""
        self._grown: set[asyncio.Event] = set()

    def emit(self, event: TurnEvent) -> None:
        if self._moved:
            return
        self.log.append(event)
        if self.log.terminal is not None:
            error = event.error if isinstance(event, TurnFailed) else None
            self.state = outcome_of(error)
        self._wake()

    def leave(self, reason: str) -> None:
        """The turn goes on elsewhere, or sleeps; its readers look for it there."""
        if self.expiry is not None:
            self.expiry.cancel()
        self._moved = reason
        self._wake()

    async def follow(
        self, send: Callable[[list[Any]], Awaitable[None]], offset: int, epoch: int | None
    ) -> None:
        """Sends each event from `offset` on, as `[offset after it, event]`, the terminal one included.

        A reader that has read in another epoch is told so, and then everything from the start.
        """
        if offset > 0 and epoch is not None and epoch != self.epoch:
            await send([0, to_wire(TurnReset("the session went on in another process"))])
            offset = 0
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
                    self._check_here()
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
                self._check_here()
                grown.clear()
                await grown.wait()
        finally:
            self._grown.discard(grown)
        return [self.log.end, to_wire(self.log.terminal)]

    def _check_here(self) -> None:
        if self._moved:
            raise StreamReset(MOVED, self._moved)

    def _wake(self) -> None:
        for grown in self._grown:
            grown.set()
