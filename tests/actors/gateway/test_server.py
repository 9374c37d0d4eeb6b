"""The HTTP server under clients that mean no good, over real sockets."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from llmgine.actors.gateway import GatewayOptions, PortTaken
from llmgine.actors.gateway.app import app
from llmgine.actors.gateway.server import HttpServer, _GuardedProtocol
from llmgine.actors.gateway.tally import Tally
from tests.actors.gateway.fakes import FakePort

HEAD = b"POST /api/v1/approvals/a-1 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@asynccontextmanager
async def serving(application: Any = None, **options: Any) -> AsyncIterator[HttpServer]:
    given = GatewayOptions(port=0, **options)
    server = HttpServer(application or app(FakePort(), given), given)
    server.port = await server.start()  # type: ignore[attr-defined]
    try:
        yield server
    finally:
        await server.stop(1.0)


async def said(server: HttpServer, *pieces: bytes) -> tuple[int, dict[str, Any]]:
    """What the server answers to these bytes before it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)  # type: ignore[attr-defined]
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        async with asyncio.timeout(10):
            whole = await reader.read()
    finally:
        writer.close()
    head, _, body = whole.partition(b"\r\n\r\n")
    status = int(head.split()[1]) if head else 0
    return status, json.loads(body)["error"] if body else {}


@pytest.mark.parametrize(
    ("pieces", "status", "kind"),
    [
        ((b"GET /health HT",), 408, "too_slow"),
        ((b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-", b"A: b\r\n"), 408, "too_slow"),
        ((HEAD + b"Content-Length: 20\r\n\r\n{",), 408, "too_slow"),
        ((HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",), 408, "too_slow"),
    ],
)
async def test_whoever_drips_is_cut_off(pieces: tuple[bytes, ...], status: int, kind: str) -> None:
    """A head or a body that does not come to its end in time is answered so, and the connection ends."""
    async with serving(head_timeout=0.2, body_timeout=0.2) as server:
        answered, error = await said(server, *pieces)
    assert (answered, error["type"]) == (status, kind)


async def test_a_connection_that_asks_nothing_is_closed_without_a_word() -> None:
    """Browsers open some in advance, and take an answer for that of their next request."""
    async with serving(head_timeout=0.1) as server:
        assert await said(server) == (0, {})


@pytest.mark.parametrize(
    ("sent", "status", "kind"),
    [
        (b"nonsense\r\n\r\n", 400, "malformed_request"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "malformed_request"),
        (b"GET /\xff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400, "malformed_request"),
        (HEAD + b"Content-Length: -5\r\n\r\n", 400, "malformed_request"),
        (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400, "malformed_request"),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"x" * 4096 + b"\r\n\r\n", 431, "too_large"),
        (b"GET /" + b"x" * 4096, 431, "too_large"),
        (HEAD + b"Content-Length: 65\r\n\r\n" + b"x" * 65, 413, "too_large"),
        (HEAD + b"Content-Length: 99999999\r\n\r\n" + b"x" * 9, 413, "too_large"),
        (
            HEAD
            + b"Transfer-Encoding: chunked\r\n\r\n"
            + b"28\r\n"
            + b"x" * 40
            + b"\r\n28\r\n"
            + b"x" * 40
            + b"\r\n0\r\n\r\n",
            413,
            "too_large",
        ),
    ],
)
async def test_what_is_malformed_or_too_large_is_refused(sent: bytes, status: int, kind: str) -> None:
    """In the shape of all refusals, and the connection ends."""
    async with serving(max_head=1024, max_body=64) as server:
        answered, error = await said(server, sent)
    assert (answered, error["type"]) == (status, kind)


async def test_more_connections_than_there_may_be_are_refused() -> None:
    """Those that stand go on, and one that ends makes room."""
    async with serving(max_connections=2) as server:
        held = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2)]  # type: ignore[attr-defined]
        assert (await said(server))[0] == 503
        assert server.tally.counts["connections_refused"] == 1
        for _, writer in held:
            writer.write(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert [(await reader.read()).split()[1] for reader, _ in held] == [b"200", b"200"]
        for _, writer in held:
            writer.close()


async def test_who_does_not_read_is_dropped(eventually: Callable[..., Awaitable[Any]]) -> None:
    """An answer that stays unread is not kept for ever, and is counted."""

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            if server.tally.counts["slow_readers"]:
                return

    async with serving(endless, write_timeout=0.2) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1)  # type: ignore[attr-defined]
        writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await eventually(lambda: server.tally.counts["slow_readers"] == 1)
        writer.close()


class Slow:
    """Both the loop and the transport of a connection: what is unread, and what is waited for."""

    def __init__(self) -> None:
        self.unread = 0
        self.aborted = False
        self.timers: list[Callable[[], None]] = []

    def call_later(self, delay: float, then: Callable[[], None]) -> Any:
        self.timers.append(then)
        return asyncio.TimerHandle(delay, then, (), asyncio.get_running_loop())

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def get_write_buffer_size(self) -> int:
        return self.unread

    def abort(self) -> None:
        self.aborted = True


async def test_who_reads_slowly_is_not_dropped() -> None:
    """The time is for leaving it unread: whatever was read since begins it anew."""
    slow = Slow()
    made = type("Protocol", (_GuardedProtocol,), {"bounds": GatewayOptions(), "tally": Tally()})
    config = uvicorn.Config(app(FakePort(), GatewayOptions()), ws="none", log_config=None)
    protocol = made(config, ServerState(), {}, slow)
    protocol.connection_made(slow)
    slow.unread = 5_000_000
    protocol.pause_writing()
    for left in (4_900_000, 100_000, 99_999):
        slow.unread = left
        slow.timers.pop()()
        assert not slow.aborted
    slow.timers.pop()()
    assert slow.aborted
    assert protocol.tally.counts["slow_readers"] == 1


async def test_what_is_under_way_ends_before_the_server() -> None:
    """A stream that has begun is told to its end; nothing new is taken meanwhile."""
    begun, gate = asyncio.Event(), asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        begun.set()
        await gate.wait()
        await send({"type": "http.response.body", "body": b"the end"})

    async with serving(slow) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)  # type: ignore[attr-defined]
        writer.write(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await begun.wait()
        stopping = asyncio.create_task(server.stop(5.0))
        await asyncio.sleep(0)
        gate.set()
        await stopping
        assert (await reader.read()).endswith(b"the end\r\n0\r\n\r\n")
        with pytest.raises(OSError, match=r"Connect call failed|refused"):
            await asyncio.open_connection("127.0.0.1", server.port)  # type: ignore[attr-defined]
        writer.close()


async def test_a_port_that_is_taken_is_told() -> None:
    """With the setting that mends it; one that was not asked for gives way to a free one."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        server = HttpServer(None, GatewayOptions(port=taken))
        with pytest.raises(PortTaken, match=r"gateway\.port"):
            await server.start()


async def test_a_server_comes_back_on_the_port_that_it_had() -> None:
    """Also while connections of its former life are remembered."""
    async with serving() as first:
        port = first.port  # type: ignore[attr-defined]
        await said(
            first,
            b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".replace(
                b"/health", b"/none"
            ),
        )
    options = GatewayOptions(port=0)
    second = HttpServer(app(FakePort(), options), options)
    assert await second.start(port) == port
    await second.stop(1.0)
