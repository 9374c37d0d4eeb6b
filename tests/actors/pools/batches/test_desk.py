"""What a provider actor does with batches while it is to end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from llmgine.actors.link import Stream
from llmgine.actors.pools import wire as verdicts
from llmgine.actors.pools.batches import BatchDesk, wire
from llmgine.providers import LLMRequest, Message
from llmgine.providers.options import ProvidersOptions
from llmgine.providers.provider import Batches
from llmgine.providers.scripted.provider import ScriptedProvider

REQUEST = LLMRequest(model="scripted/echo", messages=(Message.user("a"),)).model_dump_json().encode()


class Line:
    """A stream whose caller is the test."""

    def __init__(self, *header: Any) -> None:
        self.header = header
        self.given: asyncio.Queue[list[Any]] = asyncio.Queue()
        self.said: asyncio.Queue[list[Any]] = asyncio.Queue()
        self.finished = asyncio.Event()

    async def send(self, message: list[Any]) -> None:
        self.said.put_nowait(message)

    def try_send(self, message: list[Any]) -> bool:
        self.said.put_nowait(message)
        return True

    async def receive(self) -> list[Any]:
        return await self.given.get()

    async def wait_closed(self) -> None:
        await asyncio.Event().wait()

    def finish(self) -> None:
        self.finished.set()


@pytest.fixture
def desk() -> BatchDesk:
    """Of an actor that carries three calls."""
    provider = ScriptedProvider("scripted", ProvidersOptions())

    @asynccontextmanager
    async def opened(model: str, key: str) -> AsyncGenerator[Batches, None]:
        yield provider.batches(model)

    return BatchDesk(opened, lambda: 3)


async def test_a_batch_of_which_nothing_is_left_is_over(desk: BatchDesk) -> None:
    """Once its caller knows that, nothing of it keeps the actor from its end."""
    line = Line("echo", "", "t")
    line.given.put_nowait([wire.ALL])
    await desk.handlers()[wire.SUBMIT](cast("Stream", line))
    assert [line.said.get_nowait()[0] for _ in range(3)] == [verdicts.ACCEPTED, wire.TAKES, wire.SEEN]
    assert line.finished.is_set()
    await desk.ended()


async def test_a_batch_that_is_being_made_is_finished(desk: BatchDesk) -> None:
    """The desk takes no more from then on, and says that others do."""
    line = Line("echo", "", "t")
    serving = asyncio.ensure_future(desk.handlers()[wire.SUBMIT](cast("Stream", line)))
    assert await line.said.get() == [verdicts.ACCEPTED, 3]
    assert (await line.said.get())[0] == wire.TAKES
    line.given.put_nowait([wire.REQUEST, "t-0", REQUEST])
    line.given.put_nowait([wire.ALL])
    assert await line.said.get() == [wire.SEEN, 1]

    desk.close()
    late = Line("echo", "", "status", ["b"])
    await desk.handlers()[wire.ASK](cast("Stream", late))
    assert late.said.get_nowait() == [verdicts.REFUSED, 3, None, verdicts.DRAINING]
    ended = asyncio.create_task(desk.ended())
    await asyncio.sleep(0)
    assert not ended.done()

    line.given.put_nowait([wire.GO])
    status = wire.status_from_wire(await line.said.get())
    assert status is not None
    assert status.tag == "t"
    await asyncio.gather(serving, ended)
    assert line.finished.is_set()
