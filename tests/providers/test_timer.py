"""Time limits of reads: they end what is late, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from llmgine.providers.timer import WaitTimer

SOON = 0.02


async def value() -> int:
    return 7


async def test_a_result_in_time_comes_through() -> None:
    """What is done in time gives its result, also when the limit is near."""
    loop = asyncio.get_running_loop()
    timer = WaitTimer(loop)
    assert await timer.wait(value(), loop.time() + SOON) == 7
    timer.close()


async def test_what_is_late_is_cancelled() -> None:
    """Past the limit the wait raises TimeoutError, what was awaited is cancelled, and the task goes on."""
    loop = asyncio.get_running_loop()
    timer = WaitTimer(loop)
    never = loop.create_future()
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await timer.wait(asyncio.shield(never), loop.time() + SOON)
    late = loop.create_future()
    with pytest.raises(TimeoutError):
        await timer.wait(late, loop.time() - 1)
    assert late.cancelled()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_an_old_limit_does_not_cut_a_new_wait() -> None:
    """The timer left by one wait does not end the next, whose own limit still holds."""
    loop = asyncio.get_running_loop()
    timer = WaitTimer(loop)
    await timer.wait(value(), loop.time() + SOON)
    gate = asyncio.Event()
    loop.call_later(3 * SOON, gate.set)
    await timer.wait(gate.wait(), loop.time() + 60)
    with pytest.raises(TimeoutError):
        await timer.wait(loop.create_future(), loop.time() + SOON)
    timer.close()


async def test_no_wait_no_alarm() -> None:
    """A timer that rings between two waits disturbs nobody."""
    loop = asyncio.get_running_loop()
    timer = WaitTimer(loop)
    await timer.wait(value(), loop.time() + SOON)
    gate = asyncio.Event()
    loop.call_later(3 * SOON, gate.set)
    await gate.wait()
    assert await timer.wait(value(), loop.time() + SOON) == 7
    timer.close()


async def test_a_cancellation_from_outside_stays_one() -> None:
    """Cancelling the task is not taken for a timeout."""
    loop = asyncio.get_running_loop()
    waiting = asyncio.Event()

    async def wait() -> None:
        waiting.set()
        await WaitTimer(loop).wait(loop.create_future(), loop.time() + 60)

    task = asyncio.create_task(wait())
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
