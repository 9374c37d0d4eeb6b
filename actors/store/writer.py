"""One writer at the store: its stream, and what is still to be said on it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

from llmgine.actors.link import Identity, LinkError, Stream
from llmgine.actors.store import wire
from llmgine.actors.store.errors import StoreError


class Writer:
    """One stream of one writer, and what is still to be said on it."""

    def __init__(self, stream: Stream, name: str) -> None:
        self.name = name
        self.peer: Identity = stream.peer
        self._stream = stream
        self._unsaid: deque[list[Any]] = deque()
        self._waiting: asyncio.Task[None] | None = None

    def replaced(self) -> None:
        """Another has taken this one's place."""
        self._stream.reset("replaced", "a newer stream, or a newer life of this process, writes now")

    def refuse(self, ticket: int, error: StoreError) -> None:
        self.tell([wire.REFUSED, ticket, error.code, str(error)])

    def tell(self, message: list[Any]) -> None:
        """Say it now, or as soon as there is credit; nothing is said on a stream that has broken."""
        if self._unsaid and self._unsaid[-1][0] == message[0] == wire.ACK:
            self._unsaid.pop()
        self._unsaid.append(message)
        if self._waiting is None:
            self._say()

    def close(self) -> None:
        self._unsaid.clear()
        if self._waiting is not None:
            self._waiting.cancel()

    def _say(self) -> None:
        self._waiting = None
        try:
            while self._unsaid and self._stream.try_send(self._unsaid[0]):
                self._unsaid.popleft()
            self._stream.flush()
        except LinkError:
            self._unsaid.clear()
        if self._unsaid:
            self._waiting = asyncio.create_task(self._when_ready(), name=f"answer {self.name}")

    async def _when_ready(self) -> None:
        try:
            await self._stream.ready()
        except LinkError:
            self._unsaid.clear()
        self._say()
