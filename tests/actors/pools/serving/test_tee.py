"""One stream for who makes a call, and many readers behind it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from llmgine.actors.link import Identity, LinkError, Stream, StreamReset
from llmgine.actors.pools import wire
from llmgine.actors.pools.serving.tee import Tee

LAST = [wire.FAILED, "InvalidRequest", "no"]


class Counted:
    def __init__(self) -> None:
        self.over = 0
        first = SimpleNamespace(kind=wire.LLM_STREAM, peer=Identity("caller", "session"))
        self.tee = Tee(cast("Stream", first), ["header"], 1 << 20, self.count)

    def count(self) -> None:
        self.over += 1


@pytest.fixture
def call() -> Counted:
    return Counted()


def joined(tee: Tee) -> Any:
    reader = tee.join()
    assert reader is not None
    return reader


async def closing(tee: Tee) -> asyncio.Task[None]:
    waiting = asyncio.create_task(tee.wait_closed())
    await asyncio.sleep(0)
    return waiting


async def test_who_makes_the_call_is_told_when_all_have_left(call: Counted) -> None:
    """It has nobody to send to any more."""
    one, other = joined(call.tee), joined(call.tee)
    closed = await closing(call.tee)
    call.tee.leave(one)
    await asyncio.sleep(0)
    assert not closed.done()
    call.tee.leave(other)
    await closed
    with pytest.raises(StreamReset):
        call.tee.try_send([wire.ACCEPTED, 1])


async def test_a_call_that_was_heard_to_its_end_is_not_given_up(call: Counted) -> None:
    """Whoever makes it may have to tidy up after the last word, though all who read it have left."""
    reader = joined(call.tee)
    call.tee.try_send(LAST)
    assert call.tee.take(reader) == LAST
    call.tee.leave(reader)
    closed = await closing(call.tee)
    assert not closed.done()
    call.tee.finish()
    await closed
    assert call.over == 1


async def test_what_breaks_off_is_over_once(call: Counted) -> None:
    """Nothing can follow it."""
    joined(call.tee)
    call.tee.try_send([wire.ACCEPTED, 1])
    call.tee.finish()
    call.tee.finish()
    assert call.over == 1
    with pytest.raises(LinkError):
        call.tee.try_send(LAST)


async def test_sending_waits_for_the_fastest_reader(call: Counted) -> None:
    """And goes on as soon as that has taken something."""
    fast, slow = joined(call.tee), joined(call.tee)
    large = [0, 0, "x" * 70_000]
    await call.tee.send(large)
    sending = asyncio.create_task(call.tee.send(large))
    await asyncio.sleep(0)
    assert not sending.done()
    assert call.tee.take(fast) == large
    await sending
    assert call.tee.take(slow) == large
