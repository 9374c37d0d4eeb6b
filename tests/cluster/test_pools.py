"""Pools of real processes that grow, shrink and change while streams run, and lose their supervisor."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import pytest

from llmgine.runtime import Done, Failed, PoolNotReady, Runtime, TextDelta
from tests.scripts import STORY

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]

Eventually = Callable[..., Any]


class Stream:
    """One call, read to its end."""

    def __init__(self, runtime: Runtime) -> None:
        self.begun = asyncio.Event()
        self.text = ""
        self.actors: list[str] = []
        self.reading = asyncio.create_task(self._read(runtime))

    async def _read(self, runtime: Runtime) -> None:
        async with aclosing(cast("Any", runtime.models.stream("scripted/story", "Tell me"))) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    self.text += event.text
                    self.begun.set()
                elif isinstance(event, Failed):
                    raise event.error
                elif isinstance(event, Done):
                    self.actors = [attempt.actor for attempt in event.response.attempts]


class Load:
    """Streams one after the other in each of several hands, until it is told to stop."""

    def __init__(self, runtime: Runtime, hands: int) -> None:
        self.actors: set[str] = set()
        self._going = True
        self._hands = [asyncio.create_task(self._hand(runtime)) for _ in range(hands)]

    async def _hand(self, runtime: Runtime) -> None:
        while self._going:
            stream = Stream(runtime)
            await stream.reading
            assert stream.text == STORY
            self.actors.add(stream.actors[-1])

    async def stop(self) -> None:
        """Raises what any call failed with."""
        self._going = False
        await asyncio.gather(*self._hands)


async def test_a_pool_grows_and_shrinks_under_load(runtime: Runtime, eventually: Eventually) -> None:
    """From one process to four and back no stream fails, and all four have carried some."""
    pool = runtime.pools["scripted"]
    await pool.scale(1)
    load = Load(runtime, 20)
    four = await pool.scale(4)
    assert len(four) == 4
    await eventually(lambda: set(four) <= load.actors)
    assert len(await pool.scale(1)) == 1

    async def alone() -> bool:
        return len((await pool.statistics()).actors) == 1

    await eventually(alone)
    await load.stop()


async def test_a_drain_cuts_no_stream(runtime: Runtime) -> None:
    """Fifty running streams end as they would have, in the process that is drained."""
    pool = runtime.pools["scripted"]
    (actor,) = await pool.scale(1)
    streams = [Stream(runtime) for _ in range(50)]
    await asyncio.gather(*(stream.begun.wait() for stream in streams))
    await pool.drain(actor)
    await asyncio.gather(*(stream.reading for stream in streams))
    assert {(stream.text, *stream.actors) for stream in streams} == {(STORY, actor)}
    after = Stream(runtime)
    await after.reading
    assert after.actors != [actor]


async def test_the_supervisor_is_killed_while_a_pool_is_scaled(
    runtime: Runtime, eventually: Eventually
) -> None:
    """Whoever scales gets what was asked for, streams go on, and no process is left over."""
    pool = runtime.pools["scripted"]
    await pool.scale(1)
    actors = (await runtime.status())["actors"]
    supervisor = next(actor["pid"] for actor in actors if actor["name"] == "supervisor")
    load = Load(runtime, 10)
    scaling = asyncio.create_task(pool.scale(4))

    async def growing() -> bool:
        return (await pool.statistics()).starting > 0

    await eventually(growing)
    os.kill(supervisor, signal.SIGKILL)
    four = await scaling
    assert len(four) == 4
    await load.stop()
    cluster = runtime._open().ground.cluster
    there = [name for name in await cluster.names() if name.startswith("provider-")]
    assert sorted(there) == sorted(four)
    assert len(await pool.scale(1)) == 1


async def test_a_pool_waits_for_room_and_serves(runtime: Runtime, tmp_path: Path) -> None:
    """Actors for which no node has room wait for one, while the others go on with the calls."""
    pool = runtime.pools["scripted"]
    (actor,) = await pool.scale(1)
    with pytest.raises(PoolNotReady, match=r"1 are being started .* shelf=1"):
        await pool.reconfigure(resources={"shelf": 1}, wait=1.0)
    stream = Stream(runtime)
    await stream.reading
    assert stream.actors == [actor]
    told = await pool.statistics()
    assert (told.ready, told.starting) == (1, 1)
    (last,) = await pool.reconfigure(resources={})
    assert last != actor
