"""The load of model calls: an HTTP server that sends prepared OpenAI chat answers, in its own process.

The model's name says what comes: `burst-N` sends N chunks as fast as they are taken, `paced-N` sends
50 a second. The text of a paced chunk is the time at which it was due (nanoseconds of the monotonic
clock, 16 hexadecimal digits), so its reader can tell how late it is, the server's own delay included.
Who does not ask for a stream gets the text of a burst in one piece.
It notes when a connection is closed in the midst of an answer, and tells the time when it is asked.
"""

from __future__ import annotations

import asyncio
import heapq
import re
import time
from typing import Final, cast

from benchmarks.child import Control
from benchmarks.load import NS_PER_S

RATE: Final = 50

_STEP: Final = NS_PER_S // RATE
_PATIENCE: Final = 5.0  # for a connection to be closed
_BLOCK: Final = 16  # chunks of a burst per write, as a fast server's arrive
_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
    b"cache-control: no-cache\r\n\r\n"
)
_MODEL: Final = re.compile(rb'"model"\s*:\s*"(burst|paced)-(\d+)"')
_STREAM: Final = re.compile(rb'"stream"\s*:\s*true')
_LENGTH: Final = re.compile(rb"content-length:\s*(\d+)", re.IGNORECASE)


def _event(body: bytes) -> bytes:
    data = b"data: " + body + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


def _chunk(delta: bytes, finish: bytes = b"null") -> bytes:
    return _event(
        b'{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"bench",'
        b'"choices":[{"index":0,"delta":%s,"finish_reason":%s}]}' % (delta, finish)
    )


def _text(text: bytes) -> bytes:
    return _chunk(b'{"content":"%s"}' % text)


_FIRST: Final = _chunk(b'{"role":"assistant","content":""}')
_LAST: Final = (
    _chunk(b"{}", b'"stop"')
    + _event(
        b'{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,"model":"bench",'
        b'"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":9,"total_tokens":18}}'
    )
    + _event(b"[DONE]")
    + b"0\r\n\r\n"
)
_BURST: Final = _text(b"0" * 16)
# A paced chunk is these two with 16 digits between: its length never changes.
_BEFORE, _AFTER = _BURST.split(b"0" * 16)


def _whole(count: int) -> bytes:
    """A burst for who does not stream."""
    body = (
        b'{"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"bench","choices":'
        b'[{"index":0,"message":{"role":"assistant","content":"%s"},"finish_reason":"stop"}],'
        b'"usage":{"prompt_tokens":9,"completion_tokens":9,"total_tokens":18}}' % (b"0" * 16 * count)
    )
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )


class Ticker:
    """Sends each paced chunk when it is due."""

    def __init__(self) -> None:
        self._due: list[tuple[int, int, Connection, int]] = []
        self._order = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, connection: Connection, due: int, left: int) -> None:
        self._order += 1
        heapq.heappush(self._due, (due, self._order, connection, left))
        if self._timer is None:
            self._set()

    def _set(self) -> None:
        wait = max(0, self._due[0][0] - time.monotonic_ns()) / NS_PER_S
        self._timer = asyncio.get_running_loop().call_later(wait, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = time.monotonic_ns()
        while self._due and self._due[0][0] <= now:
            due, _, connection, left = heapq.heappop(self._due)
            connection.paced(due, left, self)
        if self._due and self._timer is None:
            self._set()


class Connection(asyncio.Protocol):
    """One HTTP connection; requests on it come one after the other."""

    def __init__(self, ticker: Ticker, broken: asyncio.Queue[int]) -> None:
        self._ticker = ticker
        self._broken = broken
        self._answering = False
        self._held = b""
        self._burst: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()
        if self._answering:
            self._broken.put_nowait(time.monotonic_ns())

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._held += data
        head, found, body = self._held.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not found or len(body) < (int(length[1]) if length else 0):
            return
        self._held = b""
        self._answer(body)

    def _answer(self, body: bytes) -> None:
        model = _MODEL.search(body)
        if model is None:
            self._transport.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            return
        kind, count = model[1], int(model[2])
        if not _STREAM.search(body):
            self._transport.write(_whole(count))
            return
        self._answering = True
        self._transport.write(_HEAD + _FIRST)
        if kind == b"paced":
            self._ticker.add(self, time.monotonic_ns(), count)
        else:
            self._burst = asyncio.get_running_loop().create_task(self._send(count))

    async def _send(self, count: int) -> None:
        while count and not self._transport.is_closing():
            block = min(count, _BLOCK)
            self._transport.write(_BURST * block)
            count -= block
            await self._writable.wait()
        self._end()

    def paced(self, due: int, left: int, ticker: Ticker) -> None:
        """Sends the chunk that was due, and asks for the next one's time."""
        if self._transport.is_closing():
            return
        if left == 0:
            self._end()
            return
        self._transport.write(b"%s%016x%s" % (_BEFORE, due, _AFTER))
        ticker.add(self, due + _STEP, left - 1)

    def _end(self) -> None:
        self._answering = False
        self._transport.write(_LAST)


async def serve(control: Control) -> None:
    """Answers with its URL, and whenever it is asked with its CPU time or when an answer was broken off."""
    ticker = Ticker()
    broken: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(ticker, broken), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    control.answer(url=f"http://127.0.0.1:{port}/v1")
    while (message := await control.read()) is not None:
        if message.get("about") == "broken":
            control.answer(at=await _next(broken))
        else:
            control.answer(cpu=time.process_time(), wall=time.monotonic())
    server.close()


async def _next(broken: asyncio.Queue[int]) -> int | None:
    try:
        async with asyncio.timeout(_PATIENCE):
            return await broken.get()
    except TimeoutError:
        return None
