"""One side's talk over one stream of the bus: says what there is to say when it may, and numbers it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from llmgine.actors.bus.numbering import Numbering
from llmgine.actors.link import LinkError, Stream


class Talk:
    """Sends what `next_message` gives as long as the stream takes it; one write per turn of the loop."""

    def __init__(self, stream: Stream, next_message: Callable[[], Any | None]) -> None:
        self._stream = stream
        self._next_message = next_message
        numbering = Numbering()
        self._number = numbering.number
        # What has arrived, without its number; None where it is a double.
        # Raises ProtocolViolation where something before it is missing.
        self.received = numbering.take
        self._loop = asyncio.get_running_loop()
        self._scheduled = False
        self._unsent: Any | None = None
        self._waiting: asyncio.Task[None] | None = None
        self._finishing = False
        self.closed = False

    def wake(self) -> None:
        """There is something to say; it is said at the end of this turn of the loop."""
        if not (self._scheduled or self.closed or self._waiting is not None):
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Say what there is to say, now; what the stream has no room for goes when it has."""
        self._scheduled = False
        if self.closed or self._waiting is not None:
            return
        try:
            while True:
                if self._unsent is None:
                    message = self._next_message()
                    if message is None:
                        self._finish()
                        return
                    self._unsent = self._number(message)
                if not self._stream.try_send(self._unsent, hold=True):
                    self._waiting = self._loop.create_task(self._wait())
                    return
                self._unsent = None
        except LinkError:
            # Whoever reads the stream learns of it, too, and cleans up.
            self.closed = True
        finally:
            # This is the end of the turn: the link need not wait for another one.
            self._stream.flush()

    async def _wait(self) -> None:
        try:
            await self._stream.ready()
        except LinkError:
            self.closed = True
        finally:
            self._waiting = None
        self.flush()

    def finish(self) -> None:
        """Say what there is to say, and that it was all: the peer takes it to the end."""
        self._finishing = True
        self.flush()

    def _finish(self) -> None:
        if self._finishing:
            self.closed = True
            self._stream.finish()

    def close(self) -> None:
        self.closed = True
        if self._waiting is not None:
            self._waiting.cancel()
