"""One at a time per key."""

from __future__ import annotations

import asyncio

from llmgine.actors.control import Lanes


async def test_a_lane_is_passed_one_by_one() -> None:
    """Who comes first goes first; other keys are not held up; nothing is kept afterwards."""
    lanes, log, go_on = Lanes(), list[str](), asyncio.Event()

    async def drive(key: str, name: str) -> None:
        async with lanes.of(key):
            log.append(name)
            if key == "a":
                await go_on.wait()

    async with asyncio.TaskGroup() as group:
        for name in ("1", "2"):
            group.create_task(drive("a", name))
        await group.create_task(drive("b", "3"))
        assert log == ["1", "3"]
        go_on.set()
    assert log == ["1", "3", "2"]
    assert len(lanes) == 0


async def test_a_waiter_that_gives_up_leaves_its_lane() -> None:
    """Neither an error nor a cancel keeps a lane shut or in memory."""
    lanes = Lanes()

    async def pass_through(error: Exception | None) -> None:
        async with lanes.of("a"):
            await asyncio.sleep(0)
            if error is not None:
                raise error

    failing = asyncio.create_task(pass_through(ValueError("boom")))
    waiting = asyncio.create_task(pass_through(None))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({failing, waiting})
    assert (waiting.cancelled(), str(failing.exception())) == (True, "boom")
    assert len(lanes) == 0
