"""What every transport promises."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

from llmgine.actors.link import (
    EndOfStream,
    Identity,
    LinkBroken,
    LinkError,
    NotSendable,
    RequestTimeout,
    Stream,
    StreamEmpty,
    StreamReset,
    request,
)

if TYPE_CHECKING:
    from tests.actors.link.conftest import Net, Until

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


async def test_messages_of_a_stream_arrive_in_order_in_both_directions(net: Net) -> None:
    """More messages than the window holds come back from an echo, each once and in order."""
    stream = (await net.pair({"echo": echo})).open("echo")

    async def send() -> None:
        for number in range(200):
            await stream.send(number)
        stream.finish()

    sending = asyncio.create_task(send())
    assert [message async for message in stream] == list(range(200))
    await sending


async def test_what_is_flushed_keeps_its_place(net: Net) -> None:
    """Flushing at any time, also twice or with nothing to send, changes neither order nor number."""
    stream = (await net.pair({"echo": echo})).open("echo")
    stream.flush()
    for number in range(4):
        assert stream.try_send(number)
        if number % 2:
            stream.flush()
            stream.flush()
    stream.finish()
    assert [message async for message in stream] == list(range(4))
    stream.flush()


async def test_any_msgpack_value_travels(net: Net) -> None:
    """Nested values, bytes, integer keys and None arrive as they were; tuples as lists, except in keys."""
    stream = (await net.pair({"echo": echo})).open("echo")
    value: dict[Any, Any] = {"a": [1, -2, 3.5, None, True], 7: b"\x00\xff", "text": "grüße", "deep": [[{}]]}
    await stream.send(value)
    assert await stream.receive() == value
    await stream.send((1, 2))
    assert await stream.receive() == [1, 2]
    await stream.send({(1, 2): [(3,)]})
    assert await stream.receive() == {(1, 2): [[3]]}


async def test_sides_share_no_object(net: Net) -> None:
    """Changing a message after it was sent changes nothing for the receiver."""
    stream = (await net.pair({"echo": echo})).open("echo")
    message = {"list": [1]}
    await stream.send(message)
    message["list"].append(2)
    assert await stream.receive() == {"list": [1]}


async def test_handler_sees_kind_header_and_who_opened(net: Net) -> None:
    """The handler has the kind, the header and the identity of the side that opened."""
    gate = Gate()
    connection = await net.pair({"work": gate})
    connection.open("work", {"turn": 1})
    stream = await gate.streams.get()
    assert (stream.kind, stream.header, stream.peer) == ("work", {"turn": 1}, Identity("client", "driver", 3))
    assert connection.peer == Identity("server", "actor", 7)
    gate.go_on.set()


async def test_the_listening_side_opens_streams_too(net: Net, until: Until) -> None:
    """A dialler that listens nowhere serves streams that the other side opens."""
    endpoint = await net.listen({})
    await net.dial(endpoint, {"ask": echo})
    await until(lambda: endpoint.connections)
    (connection,) = endpoint.connections
    stream = connection.open("ask")
    await stream.send("hello")
    assert await stream.receive() == "hello"


async def test_streams_do_not_wait_for_each_other(net: Net) -> None:
    """A stream whose consumer takes nothing does not delay its neighbours."""
    gate = Gate()
    connection = await net.pair({"stuck": gate, "echo": echo})
    stuck = connection.open("stuck")
    while stuck.try_send("x"):
        pass
    stream = connection.open("echo")
    await stream.send("y")
    assert await stream.receive() == "y"
    gate.go_on.set()


async def test_credit_in_messages_bounds_what_is_under_way(net: Net) -> None:
    """Without a consumer exactly one window of messages can be sent; consuming them gives credit back."""
    gate = Gate()
    stream = (await net.pair({"work": gate})).open("work")
    sent = 0
    while stream.try_send(sent):
        sent += 1
    assert sent == WINDOW
    theirs = await gate.streams.get()
    waiting = asyncio.create_task(stream.send("after"))
    await settle()
    assert not waiting.done()
    for number in range(WINDOW):
        assert await theirs.receive() == number
    await waiting
    assert await theirs.receive() == "after"
    gate.go_on.set()


async def test_credit_in_bytes_bounds_what_is_under_way(net: Net) -> None:
    """The message that crosses the byte limit still goes; the next waits until bytes are consumed."""
    gate = Gate()
    stream = (await net.pair({"work": gate})).open("work")
    assert stream.try_send(b"x" * 6000)
    assert not stream.try_send(b"y")
    theirs = await gate.streams.get()
    assert len(await theirs.receive()) == 6000
    await stream.ready()
    assert stream.try_send(b"y")
    gate.go_on.set()


async def test_a_cancelled_send_sends_nothing(net: Net) -> None:
    """A send that is cancelled while it waits for credit leaves no trace on the other side."""
    gate = Gate()
    stream = (await net.pair({"work": gate})).open("work")
    for number in range(WINDOW):
        await stream.send(number)
    waiting = asyncio.create_task(stream.send("cancelled"))
    await settle()
    waiting.cancel()
    theirs = await gate.streams.get()
    assert [await theirs.receive() for _ in range(WINDOW)] == list(range(WINDOW))
    await stream.send("next")
    assert await theirs.receive() == "next"
    gate.go_on.set()


async def test_a_cancelled_receive_loses_nothing(net: Net) -> None:
    """A receive that is cancelled leaves the next message to the next receive."""
    stream = (await net.pair({"echo": echo})).open("echo")
    waiting = asyncio.create_task(stream.receive())
    await settle()
    waiting.cancel()
    await stream.send("kept")
    assert await stream.receive() == "kept"


async def test_receive_nowait_gives_what_is_here(net: Net) -> None:
    """`receive_nowait` raises StreamEmpty when nothing is buffered, and gives a buffered message at once."""
    stream = (await net.pair({"echo": echo})).open("echo")
    with pytest.raises(StreamEmpty):
        stream.receive_nowait()
    await stream.send(1)
    await stream.send(2)
    assert await stream.receive() == 1
    while True:
        try:
            assert stream.receive_nowait() == 2
            break
        except StreamEmpty:
            await asyncio.sleep(0)


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


async def test_a_message_that_cannot_travel_harms_nothing(net: Net) -> None:
    """A value that is not msgpack or too large is refused at the sender; the stream goes on."""
    connection = await net.pair({"echo": echo})
    stream = connection.open("echo")
    for bad in (object(), {"x": {1, 2}}, 2**70, "\ud800"):
        with pytest.raises(NotSendable):
            stream.try_send(bad)
    with pytest.raises(NotSendable, match="max_frame_bytes"):
        await stream.send(b"x" * (64 * 1024))
    with pytest.raises(NotSendable):
        connection.open("echo", object())
    await stream.send(1)
    assert await stream.receive() == 1


async def test_the_number_of_open_streams_is_bounded(net: Net) -> None:
    """One more stream than allowed is refused at the opener; ending one makes room."""
    gate = Gate()
    connection = await net.pair({"work": gate})
    streams = [connection.open("work") for _ in range(16)]
    with pytest.raises(LinkError, match="max_streams"):
        connection.open("work")
    streams[0].reset("done")
    connection.open("work")
    gate.go_on.set()


async def test_many_dialers_reach_one_endpoint(net: Net) -> None:
    """Connections of one endpoint are apart from each other, are listed, and leave the list when they end."""
    endpoint = await net.listen({"echo": echo})
    connections = [await net.dial(endpoint) for _ in range(5)]
    for number, connection in enumerate(connections):
        stream = connection.open("echo")
        await stream.send(number)
        assert await stream.receive() == number
    assert len(endpoint.connections) == 5
    theirs = list(endpoint.connections)
    for connection in connections:
        connection.close()
    for connection in theirs:
        await connection.wait_closed()
    assert not endpoint.connections


async def test_a_later_listener_of_a_name_takes_it_over(net: Net) -> None:
    """A restarted actor listens under its name while its older copy still does, and outlives it."""

    async def second(stream: Stream) -> None:
        await stream.send("second")

    older = await net.listen({"echo": echo})
    newer = await net.listen({"which": second})
    await older.close()
    assert await request(await net.dial(newer), "which", timeout=5) == "second"


async def test_request_gives_the_one_answer(net: Net) -> None:
    """`request` opens a stream with the header, returns the first message, and leaves nothing open."""

    async def double(stream: Stream) -> None:
        await stream.send(stream.header * 2)

    connection = await net.pair({"double": double})
    for number in range(40):
        assert await request(connection, "double", number, timeout=5) == number * 2


async def test_request_raises_what_went_wrong(net: Net) -> None:
    """No answer in time, no answer at all, a reset and a break each raise their own error."""
    gate = Gate()

    async def silent(stream: Stream) -> None:
        return

    connection = await net.pair({"stuck": gate, "silent": silent})
    with pytest.raises(RequestTimeout, match="stuck"):
        await request(connection, "stuck", timeout=0.001)
    theirs = await gate.streams.get()
    await theirs.wait_closed()
    with pytest.raises(LinkError, match="without an answer"):
        await request(connection, "silent", timeout=5)
    with pytest.raises(StreamReset, match="unknown_kind"):
        await request(connection, "nonsense", timeout=5)
    asking = asyncio.create_task(request(connection, "stuck", timeout=5))
    await gate.streams.get()
    connection.close()
    with pytest.raises(LinkBroken):
        await asking
    gate.go_on.set()


async def test_dialling_nobody_is_a_clear_error(net: Net) -> None:
    """An address where nobody listens raises LinkError that names the actor."""
    endpoint = await net.listen({})
    await endpoint.close()
    with pytest.raises(LinkError, match="server"):
        await net.dial(endpoint)
