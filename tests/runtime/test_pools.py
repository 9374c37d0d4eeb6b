"""Pools that grow, shrink, change and lose their supervisor while calls run through them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, cast

import pytest
import pytest_asyncio

from llmgine.actors.control import names
from llmgine.actors.pools import figures
from llmgine.actors.supervisor import actor as supervisor
from llmgine.actors.supervisor.children import Children
from llmgine.runtime import (
    Done,
    Failed,
    InvalidRequest,
    PoolChangeRefused,
    Runtime,
    TextDelta,
    UnknownModel,
)
from tests.runtime.looks import cluster_of

Until = Callable[..., Any]

WORDS = " ".join(str(number) for number in range(25))
MODEL = "scripted/story"
SETTINGS: dict[str, Any] = {
    "telemetry": {"enabled": False},
    "sessions": {"warm": 0},
    "control": {"stop_grace": 1},
    "providers": {"scripts": {"story": {"replies": [{"text": WORDS, "delay": 0.01}]}}},
}


@pytest_asyncio.fixture
async def runtime(clean_environ: object, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Runtime]:
    monkeypatch.setattr(figures, "_EVERY", 0.05)
    monkeypatch.setattr(supervisor, "_TICK", 0.05)
    async with Runtime.in_process(SETTINGS) as opened:
        yield opened


class Stream:
    """One call, read to its end."""

    def __init__(self, runtime: Runtime, model: str = MODEL) -> None:
        self.begun = asyncio.Event()
        self.text = ""
        self.actor = ""
        self.reading = asyncio.create_task(self._read(runtime, model))

    async def _read(self, runtime: Runtime, model: str) -> None:
        async with aclosing(cast("Any", runtime.models.stream(model, "Tell me"))) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    self.text += event.text
                    self.begun.set()
                elif isinstance(event, Failed):
                    raise event.error
                elif isinstance(event, Done):
                    (attempt,) = event.response.attempts
                    self.actor = attempt.actor


class Load:
    """Calls one after the other in each of several hands, until it is told to stop."""

    def __init__(self, runtime: Runtime, hands: int) -> None:
        self.actors: set[str] = set()
        self._going = True
        self._hands = [asyncio.create_task(self._hand(runtime)) for _ in range(hands)]

    async def _hand(self, runtime: Runtime) -> None:
        while self._going:
            answer = await runtime.models.complete(MODEL, "Tell me")
            assert answer.text == WORDS
            self.actors.add(answer.attempts[-1].actor)

    async def stop(self) -> None:
        """Raises what any call failed with."""
        self._going = False
        await asyncio.gather(*self._hands)


async def test_a_pool_grows_and_shrinks_under_load(runtime: Runtime, eventually: Until) -> None:
    """From one actor to four and back no call fails, and all four have carried calls."""
    pool, load = runtime.pools["scripted"], Load(runtime, 40)
    assert len(await pool.scale(1)) == 1
    four = await pool.scale(4)
    assert len(four) == 4
    await eventually(lambda: set(four) <= load.actors)
    (last,) = await pool.scale(1)

    async def alone() -> bool:
        return [actor.name for actor in (await pool.statistics()).actors] == [last]

    await eventually(alone)
    await load.stop()


@pytest.mark.parametrize("whole", [True, False], ids=["pool", "actor"])
async def test_a_drain_cuts_no_stream(runtime: Runtime, whole: bool) -> None:
    """Fifty running streams end as they would have; whoever drains waits for them."""
    pool = runtime.pools["scripted"]
    (actor,) = await pool.scale(1)
    streams = [Stream(runtime) for _ in range(50)]
    await asyncio.gather(*(stream.begun.wait() for stream in streams))
    await pool.drain(None if whole else actor)
    assert actor not in await cluster_of(runtime).names()
    await asyncio.gather(*(stream.reading for stream in streams))
    assert {stream.text for stream in streams} == {WORDS}
    assert {stream.actor for stream in streams} == {actor}
    after = Stream(runtime)
    await after.reading
    assert after.actor != actor


async def test_settings_change_under_load(runtime: Runtime) -> None:
    """All actors are replaced by ones with the new settings, and no call fails."""
    pool, load = runtime.pools["scripted"], Load(runtime, 20)
    before = await pool.scale(3)
    after = await pool.reconfigure(max_in_flight=77, timeouts={"idle": 30})
    assert len(after) == 3
    assert not set(before) & set(after)
    await load.stop()
    told = await pool.statistics()
    assert told.max_in_flight == 77
    assert told.changes["timeouts"]["idle"] == 30


async def test_a_change_outlives_the_supervisor(runtime: Runtime, eventually: Until) -> None:
    """A restarted supervisor has the size and the settings that pools had been brought to."""
    pool = runtime.pools["scripted"]
    await pool.scale(2)
    actors = await pool.reconfigure(max_in_flight=77)
    await runtime.pools["openai"].reconfigure(max_in_flight=5)
    await cluster_of(runtime).crash(names.SUPERVISOR)
    told = await pool.statistics()
    assert (told.size, told.ready, told.max_in_flight) == (2, 2, 77)
    assert {actor.name for actor in told.actors} == set(actors)
    assert (await runtime.pools["openai"].statistics()).max_in_flight == 5
    (third,) = set(await pool.scale(3)) - set(actors)

    async def limit() -> bool:
        return {actor.limit for actor in (await pool.statistics()).actors if actor.name == third} == {77}

    await eventually(limit)


async def test_the_supervisor_dies_while_a_pool_is_scaled(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, eventually: Until
) -> None:
    """Whoever scales gets what was asked for, calls go on, and no actor is left over."""
    pool, load = runtime.pools["scripted"], Load(runtime, 10)
    await pool.scale(1)
    gate, starts = asyncio.Event(), []
    plain = Children.start_provider

    async def start(self: Any, name: str, *rest: Any) -> None:
        starts.append(name)
        if len(starts) > 1:
            await gate.wait()
        await plain(self, name, *rest)

    monkeypatch.setattr(Children, "start_provider", start)
    scaling = asyncio.create_task(pool.scale(4))
    await eventually(lambda: len(starts) == 3)
    await cluster_of(runtime).crash(names.SUPERVISOR)
    gate.set()
    four = await scaling
    assert len(four) == 4
    await load.stop()
    there = [name for name in await cluster_of(runtime).names() if name.startswith("provider-")]
    assert sorted(there) == sorted(four)


async def test_the_supervisor_dies_while_a_pool_is_changed(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch, eventually: Until
) -> None:
    """Its next life goes on replacing actors; whoever asked for the change gets it, and no call fails."""
    pool, load = runtime.pools["scripted"], Load(runtime, 10)
    before = await pool.scale(3)
    gate, starts = asyncio.Event(), []
    plain = Children.start_provider

    async def start(self: Any, name: str, *rest: Any) -> None:
        starts.append(name)
        if len(starts) > 1:
            await gate.wait()
        await plain(self, name, *rest)

    monkeypatch.setattr(Children, "start_provider", start)
    changing = asyncio.create_task(pool.reconfigure(max_in_flight=77))
    await eventually(lambda: len(starts) == 2)
    await cluster_of(runtime).crash(names.SUPERVISOR)
    gate.set()
    after = await changing
    assert len(after) == 3
    assert not set(before) & set(after)
    assert starts[0] in after
    await load.stop()

    async def limits() -> bool:
        actors = (await pool.statistics()).actors
        return {actor.name: actor.limit for actor in actors} == dict.fromkeys(after, 77)

    await eventually(limits)


async def test_a_pool_follows_its_load(runtime: Runtime, eventually: Until) -> None:
    """It grows while calls wait, within its bounds, and shrinks when they are over."""
    scaling = {"enabled": True, "max_size": 3, "up_delay": 0.1, "down_delay": 0.5}
    pool = runtime.pools["scripted"]
    await pool.reconfigure(max_in_flight=4, scaling=scaling)
    load = Load(runtime, 12)

    async def size() -> int:
        return (await pool.statistics()).ready

    async def sized(wanted: int) -> bool:
        return await size() == wanted

    await eventually(lambda: sized(3))
    with pytest.raises(PoolChangeRefused, match="between 1 and 3"):
        await pool.scale(5)
    await load.stop()
    await eventually(lambda: sized(1))


async def test_drivers_hear_of_changes_by_themselves(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver that has called once asks nobody which actors there are, whatever becomes of them."""
    await Stream(runtime).reading

    async def refused(self: Any, provider: str) -> Any:
        raise AssertionError("somebody asks the supervisor")

    monkeypatch.setattr(supervisor.SupervisorActor, "ensure_pool", refused)
    pool = runtime.pools["scripted"]
    first = (await pool.scale(3))[0]
    await pool.drain(first)
    streams = [Stream(runtime) for _ in range(20)]
    await asyncio.gather(*(stream.reading for stream in streams))
    assert first not in {stream.actor for stream in streams}


async def test_how_pools_stand(runtime: Runtime, eventually: Until) -> None:
    """Sizes at once; what the actors carry within a moment, each with the figures of its parts."""
    assert await runtime.pools.statistics() == {}
    streams = [Stream(runtime) for _ in range(5)]
    await asyncio.gather(*(stream.begun.wait() for stream in streams))

    async def carrying() -> Any:
        found = (await runtime.pools.statistics())["scripted"]
        return found if found.in_flight == 5 else None

    found = await eventually(carrying)
    (actor,) = found.actors
    assert (found.size, found.ready, actor.state, actor.node) == (1, 1, "ready", "local")
    assert {"admission", "calls", "loop", "process"} <= set(actor.parts)
    await asyncio.gather(*(stream.reading for stream in streams))

    async def done() -> bool:
        return (await runtime.pools["scripted"].statistics()).done == 5

    await eventually(done)


async def test_pools_by_name(runtime: Runtime) -> None:
    """Every provider of the settings has a pool, used or not; no other has."""
    assert "scripted" in runtime.pools
    assert "nobody" not in runtime.pools
    assert "openai" in list(runtime.pools)
    assert len(runtime.pools) == len(list(runtime.pools))
    unused = await runtime.pools["openai"].statistics()
    assert (unused.size, unused.actors) == (0, ())
    with pytest.raises(UnknownModel, match=r"providers\.endpoints"):
        runtime.pools["nobody"]


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (lambda pool: pool.scale(-1), InvalidRequest, "size= is a whole number from 0"),
        (lambda pool: pool.scale(1, wait=0), InvalidRequest, "wait= is seconds above 0"),
        (lambda pool: pool.drain("provider-openai-0"), PoolChangeRefused, "has had no actor"),
        (lambda pool: pool.reconfigure(max_inflight=3), PoolChangeRefused, "did you mean max_in_flight"),
        (lambda pool: pool.reconfigure(headers={"x": object()}), PoolChangeRefused, "plain values"),
    ],
)
async def test_what_cannot_be_asked_of_a_pool(
    runtime: Runtime, call: Callable[[Any], Any], error: type[Exception], told: str
) -> None:
    """The error says what is wrong, and nothing is started."""
    with pytest.raises(error, match=told):
        await call(runtime.pools["scripted"])
    assert await runtime.pools.statistics() == {}
