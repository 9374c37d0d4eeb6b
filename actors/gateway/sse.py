"""Server-sent events: one frame a value, heartbeats while there is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from pydantic_core import to_json
from starlette.responses import Response

# Seconds without an event after which a comment keeps proxies from closing the connection.
HEARTBEAT = 15.0


def frame(event: str, data: Any) -> bytes:
    """One event with its data as JSON."""
    return b"event: %s\ndata: %s\n\n" % (event.encode(), to_json(data))


class EventAnswer(Response):
    """A response whose body is the frames that an iterator yields; closing the connection closes it."""

    media_type = "text/event-stream"

    def __init__(self, frames: AsyncIterator[bytes], *, heartbeat: float = HEARTBEAT) -> None:
        self._frames = frames
        self._heartbeat = heartbeat
        self.status_code = 200
        self.background = None
        self.init_headers({"cache-control": "no-store", "x-accel-buffering": "no"})
        self.raw_headers = [one for one in self.raw_headers if one[0] != b"content-length"]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        writing = asyncio.create_task(self._write(send))
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait({writing, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            writing.cancel()
            results = await asyncio.gather(writing, gone, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]

    async def _write(self, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        waiting: asyncio.Future[bytes] | None = None
        try:
            while True:
                waiting = waiting or asyncio.ensure_future(anext(self._frames))
                done, _ = await asyncio.wait({waiting}, timeout=self._heartbeat)
                if not done:
                    await send({"type": "http.response.body", "body": b": alive\n\n", "more_body": True})
                    continue
                ready, waiting = waiting, None
                try:
                    piece = ready.result()
                except StopAsyncIteration:
                    break
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            if waiting is not None:
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)
            close = getattr(self._frames, "aclose", None)
            if close is not None:
                await close()


async def _disconnected(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
