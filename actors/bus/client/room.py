"""Who waits for room among what a client keeps, and is woken in order as there is some."""

from __future__ import annotations

import asyncio
from collections import deque

from llmgine.actors.bus.client.outbox import Outbox, Space
from llmgine.actors.bus.errors import Overloaded

_TYPICAL = 1_024


class Room:
    """The space of all outboxes of one client, with those who wait for it."""

    def __init__(self, limit: int) -> None:
        self.space = Space(limit)
        self._outboxes: list[Outbox] = []
        self._waiting: deque[asyncio.Future[None]] = deque()
        # Woken, and not come to it yet.
        self._woken = 0
        # Somebody comes first: who comes now has to wait in any case.
        self.contended = False

    def share(self, outbox: Outbox) -> None:
        """Let this outbox keep its messages here."""
        self._outboxes.append(outbox)

    @property
    def is_full(self) -> bool:
        return self.space.bytes >= self.space.limit

    def refuse(self) -> Overloaded:
        """What is said to a handler, which must not wait."""
        return Overloaded(
            f"this process keeps {self.space.bytes} bytes of messages whose handlers are not done"
            " (bus option outbox_bytes), and waiting inside a handler could deadlock"
        )

    async def wait(self) -> None:
        """Until there is room, and nobody else before."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiting.append(waiter)
        self.contended = True
        try:
            await waiter
        finally:
            if waiter.done() and not waiter.cancelled():
                self._woken -= 1
            # Once this one has put its message there, or has failed to.
            loop.call_soon(self.progress)

    def progress(self) -> None:
        """Wake as many as there is room for, counting messages of average size."""
        if self._waiting and not self.is_full:
            places = max(1, self._places() - self._woken)
            while self._waiting and places > 0:
                waiter = self._waiting.popleft()
                if not waiter.done():
                    waiter.set_result(None)
                    self._woken += 1
                    places -= 1
        self.contended = bool(self._waiting or self._woken)

    def _places(self) -> int:
        count = sum(outbox.count for outbox in self._outboxes)
        average = self.space.bytes / count if count else _TYPICAL
        return int((self.space.limit - self.space.bytes) / average)

    def close(self, error: Exception) -> None:
        """Nobody is let in any more."""
        waiting, self._waiting = self._waiting, deque()
        for waiter in waiting:
            if not waiter.done():
                waiter.set_exception(error)
                self._woken += 1
