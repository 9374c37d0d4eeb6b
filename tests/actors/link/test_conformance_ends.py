"""What every transport promises of the ends of streams, links and endpoints."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

import pytest

from llmgine.actors.link import EndOfStream, LinkBroken, LinkError, Stream, StreamReset
from tests.actors.link.handlers import WINDOW, Gate, echo, settle

if TYPE_CHECKING:
    from tests.actors.link.conftest import Net, Until


async def test_half_close_lets_the_other_direction_go_on(net: Net) -> None:
    """After finish() the peer's messages still arrive, and sending here is refused."""

    async def collect(stream: Stream) -> None:
        await stream.send(sum([number async for number in stream]))

    stream = (await net.pair({"sum": collect})).open("sum")
    for number in range(5):
        await stream.send(number)
    stream.finish()
    stream.finish()
    with pytest.raises(LinkError, match="finished"):
        stream.try_send(5)
    assert await stream.receive() == 10
    with pytest.raises(EndOfStream):
        await stream.receive()
    with pytest.raises(EndOfStream):
        stream.receive_nowait()
    assert stream.is_closed
    await stream.wait_closed()


async def test_a_returning_handler_ends_the_stream(net: Net) -> None:
    """What the handler sent arrives, then the end; sending to it is a reset with code `closed`."""

    async def once(stream: Stream) -> None:
        await stream.send("only")

    stream = (await net.pair({"once": once})).open("once")
    await stream.wait_closed()
    with pytest.raises(StreamReset) as refused:
        stream.try_send("late")
    assert refused.value.code == "closed"
    assert [message async for message in stream] == ["only"]


async def test_an_unknown_kind_is_a_reset_that_lists_what_is_served(net: Net) -> None:
    """Opening a kind that nobody serves resets that stream only."""
    connection = await net.pair({"echo": echo})
    stream = connection.open("nonsense")
    with pytest.raises(StreamReset, match=r"unknown_kind.*echo"):
        await stream.receive()
    assert not connection.is_closed


async def test_a_failing_handler_is_a_reset_with_its_text(net: Net, caplog: pytest.LogCaptureFixture) -> None:
    """An exception that escapes a handler resets the stream with code `error` and is logged."""

    async def fail(stream: Stream) -> None:
        raise ValueError("the reason")

    connection = await net.pair({"fail": fail, "echo": echo})
    with caplog.at_level(logging.ERROR), pytest.raises(StreamReset, match="ValueError: the reason") as reset:
        await connection.open("fail").receive()
    assert reset.value.code == "error"
    assert "failed" in caplog.text
    stream = connection.open("echo")
    await stream.send(1)
    assert await stream.receive() == 1


async def test_a_handler_chooses_its_code(net: Net) -> None:
    """A StreamReset raised by a handler keeps its code and reason."""

    async def refuse(stream: Stream) -> None:
        raise StreamReset("busy", "try another")

    with pytest.raises(StreamReset) as reset:
        await (await net.pair({"refuse": refuse})).open("refuse").receive()
    assert (reset.value.code, reset.value.reason) == ("busy", "try another")


async def test_a_reset_by_the_opener_reaches_the_handler(net: Net) -> None:
    """Pending and later operations of both sides raise the reset; what was buffered is dropped."""
    seen: asyncio.Queue[Exception] = asyncio.Queue()
    inside = asyncio.Event()

    async def wait(stream: Stream) -> None:
        inside.set()
        try:
            await stream.receive()
        except StreamReset as reset:
            seen.put_nowait(reset)
            raise

    stream = (await net.pair({"wait": wait})).open("wait")
    await inside.wait()
    stream.reset("cancelled", "no longer wanted")
    stream.reset("again")
    reset = await seen.get()
    assert isinstance(reset, StreamReset)
    assert (reset.code, reset.reason) == ("cancelled", "no longer wanted")
    with pytest.raises(StreamReset, match="cancelled"):
        await stream.receive()
    with pytest.raises(StreamReset, match="cancelled"):
        await stream.send(1)


async def test_a_reset_by_the_handler_reaches_a_waiting_sender(net: Net) -> None:
    """A sender that waits for credit gets the peer's reset."""
    gate = Gate()
    stream = (await net.pair({"work": gate})).open("work")
    for number in range(WINDOW):
        await stream.send(number)
    waiting = asyncio.create_task(stream.send("more"))
    readying = asyncio.create_task(stream.ready())
    (await gate.streams.get()).reset("full")
    for task in (waiting, readying):
        with pytest.raises(StreamReset, match="full"):
            await task
    gate.go_on.set()


async def test_closing_breaks_every_stream_on_both_sides(net: Net) -> None:
    """After close() all streams of both sides raise LinkBroken, and nothing more can be opened."""
    gate = Gate()
    connection = await net.pair({"work": gate})
    stream = connection.open("work")
    theirs = await gate.streams.get()
    receiving = asyncio.create_task(stream.receive())
    await settle()
    connection.close()
    connection.close()
    with pytest.raises(LinkBroken):
        await receiving
    with pytest.raises(LinkBroken):
        stream.try_send(1)
    with pytest.raises(LinkBroken):
        await theirs.receive()
    with pytest.raises(LinkBroken):
        connection.open("work")
    await connection.wait_closed()
    assert connection.is_closed
    assert stream.is_closed
    assert theirs.is_closed
    gate.go_on.set()


async def test_what_arrived_before_a_break_can_still_be_received(net: Net) -> None:
    """Messages that had arrived are given out before LinkBroken is raised; a finished stream ends as such."""

    async def burst(stream: Stream) -> None:
        await stream.send(1)
        await stream.send(2)
        if stream.header == "finish":
            stream.finish()
        await stream.wait_closed()

    endpoint = await net.listen({"burst": burst})
    connection = await net.dial(endpoint)
    cut, whole = connection.open("burst"), connection.open("burst", "finish")
    assert await cut.receive() == 1
    assert await whole.receive() == 1
    await endpoint.close()
    await connection.wait_closed()
    assert await cut.receive() == 2
    with pytest.raises(LinkBroken):
        await cut.receive()
    assert [message async for message in whole] == [2]


async def test_closing_the_endpoint_ends_its_handlers(net: Net) -> None:
    """When close() returns the connections are broken and no handler runs any more."""
    gate = Gate()
    endpoint = await net.listen({"work": gate})
    connection = await net.dial(endpoint)
    connection.open("work")
    await gate.streams.get()
    await endpoint.close()
    assert isinstance(gate.ended.get_nowait(), asyncio.CancelledError)
    assert not endpoint.connections
    await connection.wait_closed()
    with pytest.raises(LinkError):
        await net.dial(endpoint)


async def test_the_dialler_sees_its_handlers_cancelled_when_it_closes(net: Net, until: Until) -> None:
    """close() of the side that dialled cancels the handlers that run for the other side's streams."""
    gate = Gate()
    endpoint = await net.listen({})
    connection = await net.dial(endpoint, {"work": gate})
    await until(lambda: endpoint.connections)
    next(iter(endpoint.connections)).open("work")
    await gate.streams.get()
    connection.close()
    assert isinstance(await gate.ended.get(), asyncio.CancelledError)
