"""Provider actors that die under their calls: who is affected ends by policy, and nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from llmgine.providers import Reset
from tests.actors.pools.client.stage import Stage, answer, outcomes
from tests.faults.streams import heard, stream, streams_cut
from tests.providers.faults.counting import CountingServer, whole

Until = Callable[..., Any]


@pytest.fixture
async def counting() -> AsyncIterator[CountingServer]:
    server = CountingServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def stage(counting: CountingServer) -> AsyncIterator[Stage]:
    stage = Stage(counting.base_url, actors=4)
    yield stage
    await stage.close()


async def test_actors_die_under_a_hundred_streams(stage: Stage, counting: CountingServer) -> None:
    """Two of four actors die in the middle: their streams end by policy, all others byte for byte."""

    async def kill() -> set[str]:
        for name in ("provider-one-0", "provider-one-1"):
            await stage.cluster.kill(name)
        return {"provider-one-0", "provider-one-1"}

    await streams_cut(counting, stage.models, kill, 100)


async def test_a_lost_actor_is_told_with_its_try(
    stage: Stage, counting: CountingServer, until: Until
) -> None:
    """The attempts say at which actor the call was lost, and which gave the answer; the cost is unknown."""
    job = asyncio.create_task(stream(stage.models, "s", "restart"))
    await until(lambda: counting.held == 1)
    first = next(name for name in await stage.cluster.names() if load(stage, name))
    await stage.cluster.kill(first)
    counting.go_on.set()
    response = answer(await job)
    assert [one.actor == first for one in response.attempts] == [True, False]
    assert response.cost is None


async def test_another_model_begins_anew(stage: Stage, counting: CountingServer, until: Until) -> None:
    """Where the pool has no actor left, the next model takes over after a reset, also for `continue`."""
    job = asyncio.create_task(stream(stage.models, "s", "continue", ["one/count", "two/count"]))
    await until(lambda: counting.held == 1)
    for name in await stage.cluster.names():
        await stage.cluster.kill(name)
    counting.go_on.set()
    events = await job
    assert heard(events) == answer(events).text == whole("s")
    assert sum(isinstance(event, Reset) for event in events) == 1
    assert outcomes(answer(events))[-1] == ("two/count", "done")


def load(stage: Stage, name: str) -> int:
    actor: Any = stage.cluster._actors[name]
    return int(actor._serving._door.load)


async def test_a_lone_actor_that_comes_back_is_waited_for(
    counting: CountingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that comes while the only actor is away is made when it is there again."""
    stage, looked, ensure = Stage(counting.base_url, actors=1), asyncio.Event(), Stage.ensure_pool

    async def looking(self: Stage, provider: str) -> list[list[str]]:
        looked.set()
        return await ensure(self, provider)

    counting.go_on.set()
    try:
        answer(await stream(stage.models, "s", "fail"))
        (actor,) = await stage.cluster.names()
        await stage.cluster.kill(actor)
        monkeypatch.setattr(Stage, "ensure_pool", looking)
        asking = asyncio.create_task(stream(stage.models, "s", "fail"))
        await looked.wait()
        await stage.spawn(actor)
        assert heard(await asking) == whole("s")
    finally:
        await stage.close()
