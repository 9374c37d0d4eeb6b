"""The router among simulated actors, beside chance and beside the least loaded by counts."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from benchmarks.routing import CASE
from benchmarks.simulated.scenarios import POLICIES, SCENARIOS, Outcome, simulated

# At most so many times random's p99, where chance does harm.
HARM = {"slow": 0.2, "sparse": 0.2, "dying": 0.75, "scaled": 1.05}

_of: Callable[[str, str], Outcome] = cache(
    lambda scenario, policy: simulated(
        next(one for one in SCENARIOS if one.name == scenario), POLICIES[policy], range(3, 5)
    )
)

every_scenario = pytest.mark.parametrize("scenario", [one.name for one in SCENARIOS])


@every_scenario
def test_the_router_beats_chance(scenario: str) -> None:
    """Waits are shorter and loads more even than where any actor takes the call."""
    ours, random = _of(scenario, "ours"), _of(scenario, "random")
    assert ours.p99_ms < random.p99_ms * HARM.get(scenario, 1.0)
    assert ours.imbalance < random.imbalance


@every_scenario
def test_the_router_is_not_worse_than_who_is_told_all_counts(scenario: str) -> None:
    """What a caller hears with its own calls is nearly worth a count of all, and more where an actor dies."""
    ours, least = _of(scenario, "ours"), _of(scenario, "least_loaded")
    assert ours.p99_ms < least.p99_ms * {"sparse": 1.25, "dying": 0.6}.get(scenario, 1.1)
    assert ours.imbalance < least.imbalance * {"sparse": 1.4, "scaled": 1.3}.get(scenario, 1.15)


@every_scenario
def test_sessions_stay_where_they_were(scenario: str) -> None:
    """Most calls of a session go to one actor, where chance lets one in eight."""
    assert _of(scenario, "ours").stayed > (0.6 if scenario == "scaled" else 0.8)
    assert _of(scenario, "random").stayed < 0.25


def test_a_pool_that_follows_its_load_needs_fewer_actors() -> None:
    """It grows to what the load needs and shrinks again, and nobody waits for longer than that takes."""
    scaled = _of("scaled", "ours")
    sizes = [size for _, size in scaled.sizes]
    assert (sizes[0], max(sizes)) == (2, 8)
    assert sizes[-1] <= 3
    assert scaled.actors < 0.75 * 8
    assert scaled.p99_ms < 12_000


def test_the_case_names_every_scenario() -> None:
    """Its figures are those that a round gives."""
    assert [name for name in CASE.figures if name.endswith("p99_ms")] == [
        f"{one.name}_p99_ms" for one in SCENARIOS
    ]


def test_equal_seeds_give_equal_runs() -> None:
    """Nothing but the seed decides what happens."""
    even = SCENARIOS[0]
    assert simulated(even, POLICIES["ours"], [9]) == simulated(even, POLICIES["ours"], [9])
