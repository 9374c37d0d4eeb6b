"""One schedule, or many on all cores."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from typing import NamedTuple

from tests.simulation.account import Violation
from tests.simulation.bugs import BUGS
from tests.simulation.plan import Plan, make_plan
from tests.simulation.shrink import describe, shrink
from tests.simulation.world import World

STEPS = 2_000
_TOGETHER = 8


class Outcome(NamedTuple):
    """What came of one seed; `story` is empty where nothing forbidden happened."""

    seed: int
    story: str
    steps: int
    counters: dict[str, int]
    # The invariant that was broken, and when.
    broken: tuple[int, int] | None = None


def simulate(seed: int, steps: int = STEPS) -> Outcome:
    return carry_out(make_plan(seed, steps))


def carry_out(plan: Plan) -> Outcome:
    world = World(plan)
    violation: Violation | None = None
    try:
        world.run()
    except Violation as found:
        violation = found
    except Exception as error:
        # A core that raises is as wrong as one that says something wrong.
        violation = world.account.violation(0, f"{type(error).__name__}: {error}")
    story = str(violation) if violation is not None else ""
    broken = (violation.invariant, violation.step) if violation is not None else None
    return Outcome(plan.seed, story, world.scheduler.steps, world.counters, broken)


def explain(seed: int, steps: int = STEPS) -> str:
    """The story of the smallest schedule of that seed that was found to fail alike."""
    plan = shrink(make_plan(seed, steps), lambda plan: carry_out(plan).broken)
    head, _, story = carry_out(plan).story.partition("\n")
    return f"{head}\n  {describe(plan)}\n{story}"


def simulate_all(seeds: range) -> Iterator[Outcome]:
    """In no particular order, on all cores."""
    # A fresh interpreter each: what the tests of this process hold open does not come along.
    context = multiprocessing.get_context("spawn")
    with context.Pool(os.cpu_count()) as pool:
        yield from pool.imap_unordered(simulate, seeds, chunksize=_TOGETHER)


def catch(bug: str, seeds: range) -> Outcome | None:
    """The first seed that notices a deliberate bug and is clean without it; None where none does."""
    for seed in seeds:
        with BUGS[bug]():
            outcome = simulate(seed)
        if outcome.story and not simulate(seed).story:
            return outcome
    return None
