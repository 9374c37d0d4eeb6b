"""What every transport promises."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from llmgine.actors.link import (
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
from tests.actors.link.handlers import WINDOW, Gate, echo, settle

if TYPE_CHECKING:
    from tests.actors.link.conftest import Net, Until


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
