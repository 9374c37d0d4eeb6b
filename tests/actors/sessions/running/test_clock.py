"""A turn's deadline, which stands still while the turn only waits for approvals."""

from __future__ import annotations

import asyncio

import pytest

from llmgine.actors.sessions.running.clock import TurnClock


class Time:
    """A clock that a test moves, and what the turn's clock has told."""

    def __init__(self) -> None:
        self.now = 100.0
        self.changes: list[bool] = []
        self.clock = TurnClock(110.0, lambda: self.now, self.changes.append)


def test_time_stands_still_while_a_turn_only_waits_for_leave() -> None:
    """The wait is added to the deadline once it is over, and each change is told once."""
    time = Time()
    time.now = 103.0
    with time.clock.waiting():
        assert time.clock.suspended
        time.now = 5000.0
        assert time.clock.remaining == 7.0
    assert not time.clock.suspended
    assert time.clock.remaining == 7.0
    assert time.changes == [True, False]


def test_time_runs_while_another_call_is_at_work() -> None:
    """Only from when that one is done does the turn wait for nothing but leave."""
    time = Time()
    with time.clock.waiting():
        with time.clock.working():
            time.now = 104.0
            assert not time.clock.suspended
            assert time.clock.remaining == 6.0
        time.now = 200.0
        assert time.clock.remaining == 6.0
        with time.clock.working():
            time.now = 201.0
        assert time.clock.remaining == 5.0
    assert time.changes == [True, False, True, False, True, False]


def test_two_waits_at_a_time_are_one() -> None:
    """The turn goes on when the last of them is over."""
    time = Time()
    with time.clock.waiting():
        with time.clock.waiting():
            time.now = 150.0
        assert time.clock.suspended
    assert time.changes == [True, False]
    assert time.clock.remaining == 10.0


async def test_a_block_is_cut_short_when_its_time_is_up() -> None:
    """It raises TimeoutError, and the clock says that it was its own."""
    loop = asyncio.get_running_loop()
    clock = TurnClock(loop.time() - 1.0, loop.time)
    with pytest.raises(TimeoutError):
        async with clock.within():
            await asyncio.Event().wait()
    assert clock.expired


async def test_a_suspended_block_is_not_cut_short() -> None:
    """Its deadline passes while it waits for leave, and it goes on when that is there."""
    loop = asyncio.get_running_loop()
    now = loop.time()
    answered = asyncio.Event()
    clock = TurnClock(now + 0.02, loop.time)
    loop.call_at(now + 0.06, answered.set)
    async with clock.within():
        with clock.waiting():
            await answered.wait()
    assert not clock.expired
    assert clock.remaining > 0
