"""Timers against a sorted list."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llmgine.actors.bus.router.timers import FEW, Timer, Timers


class Clockwork(RuleBasedStateMachine):
    """Timers are set, cancelled and run; some of them set and cancel others when they run."""

    def __init__(self) -> None:
        super().__init__()
        self.timers = Timers()
        self.now = 0
        self.count = 0
        # What waits, as (time, order of setting).
        self.waiting: dict[tuple[int, int], Timer] = {}
        self.ended: list[Timer] = []
        self.ran: list[tuple[int, int]] = []

    def set(self, time: int, then: Callable[[], None] | None = None) -> None:
        self.count += 1
        key = (time, self.count)

        def run() -> None:
            assert time <= self.now
            self.ran.append(key)
            self.ended.append(self.waiting.pop(key))
            if then is not None:
                then()

        self.waiting[key] = self.timers.at(time, run)

    @rule(times=st.lists(st.integers(-5, 60), max_size=40))
    def set_some(self, times: list[int]) -> None:
        for time in times:
            self.set(self.now + time)

    @rule(time=st.integers(0, 5), later=st.integers(-3, 3))
    def set_one_that_sets_one(self, time: int, later: int) -> None:
        self.set(self.now + time, lambda: self.set(self.now + later))

    @rule(time=st.integers(0, 5))
    def set_one_that_cancels_the_last(self, time: int) -> None:
        self.set(self.now + time, lambda: self.cancel(-1))

    def cancel(self, index: int) -> None:
        if self.waiting:
            key = sorted(self.waiting)[index % len(self.waiting)]
            timer = self.waiting.pop(key)
            self.timers.cancel(timer)
            self.ended.append(timer)

    @rule(indices=st.lists(st.integers(0, 1_000), max_size=40))
    def cancel_some(self, indices: list[int]) -> None:
        for index in indices:
            self.cancel(index)

    @precondition(lambda self: self.ended)
    @rule(index=st.integers(0, 1_000))
    def cancel_what_has_ended(self, index: int) -> None:
        self.timers.cancel(self.ended[index % len(self.ended)])

    @rule(seconds=st.integers(0, 20))
    def run(self, seconds: int) -> None:
        self.now += seconds
        last = self.count
        due = [key for key in sorted(self.waiting) if key[0] <= self.now]
        self.ran.clear()
        assert self.timers.run(self.now) == len(self.ran)
        # Those that others cancelled in this run are missing; the order holds all the same.
        assert self.ran == [key for key in due if key in self.ran]
        assert not [key for key in self.waiting if key[0] <= self.now and key[1] <= last]

    @invariant()
    def both_agree(self) -> None:
        assert len(self.timers) == len(self.waiting)
        assert self.timers.next_time() == min((time for time, _ in self.waiting), default=None)
        assert all(timer.pending for timer in self.waiting.values())
        assert not any(timer.pending for timer in self.ended)

    @invariant()
    def garbage_is_bounded(self) -> None:
        assert self.timers.held <= 2 * len(self.timers) + FEW


TestClockwork = Clockwork.TestCase


def test_a_timer_that_sets_itself_again_at_once_does_not_hold_up_the_run() -> None:
    """What is set during a run waits for the next one, and is due there."""
    timers, ran = Timers(), []

    def again() -> None:
        ran.append(1)
        timers.at(0.0, again)

    timers.at(0.0, again)
    assert [timers.run(1.0), timers.run(1.0)] == [1, 1]
    assert (len(ran), timers.next_time()) == (2, 0.0)


def test_a_callback_that_raises_costs_no_other_timer() -> None:
    """The error reaches the caller; what was set before and meanwhile runs the next time."""
    timers, ran = Timers(), []

    def broken() -> None:
        timers.at(0.0, lambda: ran.append("new"))
        raise RuntimeError("broken")

    timers.at(1.0, broken)
    timers.at(2.0, lambda: ran.append("old"))
    with pytest.raises(RuntimeError, match="broken"):
        timers.run(3.0)
    assert timers.run(3.0) == 2
    assert ran == ["new", "old"]


def test_many_timers_run_in_order_and_leave_nothing() -> None:
    """Of 20,000 timers at random times three quarters are cancelled; the others run by time."""
    random, timers, ran = Random(3), Timers(), []
    times = [random.random() * 100 for _ in range(20_000)]
    held = [timers.at(time, lambda time=time: ran.append(time)) for time in times]  # type: ignore[misc]  # bound early
    for index, timer in enumerate(held):
        if index % 4:
            timers.cancel(timer)
    assert timers.held <= 2 * 5_000 + FEW
    for tick in range(1_001):
        timers.run(tick / 10)
    assert ran == sorted(times[::4])
    assert (len(timers), timers.held, timers.next_time()) == (0, 0, None)
