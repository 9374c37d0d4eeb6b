"""Live topics: looked at once for all, told where they change."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest

from llmgine.actors.gateway import GatewayOptions
from llmgine.actors.gateway.app import app
from llmgine.actors.gateway.errors import TooManyRequests, Unprocessable
from llmgine.actors.gateway.sse import EventAnswer
from llmgine.actors.gateway.watching import Watching
from tests.actors.gateway.fakes import FakePort, pool, session_row


def read(frame: bytes) -> dict[str, Any]:
    assert frame.startswith(b"data: ")
    assert frame.endswith(b"\n\n")
    told: dict[str, Any] = json.loads(frame[6:])
    return told


async def first(frames: AsyncIterator[bytes]) -> dict[str, Any]:
    async with asyncio.timeout(5):
        return read(await anext(frames))


async def test_the_present_state_comes_first_and_then_each_change(port: FakePort) -> None:
    """What has not changed is not told again."""
    watching = Watching(lambda: port, 8)
    frames = watching.watch(["pools"])
    told = await first(frames)
    assert (told["topic"], told["data"]["items"][0]["size"]) == ("pools", 1)
    watching.stir()
    port.pool_rows["scripted"] = pool(size=2)
    watching.stir()
    assert (await first(frames))["data"]["items"][0]["size"] == 2
    await frames.aclose()  # type: ignore[attr-defined]
    assert watching.watchers == 0


async def test_however_many_watch_one_looks(port: FakePort) -> None:
    """Who comes later gets at once what was seen last."""
    watching = Watching(lambda: port, 8)
    watches = [watching.watch(["bus", "bus"]) for _ in range(5)]
    told = [await first(frames) for frames in watches]
    assert all(one == told[0] for one in told)
    assert port.asked == [("bus",)]
    for frames in watches:
        await frames.aclose()  # type: ignore[attr-defined]


async def test_a_topic_that_nobody_watches_is_not_looked_at(port: FakePort) -> None:
    """The last who leaves ends the looking."""
    watching = Watching(lambda: port, 8)
    frames = watching.watch(["bus"])
    await first(frames)
    await frames.aclose()  # type: ignore[attr-defined]
    watching.stir()
    await asyncio.sleep(0)
    assert port.asked == [("bus",)]
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("look at")] == []


async def test_who_reads_slowly_gets_the_latest(port: FakePort, eventually: Any) -> None:
    """Of each topic one frame is kept for it, whatever happened meanwhile."""
    watching = Watching(lambda: port, 8)
    quick, slow = watching.watch(["session:s-1"]), watching.watch(["session:s-1"])
    await first(slow)
    await first(quick)
    for turns in range(2, 6):
        port.session_rows["s-1"] = session_row(turns=turns)
        watching.stir()
        assert (await first(quick))["data"]["turns"] == turns
    assert (await first(slow))["data"]["turns"] == 5
    for frames in (quick, slow):
        await frames.aclose()  # type: ignore[attr-defined]


async def test_what_cannot_be_seen_is_told_once(port: FakePort) -> None:
    """A session that is not there is no end of the stream: it may come."""
    watching = Watching(lambda: port, 8)
    frames = watching.watch(["session:s-9"])
    assert (await first(frames))["error"]["type"] == "not_found"
    port.session_rows["s-9"] = session_row("s-9")
    watching.stir()
    assert (await first(frames))["data"]["id"] == "s-9"
    await frames.aclose()  # type: ignore[attr-defined]


async def test_no_more_may_watch_than_are_taken(port: FakePort) -> None:
    """Refused before anything is answered; one that leaves makes room."""
    watching = Watching(lambda: port, 1)
    frames = watching.watch(["bus"])
    await first(frames)
    with pytest.raises(TooManyRequests) as refused:
        watching.watch(["bus"])
    assert "gateway.max_watchers" in refused.value.hint
    await frames.aclose()  # type: ignore[attr-defined]
    watching.watch(["bus"])


@pytest.mark.parametrize("topic", ["", "buses", "session:", "Overview"])
def test_what_is_no_topic_is_refused(port: FakePort, topic: str) -> None:
    """The refusal lists those that there are."""
    with pytest.raises(Unprocessable, match="dead-letters"):
        Watching(lambda: port, 1).watch([topic])


async def test_watches_end_with_the_gateway(port: FakePort) -> None:
    """They have no end of their own that a stop could wait for."""
    watching = Watching(lambda: port, 8)
    frames = watching.watch(["bus"])
    await first(frames)
    watching.close()
    with pytest.raises(StopAsyncIteration):
        await anext(frames)


async def test_a_topic_that_is_none_is_an_answer(client: httpx2.AsyncClient) -> None:
    """And no stream."""
    answer = await client.get("/api/v1/events", params={"topics": "overview,buses"})
    assert answer.status_code == 422


async def test_a_session_is_watched_whatever_its_id_holds(port: FakePort) -> None:
    """What parts topics is escaped within one; the frame has the topic as it is called."""
    port.session_rows["a,b%2C"] = session_row("a,b%2C")
    query = urlencode({"topics": "bus,session:a%2Cb%252C"}).encode()
    scope = {"type": "http", "method": "GET", "path": "/api/v1/events", "query_string": query}
    scope["headers"] = [(b"host", b"127.0.0.1")]
    told: dict[str, Any] = {}
    both = asyncio.Event()

    async def send(message: dict[str, Any]) -> None:
        for frame in message.get("body", b"").split(b"\n\n"):
            if frame:
                one = json.loads(frame[6:])
                told[one["topic"]] = one.get("data")
        if len(told) == 2:
            both.set()

    async def receive() -> dict[str, Any]:
        await both.wait()
        return {"type": "http.disconnect"}

    async with asyncio.timeout(5):
        await app(port, GatewayOptions())(scope, receive, send)
    assert told["session:a,b%2C"]["id"] == "a,b%2C"


async def test_a_silent_stream_is_kept_alive() -> None:
    """By comments, which clients pass over; what it waits for is not lost by them."""
    gate = asyncio.Event()
    sent: list[bytes] = []

    async def frames() -> AsyncIterator[bytes]:
        await gate.wait()
        yield b"data: 1\n\n"

    async def send(message: dict[str, Any]) -> None:
        sent.append(message.get("body", b""))
        if sent.count(b": alive\n\n") == 2:
            gate.set()

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async with asyncio.timeout(5):
        await EventAnswer(frames(), heartbeat=0.001)({}, receive, send)
    assert sent[-2:] == [b"data: 1\n\n", b""]


async def test_a_client_that_goes_ends_the_stream_behind_it() -> None:
    """What yields the frames is closed, wherever it waits."""
    closed = asyncio.Event()

    async def frames() -> AsyncIterator[bytes]:
        try:
            yield b"data: 1\n\n"
            await asyncio.Event().wait()
        finally:
            closed.set()

    async def send(message: dict[str, Any]) -> None:
        if message.get("body"):
            gone.set()

    gone = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async with asyncio.timeout(5):
        await EventAnswer(frames())({}, receive, send)
    assert closed.is_set()
