"""The load server notes which answers were broken off."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

import pytest

from benchmarks import sse_server
from benchmarks.sse_server import Connection, Ticker


@pytest.fixture
async def broken() -> AsyncIterator[tuple[int, asyncio.Queue[int]]]:
    """A server's port, and the times at which answers of it were broken off."""
    ticker, times = Ticker(), asyncio.Queue[int]()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(ticker, times), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1], times
    server.close()


async def ask(port: int, model: str, until: bytes) -> asyncio.StreamWriter:
    """A connection on which an answer has come so far."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = b'{"model": "%s", "stream": true}' % model.encode()
    writer.write(b"POST /v1 HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
    await reader.readuntil(until)
    return writer


async def test_an_answer_that_is_broken_off_is_noted(broken: tuple[int, asyncio.Queue[int]]) -> None:
    """With the time at which its connection closed, by the clock that all processes share."""
    port, times = broken
    writer = await ask(port, "paced-10000", b'"content":"0')
    before = time.monotonic_ns()
    writer.close()
    assert before <= await times.get() <= time.monotonic_ns()


async def test_an_answer_that_came_to_its_end_is_not(broken: tuple[int, asyncio.Queue[int]]) -> None:
    """Its connection may close later on."""
    port, times = broken
    whole = await ask(port, "burst-3", b"[DONE]\n\n\r\n0\r\n\r\n")
    whole.close()
    (await ask(port, "paced-10000", b'"content":"0')).close()
    await times.get()
    assert times.empty()


async def test_a_connection_that_nobody_closes_is_told_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one who asks is not left waiting."""
    monkeypatch.setattr(sse_server, "_PATIENCE", 0.0)
    assert await sse_server._next(asyncio.Queue()) is None


async def test_who_does_not_stream_gets_the_same_text_whole(broken: tuple[int, asyncio.Queue[int]]) -> None:
    """In one body whose length is told, so that the connection can be used again."""
    reader, writer = await asyncio.open_connection("127.0.0.1", broken[0])
    for _ in range(2):
        writer.write(b'POST /v1 HTTP/1.1\r\ncontent-length: 20\r\n\r\n{"model": "burst-3" }')
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        answer = json.loads(await reader.readexactly(length))
        assert answer["choices"][0]["message"]["content"] == "0" * 48
    writer.close()
