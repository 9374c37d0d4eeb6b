"""A call whose stream has many readers: who makes it sees one stream, which is over when all have left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from llmgine.actors.link import Identity, LinkError, Stream, StreamReset
from llmgine.actors.pools.caching.answers import Saved, is_last, told_again
from llmgine.actors.pools.caching.flight import Flight, Reader

# So many bytes who makes a call is ahead of its fastest reader.
_WINDOW: Final = 64 << 10


class Tee:
    """A `Flight` with those that wait for it.

    To who makes the call it is as much of a `Stream` as that needs: what is sent waits for the fastest
    reader, and nobody is left to send to once all have left.
    """

    def __init__(self, first: Stream, header: Any, max_bytes: int, over: Callable[[], None]) -> None:
        self.kind = first.kind
        self.header = header
        self.peer: Identity = first.peer
        self.saved = Saved()
        self._over = over  # called once, at the last message or where it breaks off
        self._flight = Flight(_WINDOW, max_bytes)
        self._moved = asyncio.Event()
        self._finished = False
        self._is_held = False  # whether the maker waits for readers

    # For readers.

    @property
    def heard(self) -> int:
        """Messages so far."""
        return self._flight.said

    @property
    def ended(self) -> bool:
        return self._flight.ended

    def join(self) -> Reader | None:
        return self._flight.join()

    def take(self, reader: Reader) -> Any:
        """The reader's next message, None where there is none now."""
        message = self._flight.take(reader)
        if self._is_held and message is not None:
            self.move()
        return message

    def leave(self, reader: Reader) -> None:
        self._flight.leave(reader)
        self.move()

    async def moved(self) -> None:
        """Waits until anything has changed."""
        await self._moved.wait()

    def move(self) -> None:
        """Wakes all that wait; each looks again by itself."""
        self._moved.set()
        self._moved.clear()

    # For who makes the call.

    @property
    def messages(self) -> list[Any] | None:
        """All that was said; None where it was more than is held."""
        return self._flight.messages if self._flight.is_whole else None

    @property
    def is_closed(self) -> bool:
        """Whether it is over, or all who read it have left before its end."""
        return self._finished or not (self._flight.ended or self._flight.readers)

    def try_send(self, message: Any, *, hold: bool = False) -> bool:
        if self._flight.ended:
            raise LinkError("this side of the stream is finished")
        if not self._flight.readers:
            raise StreamReset("cancelled", "all who read the call have left")
        if not self._flight.may_go_on:
            return False
        if is_last(message):
            again, self.saved = told_again(message)
            self._flight.end(message, again, _size(message))
            self._over()
        else:
            self._flight.add(message, _size(message))
        self.move()
        return True

    async def send(self, message: Any) -> None:
        while not self.try_send(message):
            self._is_held = True
            await self._moved.wait()
            self._is_held = False

    def flush(self) -> None:
        """Nothing is held back."""

    def finish(self) -> None:
        self._finished = True
        if not self._flight.ended:
            self._flight.stop()
            self._over()
        self.move()

    async def wait_closed(self) -> None:
        while not self.is_closed:
            await self._moved.wait()


def _size(message: Any) -> int:
    """About how many bytes its texts are."""
    return sum(len(one) for one in message if isinstance(one, str | bytes))
