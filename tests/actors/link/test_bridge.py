"""Links in a thread of their own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from llmgine.actors.link import (
    BridgedTransport,
    Identity,
    LinkBroken,
    LinkError,
    LinkOptions,
    LinkThread,
    SocketTransport,
    Stream,
)
from llmgine.actors.link import bridge as bridge_module
from llmgine.actors.link.endpoint import LinkEndpoint
from llmgine.actors.link.thread import Crossing

SECRET = b"s" * 32
US = Identity("driver", "driver")
SERVER = Identity("server", "actor")
QUICK = LinkOptions(ping_idle=0.05, silence_limit=0.25, window_messages=8)


async def echo(stream: Stream) -> None:
    async for message in stream:
        await stream.send(message)


class FarServer:
    """An endpoint in a thread of its own, so that it goes on while the test's loop is held up."""

    def __init__(self, folder: Path) -> None:
        self.make: Callable[[], SocketTransport] = lambda: SocketTransport(SECRET, "n", folder, options=QUICK)
        self.thread = LinkThread("far-server")
        self.endpoint: LinkEndpoint = self.thread.submit(
            self.make().listen(SERVER, {"echo": echo, "count": self.count})
        ).result(5)
        self.arrived = 0
        self.ended = threading.Event()

    async def count(self, stream: Stream) -> None:
        try:
            async for _ in stream:
                self.arrived += 1
        finally:
            self.ended.set()

    def close(self) -> None:
        self.thread.submit(self.endpoint.close()).result(5)
        self.thread.stop()
        self.thread.join(5)


@pytest.fixture
async def server(folder: Path) -> AsyncIterator[FarServer]:
    far = FarServer(folder)
    yield far
    far.close()


async def test_the_thread_answers_while_the_callers_loop_is_held_up(server: FarServer) -> None:
    """Blocking the caller's loop for longer than the silence limit does not cost the connection."""
    transport = BridgedTransport(server.make)
    connection = await transport.dial(server.endpoint.address, US)
    stream = connection.open("echo")
    await stream.send(1)
    assert await stream.receive() == 1
    time.sleep(0.6)  # noqa: ASYNC251 -- holding up the loop is what is tested
    await stream.send(2)
    assert await stream.receive() == 2
    await transport.close()


async def test_credit_comes_back_only_when_the_caller_consumes(server: FarServer) -> None:
    """The thread takes what arrives, but the peer may not send more than the window until it is consumed."""
    transport = BridgedTransport(server.make)
    connection = await transport.dial(server.endpoint.address, US)
    stream = connection.open("echo")
    for number in range(8):
        await stream.send(number)
    await stream.ready()
    for number in range(8, 12):
        await stream.send(number)
    for number in range(12):
        assert await stream.receive() == number
    await transport.close()


async def test_handlers_run_on_the_callers_loop(server: FarServer) -> None:
    """A stream that the far side opens is served in the caller's thread."""
    where: asyncio.Queue[threading.Thread] = asyncio.Queue()

    async def handler(stream: Stream) -> None:
        where.put_nowait(threading.current_thread())

    transport = BridgedTransport(server.make)
    connection = await transport.dial(server.endpoint.address, US, {"call": handler})
    stream = connection.open("echo")
    await stream.send(1)
    await stream.receive()

    async def call() -> None:
        for theirs in server.endpoint.connections:
            theirs.open("call")

    server.thread.submit(call())
    assert await asyncio.wait_for(where.get(), 5) is threading.current_thread()
    await transport.close()


async def test_close_ends_the_thread_and_what_it_carried(server: FarServer) -> None:
    """After close() the thread is gone, streams raise LinkBroken, the far side has seen the end."""
    before = set(threading.enumerate())
    transport = BridgedTransport(server.make)
    connection = await transport.dial(server.endpoint.address, US)
    stream = connection.open("count")
    await stream.send(1)
    (thread,) = set(threading.enumerate()) - before
    await transport.close()
    assert not thread.is_alive()
    with pytest.raises(LinkBroken):
        await stream.receive()
    assert await asyncio.to_thread(server.ended.wait, 5)
    with pytest.raises(LinkBroken, match="closed"):
        await transport.dial(server.endpoint.address, US)
    await transport.close()


async def test_what_was_written_before_close_is_sent(server: FarServer) -> None:
    """Messages that were accepted before close() reach the peer."""
    transport = BridgedTransport(server.make)
    connection = await transport.dial(server.endpoint.address, US)
    stream = connection.open("count")
    for number in range(5):
        assert stream.try_send(number)
    connection.close()
    await transport.close()
    assert await asyncio.to_thread(server.ended.wait, 5)
    assert server.arrived == 5


async def test_a_break_by_the_far_side_crosses(server: FarServer) -> None:
    """When the endpoint closes, the caller's streams raise LinkBroken."""
    transport = BridgedTransport(server.make)
    connection = await transport.dial(server.endpoint.address, US)
    stream = connection.open("echo")
    await stream.send(1)
    assert await stream.receive() == 1
    server.thread.submit(server.endpoint.close())
    with pytest.raises(LinkBroken):
        await stream.receive()
    await connection.wait_closed()
    with pytest.raises(LinkError, match="server"):
        await transport.dial(server.endpoint.address, US)
    await transport.close()


def test_a_loop_that_was_closed_ends_its_links(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller whose loop ended without close() is gone for its peers, and its thread ends."""
    monkeypatch.setattr(bridge_module, "ORPHAN_CHECK", 0.01)
    server = FarServer(folder)
    before = set(threading.enumerate())
    kept: list[Any] = []

    async def main() -> None:
        transport = BridgedTransport(server.make)
        connection = await transport.dial(server.endpoint.address, US)
        stream = connection.open("count")
        await stream.send(1)
        kept.extend([transport, connection, stream, *(set(threading.enumerate()) - before)])

    asyncio.run(main())
    assert server.ended.wait(5)
    thread = kept[-1]
    thread.join(5)
    assert not thread.is_alive()
    server.close()


async def test_a_cancelled_dial_leaves_nothing_behind(server: FarServer) -> None:
    """Cancelling a dial at any of its steps leaves no connection in the thread."""
    transport = BridgedTransport(server.make)
    for steps in range(12):
        dial = asyncio.create_task(transport.dial(server.endpoint.address, US))
        for _ in range(steps):
            await asyncio.sleep(0)
        dial.cancel()
        try:
            (await dial).close()
        except asyncio.CancelledError:
            pass
    await asyncio.wait_for(transport.close(), 5)


async def test_one_transport_serves_one_loop(server: FarServer) -> None:
    """Using it from a second loop is refused with what to do instead."""
    transport = BridgedTransport(server.make)
    await transport.dial(server.endpoint.address, US)

    def elsewhere() -> None:
        asyncio.run(transport.dial(server.endpoint.address, US))

    with pytest.raises(LinkError, match="one loop"):
        await asyncio.to_thread(elsewhere)
    await transport.close()


async def test_calls_cross_in_order_with_one_wake_up_per_batch() -> None:
    """All calls that gather are taken in one turn of the other loop; a failing one harms no other."""
    loop = asyncio.get_running_loop()
    seen: list[int] = []

    def take(number: int) -> None:
        if number == 5:
            raise ValueError("five")
        seen.append(number)

    crossing = Crossing(loop, lambda: None)
    for number in range(10):
        crossing.give(take, number)
    assert seen == []
    await asyncio.sleep(0)
    assert seen == [0, 1, 2, 3, 4, 6, 7, 8, 9]


def test_a_dead_loop_is_reported_once() -> None:
    """Giving to a closed loop calls on_dead once and holds nothing."""
    loop = asyncio.new_event_loop()
    loop.close()
    deaths: list[int] = []
    crossing = Crossing(loop, lambda: deaths.append(1))
    for number in range(3):
        crossing.give(print, number)
    assert deaths == [1]


def test_a_thread_that_ended_refuses_work() -> None:
    """Submitting to a stopped thread is LinkBroken; stopping it again does nothing."""
    thread = LinkThread()
    thread.stop()
    thread.join(5)
    thread.stop()

    async def nothing() -> None:
        return

    with pytest.raises(LinkBroken):
        thread.submit(nothing())
