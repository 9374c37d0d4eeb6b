"""Time limits of reads: they end what is late, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from llmgine.providers.calls.timer import WaitTimer

SOON = 0.02


async def value() -> int:
    return 7


async def test_a_result_in_time_comes_through() -> None:
    """What is done in time gives its result, also when the limit is near."""
    loop = asyncio.get_running_loop()
    timer = WaitTimer(loop)
    with timer.until(loop.time() + SOON):
        assert await value() == 7
    timer.close()


async def test_what_is_late_is_cancelled() -> None:
    """Past the limit the wait raises TimeoutError, what was awaited is cancelled, and the task goes on."""
    loop = asyncio.get_running_loop()
    timer = WaitTimer(loop)
    never = loop.create_future()
    for _ in range(2):
        with pytest.raises(TimeoutError), timer.until(loop.time() + SOON):
            await asyncio.shield(never)
    late = loop.create_future()
    with pytest.raises(TimeoutError), timer.until(loop.time() - 1):
        await late
    assert late.cancelled()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_an_old_limit_does_not_cut_a_new_wait() -> None:
    """The timer left by one wait does not end the next, whose own limit still holds."""
    loop = asyncio.get_running_loop()
    timer = WaitTimer(loop)
    with timer.until(loop.time() + SOON):
        await value()
    gate = asyncio.Event()
    loop.call_later(3 * SOON, gate.set)
    with timer.until(loop.time() + 60):
        await gate.wait()
    with pytest.raises(TimeoutError), timer.until(loop.time() + SOON):
        await loop.create_future()
    timer.close()


async def test_no_wait_no_alarm() -> None:
    """A timer that rings between two waits disturbs nobody."""
    loop = asyncio.get_running_loop()
    timer = WaitTimer(loop)
    with timer.until(loop.time() + SOON):
        await value()
    gate = asyncio.Event()
    loop.call_later(3 * SOON, gate.set)
    await gate.wait()
    with timer.until(loop.time() + SOON):
        assert await value() == 7
    timer.close()


async def test_a_cancellation_from_outside_stays_one() -> None:
    """Cancelling the task is not taken for a timeout."""
    loop = asyncio.get_running_loop()
    waiting = asyncio.Event()

    async def wait() -> None:
        waiting.set()
        with WaitTimer(loop).until(loop.time() + 60):
            await loop.create_future()

    task = asyncio.create_task(wait())
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


@pytest.mark.parametrize("ends", [ValueError, None])
async def test_what_takes_its_cancellation_for_something_else(ends: type[Exception] | None) -> None:
    """Code that ends in its own way when the limit cancels it may, and leaves no cancelled task behind."""
    loop = asyncio.get_running_loop()
    timer = WaitTimer(loop)

    async def stubborn() -> int:
        try:
            await loop.create_future()
        except asyncio.CancelledError:
            if ends is not None:
                raise ends from None
        return 7

    with contextlib.suppress(ValueError), timer.until(loop.time() + SOON):
        assert await stubborn() == 7
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_no_limit_at_all() -> None:
    """An endless limit sets no timer."""
    timer = WaitTimer(asyncio.get_running_loop())
    with timer.until(float("inf")):
        assert await value() == 7
    timer.close()


async def test_a_wait_that_is_ended_from_outside() -> None:
    """It ends once as one that is late, however often it is told; without a wait nothing happens."""
    loop = asyncio.get_running_loop()
    timer = WaitTimer(loop)
    timer.expire()
    loop.call_soon(timer.expire)
    loop.call_soon(timer.expire)
    with pytest.raises(TimeoutError), timer.until(loop.time() + 60):
        await loop.create_future()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
