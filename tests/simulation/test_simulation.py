"""Sixty schedules, each with a fate of its own, and what shows that they reach into every corner."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.plan import make_plan
from tests.simulation.run import STEPS, explain, simulate
from tests.simulation.world import World

SEEDS = 60
_AT_A_TIME = 20
REACHED = (
    "dropped",
    "doubled",
    "reordered",
    "gaps",
    "breaks",
    "process crashes",
    "router crashes",
    "store crashes",
    "supervisor crashes",
    "crashes of everything",
    "events_processed_total",
    "events_failed_total",
    "commands_processed_total",
    "retries_total",
    "breakers_opened_total",
    "schedules_fired_total",
    "letters",
    "letters handled",
    "discarded letters",
    "departures",
    "removed handlers",
    "filters of the bus",
    "batches of several",
    "commits",
    "twice",
)
_ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("first", range(0, SEEDS, _AT_A_TIME))
def test_nothing_forbidden_happens(first: int) -> None:
    """Whatever fails and in whatever order, no invariant of the bus is broken, and all comes to rest."""
    for seed in range(first, first + _AT_A_TIME):
        outcome = simulate(seed)
        assert not outcome.story, explain(seed)
        assert outcome.steps >= STEPS


def test_every_corner_is_reached() -> None:
    """The schedules hold every fault, and everything that the bus does about faults."""
    seen: Counter[str] = Counter()
    for seed in range(30):
        world = World(make_plan(seed, STEPS))
        world.run()
        seen.update(world.counters)
        for router in world.routers:
            seen.update(
                {name: value for name, value in router.core.statistics().items() if isinstance(value, int)}
            )
        seen["letters"] += len(world.store.rows.letters)
        seen["commits"] += world.store.commits
        seen["twice"] += sum(
            run.starts > 1 for fact in world.account.facts.values() for run in fact.runs.values()
        )
    for what in REACHED:
        assert seen[what] > 0, what


def test_the_same_seed_is_the_same_schedule() -> None:
    """A schedule depends on its seed alone: not on the process, nor on how it hashes."""
    script = (
        "from tests.simulation.plan import make_plan; from tests.simulation.world import World;"
        "world = World(make_plan(7, 2000)); world.run(); print(world.digest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=_ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(digests) == 1
