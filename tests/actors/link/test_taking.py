"""Messages that are taken as they arrive: the same on every transport."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from llmgine.actors.link import LinkBroken, Stream, StreamReset

if TYPE_CHECKING:
    from tests.actors.link.conftest import Net, Until

WINDOW = 8


class Taker:
    """A handler that notes what it is given, where rests are, and how it ended."""

    def __init__(self, fail: Callable[[Any], bool] = lambda message: False) -> None:
        self.noted: list[Any] = []
        self.stream: Stream | None = None
        self.ended: list[str] = []
        self._fail = fail

    async def __call__(self, stream: Stream) -> None:
        self.stream = stream
        try:
            await stream.each(self.take, self.rest)
        except Exception as error:
            self.ended.append(type(error).__name__)
            raise
        self.ended.append("finished")

    def take(self, message: Any) -> None:
        if self._fail(message):
            raise StreamReset("enough", f"{message} is too much")
        self.noted.append(message)

    def rest(self) -> None:
        self.noted.append("rest")

    @property
    def taken(self) -> list[Any]:
        return [message for message in self.noted if message != "rest"]


async def test_every_message_is_taken_once_and_in_order(net: Net, until: Until) -> None:
    """More messages than the window holds are taken, for taking gives the credit back."""
    taker = Taker()
    stream = (await net.pair({"work": taker})).open("work")
    for number in range(10 * WINDOW):
        await stream.send(number)
    stream.finish()
    await until(lambda: taker.ended)
    assert (taker.taken, taker.ended) == (list(range(10 * WINDOW)), ["finished"])


async def test_a_rest_follows_what_came_together(net: Net, until: Until) -> None:
    """After the last of one arrival, and after what had come before the first was taken."""
    taker = Taker()
    stream = (await net.pair({"work": taker})).open("work")
    await until(lambda: taker.noted)
    assert taker.noted == ["rest"]
    for number in range(3):
        assert stream.try_send(number)
    await until(lambda: taker.noted[-1] == "rest" and len(taker.taken) == 3)
    assert taker.noted == ["rest", 0, 1, 2, "rest"]
    stream.reset("left")


async def test_what_has_come_already_is_taken_first(net: Net, until: Until) -> None:
    """A stream that was not read from the beginning loses nothing, also after its end."""
    streams: asyncio.Queue[Stream] = asyncio.Queue()
    go_on = asyncio.Event()

    async def keep(stream: Stream) -> None:
        streams.put_nowait(stream)
        await go_on.wait()

    stream = (await net.pair({"work": keep})).open("work")
    for number in range(3):
        await stream.send(number)
    stream.finish()
    theirs = await streams.get()
    assert await theirs.receive() == 0
    taken: list[Any] = []
    await theirs.each(taken.append)
    assert taken == [1, 2]
    go_on.set()


async def test_what_the_taker_raises_ends_its_stream_only(net: Net, until: Until) -> None:
    """It reaches whoever waits, nothing more is taken, and other streams of the connection go on."""
    failing, other = Taker(lambda message: message == 2), Taker()
    connection = await net.pair({"failing": failing, "other": other})
    first, second = connection.open("failing"), connection.open("other")
    for number in range(5):
        assert first.try_send(number)
        assert second.try_send(number)
    with pytest.raises(StreamReset, match="2 is too much"):
        await first.receive()
    await until(lambda: len(other.taken) == 5)
    assert (failing.taken, failing.ended) == ([0, 1], ["StreamReset"])
    second.reset("left")


async def test_a_rest_that_raises_ends_the_stream(net: Net) -> None:
    """As a taker that raises."""

    async def work(stream: Stream) -> None:
        taken: list[Any] = []

        def rest() -> None:
            if taken:
                raise StreamReset("enough", "no rest")

        await stream.each(taken.append, rest)

    stream = (await net.pair({"work": work})).open("work")
    await stream.send(1)
    with pytest.raises(StreamReset, match="no rest"):
        await stream.receive()


async def test_a_break_ends_the_taking(net: Net, until: Until) -> None:
    """The taker's side learns of it as a reader does."""
    taker = Taker()
    connection = await net.pair({"work": taker})
    stream = connection.open("work")
    await stream.send(1)
    await until(lambda: taker.taken)
    connection.close()
    await until(lambda: taker.ended)
    assert taker.ended == [LinkBroken.__name__]


async def test_a_cancelled_taking_leaves_the_rest_to_others(net: Net, until: Until) -> None:
    """What comes after it waits to be received, and counts against the window."""
    streams: asyncio.Queue[Stream] = asyncio.Queue()
    go_on = asyncio.Event()

    async def keep(stream: Stream) -> None:
        streams.put_nowait(stream)
        await go_on.wait()

    stream = (await net.pair({"work": keep})).open("work")
    theirs = await streams.get()
    taken: list[Any] = []
    taking = asyncio.create_task(theirs.each(taken.append))
    await stream.send("taken")
    await until(lambda: taken)
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    sent = 0
    while stream.try_send(sent):
        sent += 1
    assert sent in (WINDOW - 1, WINDOW)
    assert [await theirs.receive() for _ in range(sent)] == list(range(sent))
    assert taken == ["taken"]
    go_on.set()
