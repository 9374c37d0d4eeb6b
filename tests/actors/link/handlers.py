"""Handlers of streams that the tests of transports share."""

from __future__ import annotations

import asyncio

from llmgine.actors.link import Stream

WINDOW = 8


async def echo(stream: Stream) -> None:
    async for message in stream:
        await stream.send(message)


class Gate:
    """A handler that says when it is inside, and stays until it is let go."""

    def __init__(self) -> None:
        self.streams: asyncio.Queue[Stream] = asyncio.Queue()
        self.go_on = asyncio.Event()
        self.ended: asyncio.Queue[BaseException | None] = asyncio.Queue()

    async def __call__(self, stream: Stream) -> None:
        self.streams.put_nowait(stream)
        try:
            await self.go_on.wait()
        except BaseException as error:
            self.ended.put_nowait(error)
            raise
        self.ended.put_nowait(None)


async def settle() -> None:
    """Let what is under way inside this loop arrive."""
    for _ in range(20):
        await asyncio.sleep(0)
