"""Failing schedules become small."""

from __future__ import annotations

from tests.simulation.bugs import BUGS
from tests.simulation.plan import Faults, Plan, make_plan
from tests.simulation.run import catch, explain
from tests.simulation.shrink import describe, shrink


def test_what_the_failure_does_not_need_is_left_out() -> None:
    """Of a failure that takes one handler and router crashes nothing else stays."""
    whole = make_plan(1, 2_000)
    wanted = whole.handlers[1]

    def fails(plan: Plan) -> tuple[int, int] | None:
        there = any(one.name == wanted.name for one in plan.handlers)
        return (3, 700) if there and plan.steps >= 600 else None

    small = shrink(whole, fails)
    assert [one.name for one in small.handlers] == [wanted.name]
    assert small.faults == Faults()
    assert 600 <= small.steps <= 700
    assert len(small.processes) == 1
    assert f"handlers: {wanted.name} at" in describe(small)


def test_another_invariant_is_another_failure() -> None:
    """A smaller schedule counts only where the same thing is broken."""
    whole = make_plan(1, 2_000)
    small = shrink(whole, lambda plan: (3, 700) if plan.handlers == whole.handlers else (5, 1))
    assert small.handlers == whole.handlers


def test_the_story_of_a_bug_is_short() -> None:
    """It names the same broken invariant, and what is left of the schedule."""
    caught = catch("no dedup", range(60))
    assert caught is not None
    assert caught.broken is not None
    with BUGS["no dedup"]():
        story = explain(caught.seed)
    head, small, *lines = story.splitlines()
    assert head.startswith(f"seed {caught.seed},")
    assert f"invariant {caught.broken[0]}:" in head
    assert "shrunk to steps: " in small
    assert 0 < len(lines) < len(caught.story.splitlines())
