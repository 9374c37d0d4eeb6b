"""Provider actors that die under their calls: who is affected ends by policy, and nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from llmgine.providers import Done, ErrorKind, ErrorPhase, Failed, LLMRequest, Message, Reset, StreamEvent
from tests.actors.pools.client.counting import CountingServer, whole
from tests.actors.pools.client.stage import Stage, answer, failed, heard, outcomes

Until = Callable[..., Any]
MakeStage = Callable[..., Awaitable[Stage]]

STREAMS = 100
POLICIES = ("fail", "restart", "continue")


@pytest.fixture
async def counting() -> AsyncIterator[CountingServer]:
    server = CountingServer()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def make_stage(counting: CountingServer) -> AsyncIterator[MakeStage]:
    """Makes stages at the server, whose SDK is loaded by then."""
    stages: list[Stage] = []

    async def make(**pools: Any) -> Stage:
        stages.append(Stage(counting.base_url, actors=4, **pools))
        counting.go_on.set()
        await stream(stages[-1], "first", "fail")
        counting.go_on.clear()
        counting.held = 0
        return stages[-1]

    yield make
    for stage in stages:
        await stage.close()


async def stream(stage: Stage, name: str, policy: str, model: Any = "one/count") -> list[StreamEvent]:
    request = LLMRequest.model_validate(
        {"model": model, "messages": (Message.user(name),), "mid_stream": policy}
    )
    return [event async for event in stage.models.stream(request)]


def by_policy(name: str, policy: str, events: list[StreamEvent]) -> None:
    """Asserts that the stream, whose actor was lost, has ended as its policy says."""
    resets = sum(isinstance(event, Reset) for event in events)
    if policy == "fail":
        last = failed(events)
        assert (last.error.kind, last.error.phase) == (ErrorKind.CONNECTION, ErrorPhase.MID_STREAM)
        assert last.partial is not None
        assert last.partial.text == heard(events)
        assert whole(name).startswith(heard(events))
        return
    assert heard(events) == answer(events).text == whole(name)
    # Whose second actor is killed too begins once more.
    *lost, last_outcome = [outcome for _, outcome in outcomes(answer(events))]
    assert (set(lost), last_outcome) == ({"connection"}, "done")
    assert 1 <= len(lost) <= 2
    assert 1 <= resets <= len(lost) if policy == "restart" else resets == 0
    told = [one.field for one in answer(events).adjustments]
    assert told == (["mid_stream"] if policy == "continue" else [])


async def test_actors_die_under_a_hundred_streams(
    make_stage: MakeStage, counting: CountingServer, until: Until
) -> None:
    """Two of four actors die in the middle: their streams end by policy, all others byte for byte."""
    stage = await make_stage()
    jobs = [
        asyncio.create_task(stream(stage, f"s{number}", POLICIES[number % 3])) for number in range(STREAMS)
    ]
    await until(lambda: counting.held == STREAMS)
    killed = {"provider-one-0", "provider-one-1"}
    for name in killed:
        await stage.cluster.kill(name)
    await until(lambda: counting.ended > 0)
    counting.go_on.set()
    affected = 0
    for number, events in enumerate(await asyncio.gather(*jobs)):
        last = events[-1]
        assert isinstance(last, Done | Failed)
        attempts = last.response.attempts if isinstance(last, Done) else last.attempts
        if attempts[0].actor in killed:
            affected += 1
            by_policy(f"s{number}", POLICIES[number % 3], events)
            continue
        assert heard(events) == answer(events).text == whole(f"s{number}")
        assert not any(isinstance(event, Reset) for event in events)
        assert len(attempts) == 1
    assert 10 < affected < STREAMS - 10


async def test_a_lost_actor_is_told_with_its_try(
    make_stage: MakeStage, counting: CountingServer, until: Until
) -> None:
    """The attempts say at which actor the call was lost, and which gave the answer; the cost is unknown."""
    stage = await make_stage()
    job = asyncio.create_task(stream(stage, "s", "restart"))
    await until(lambda: counting.held == 1)
    first = next(name for name in await stage.cluster.names() if load(stage, name))
    await stage.cluster.kill(first)
    counting.go_on.set()
    response = answer(await job)
    assert [one.actor == first for one in response.attempts] == [True, False]
    assert response.cost is None


async def test_another_model_begins_anew(
    make_stage: MakeStage, counting: CountingServer, until: Until
) -> None:
    """Where the pool has no actor left, the next model takes over after a reset, also for `continue`."""
    stage = await make_stage()
    job = asyncio.create_task(stream(stage, "s", "continue", ["one/count", "two/count"]))
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
