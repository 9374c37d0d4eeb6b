"""A contender of the case `routing`: one way of choosing, measured in every scenario."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.contract import Effort, Measure, Round, Stage
from benchmarks.simulated.scenarios import POLICIES, SCENARIOS, simulated

_RUNS = 10


def stage_of(policy: str) -> Stage:
    """The stage of who chooses so; rounds go on through the seeds."""

    @asynccontextmanager
    async def stage(case: str) -> AsyncIterator[Measure]:
        seed = 0

        async def measure(effort: Effort) -> Round:
            nonlocal seed
            seeds = range(seed, seed + effort.count(_RUNS))
            seed = seeds.stop
            measured = Round({})
            for scenario in SCENARIOS:
                outcome = simulated(scenario, POLICIES[policy], seeds)
                measured.figures[f"{scenario.name}_p99_ms"] = outcome.p99_ms
                measured.figures[f"{scenario.name}_imbalance"] = outcome.imbalance
                measured.figures[f"{scenario.name}_stayed_percent"] = 100 * outcome.stayed
                measured.samples[f"{scenario.name}_p99_ms"] = outcome.waits_ms
                if scenario.scaling is not None:
                    measured.figures[f"{scenario.name}_actors"] = outcome.actors
                    courses = {"actors": outcome.sizes, "calls, in actors": outcome.needs}
                    measured.courses[f"{scenario.name}_actors"] = courses
            return measured

        yield measure

    return stage
