"""How many calls an actor makes of a provider that bears less than it may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from llmgine.actors.pools import wire
from llmgine.providers import Done, StreamEvent
from tests.actors.pools.serving.stage import HOUSE, Call, Stage
from tests.providers.faults.server import FaultServer

Until = Callable[..., Any]

# What a server says when to come back is longer than these calls wait.
SOON = wire.Ask(wait=0.5)


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    server = FaultServer()
    await server.start()
    yield server
    await server.stop()


async def test_a_storm_of_refusals_shrinks_the_limit_and_calm_brings_it_back(
    stage: Stage, until: Until
) -> None:
    """Soon no more calls run than the provider bears; once it bears all, as many as may."""
    await stage.spawn(max_in_flight=32)
    stage.provider.bears = 4
    storm = [await stage.call(session=str(number % 5)) for number in range(32)]
    section = stage.section("admission")
    assert section["limit"] <= section["in_flight"] == 4
    stage.provider.bears = 1_000
    ends = await ended(stage, storm)
    assert sum(isinstance(end, Done) for end in ends) >= 20
    for _ in range(3):
        calls = [await stage.call(session=str(number % 5)) for number in range(100)]
        assert all(isinstance(end, Done) for end in await ended(stage, calls))
    await until(lambda: stage.load == 0)
    section = stage.section("admission")
    assert (section["limit"], section["in_flight"]) == (32, 0)


@pytest.mark.parametrize(
    ("status", "shrinks"), [(429, True), (500, True), (503, True), (400, False), (401, False), (404, False)]
)
async def test_what_a_server_says_of_itself(
    stage: Stage, server: FaultServer, status: int, shrinks: bool
) -> None:
    """Too many requests and failures of the server count; what is wrong with a request or a key does not."""
    await stage.spawn_house(server.base_url, max_in_flight=10)
    for _ in range(2):
        await (await stage.call(model=f"house/status.{status}", ask=SOON)).error()
    section = stage.section("admission", HOUSE)
    assert (section["limit"], section["decreases"]) == ((4, 2) if shrinks else (10, 0))


async def test_a_fixed_limit_stays(stage: Stage, server: FaultServer) -> None:
    """Where the limit shall not adapt, it is what is set."""
    await stage.spawn_house(server.base_url, max_in_flight=10, admission={"adaptive": False})
    await (await stage.call(model="house/status.503", ask=SOON)).error()
    assert stage.section("admission", HOUSE)["limit"] == 10


async def test_a_short_deadline_is_no_overload(stage: Stage, server: FaultServer) -> None:
    """A call that had too little time says nothing of how much its provider bears."""
    await stage.spawn_house(server.base_url, max_in_flight=10)
    error = await (await stage.call(model="house/stall", deadline=0.05)).error()
    assert error.kind.value == "timeout"
    assert stage.section("admission", HOUSE)["limit"] == 10


async def ended(stage: Stage, calls: list[Call]) -> list[StreamEvent]:
    """How they end once all are let go on."""
    for _ in calls:
        stage.provider.go_on.release()
    ends = await asyncio.gather(*(call.last() for call in calls))
    stage.provider.go_on = asyncio.Semaphore(0)
    return ends
