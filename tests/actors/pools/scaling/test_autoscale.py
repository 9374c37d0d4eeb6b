"""The sizes that loads ask for, and when they are followed."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from llmgine.actors.pools.scaling import Autoscaler, Load, ScalingOptions

OPTIONS = ScalingOptions(
    enabled=True, min_size=1, max_size=8, target=0.5, loop_lag=0.1, up_delay=2, down_delay=10
)
# One actor carries 20 calls, of which 10 are what it shall carry.
LOAD = Load(size=1, ready=1, in_flight=0, waiting=0, capacity=20)


def loads() -> st.SearchStrategy[Load]:
    return st.builds(
        Load,
        size=st.integers(1, 12),
        ready=st.integers(0, 12),
        in_flight=st.integers(0, 400),
        waiting=st.integers(0, 1000),
        capacity=st.integers(1, 64),
        loop_lag=st.floats(0, 2),
        usable=st.none() | st.floats(0, 500),
        complete=st.booleans(),
    )


@pytest.mark.parametrize(
    ("load", "size"),
    [
        (LOAD, 1),
        (replace(LOAD, in_flight=20, waiting=15), 4),
        (replace(LOAD, in_flight=20, waiting=1000), 8),
        (replace(LOAD, in_flight=1, size=3, ready=3, loop_lag=0.15), 5),
        (replace(LOAD, in_flight=1, size=3, ready=3, loop_lag=9.0), 6),
        (replace(LOAD, in_flight=1, size=6, ready=1, loop_lag=9.0), 2),
        (replace(LOAD, in_flight=20, waiting=500, usable=30.0), 3),
        (replace(LOAD, in_flight=2, size=4, ready=4, loop_lag=9.0, usable=2.0), 2),
        (replace(LOAD, in_flight=20, waiting=500, usable=0.0), 1),
    ],
)
def test_what_a_load_asks_for(load: Load, size: int) -> None:
    """Calls count in proportion, lagging loops by how late they are, and neither beyond quota or bounds."""
    assert Autoscaler(OPTIONS).wanted(load) == size


def test_growing_waits_for_a_lasting_need() -> None:
    """A burst that is over within the delay changes nothing; a lasting one is followed by its mildest."""
    scaler = Autoscaler(OPTIONS)
    burst = replace(LOAD, in_flight=20, waiting=60)
    assert [scaler.decide(now, burst) for now in (0, 1)] == [1, 1]
    assert scaler.decide(1.5, LOAD) == 1
    assert [scaler.decide(now, burst) for now in (2, 3)] == [1, 1]
    assert scaler.decide(4, replace(LOAD, in_flight=15)) == 2


def test_growing_at_most_doubles_in_a_step() -> None:
    """A pool of one does not become eight before two were tried."""
    scaler = Autoscaler(OPTIONS)
    burst = replace(LOAD, waiting=500)
    scaler.decide(0, burst)
    assert scaler.decide(2, burst) == 2
    scaler.decide(3, replace(burst, size=2, ready=2))
    assert scaler.decide(5, replace(burst, size=2, ready=2)) == 4


def test_shrinking_keeps_what_was_needed_last() -> None:
    """A pool shrinks to the greatest size that was needed in all of the delay."""
    scaler = Autoscaler(OPTIONS)
    quiet = replace(LOAD, size=4, ready=4)
    assert [scaler.decide(now, quiet) for now in (0, 5)] == [4, 4]
    assert scaler.decide(6, replace(quiet, in_flight=15)) == 4
    assert scaler.decide(9, quiet) == 4
    assert scaler.decide(10, quiet) == 2


def test_a_pool_whose_figures_are_missing_does_not_shrink() -> None:
    """An actor that says nothing may be carrying many calls."""
    scaler = Autoscaler(OPTIONS)
    quiet = replace(LOAD, size=4, ready=4, complete=False)
    assert {scaler.decide(float(now), quiet) for now in range(60)} == {4}


def test_a_size_from_outside_begins_anew() -> None:
    """What was needed of another size does not count for the one that somebody has set."""
    scaler = Autoscaler(OPTIONS)
    quiet = replace(LOAD, size=4, ready=4)
    scaler.decide(0, quiet)
    assert scaler.decide(9, replace(quiet, size=6, ready=6)) == 6
    assert scaler.decide(18, replace(quiet, size=6, ready=6)) == 6
    assert scaler.decide(19, replace(quiet, size=6, ready=6)) == 1


@given(st.lists(st.tuples(st.floats(0, 30), loads()), max_size=30))
def test_no_decision_leaves_the_bounds(steps: list[tuple[float, Load]]) -> None:
    """Whatever is told, a size is within the bounds, and no growth goes beyond what quotas can use."""
    scaler, now = Autoscaler(OPTIONS), 0.0
    for pause, load in steps:
        now += pause
        size = scaler.decide(now, load)
        assert OPTIONS.min_size <= size <= OPTIONS.max_size
        if size > load.size and load.usable is not None:
            assert size <= max(OPTIONS.min_size, math.ceil(load.usable))


@given(loads().filter(lambda load: load.loop_lag < OPTIONS.loop_lag and load.complete))
def test_a_steady_load_comes_to_rest(load: Load) -> None:
    """Without a change of the load the size reaches what it asks for, and stays there."""
    scaler, sizes = Autoscaler(OPTIONS), [load.size]
    for now in range(60):
        sizes.append(scaler.decide(float(now), replace(load, size=sizes[-1], ready=sizes[-1])))
    assert set(sizes[-20:]) == {scaler.wanted(load)}
    changes = [after - before for before, after in pairwise(sizes) if after != before]
    assert all(change > 0 for change in changes[1:]) or all(change < 0 for change in changes[1:])


@given(st.integers(12, 30), st.integers(3, 20))
def test_a_load_that_swings_is_not_followed_for_ever(low: int, high: int) -> None:
    """Each shrink that is taken back doubles the wait for the next: swings end in the greater size."""
    scaler, size, shrinks = Autoscaler(OPTIONS), 1, 0
    for now in range(4000):
        busy = now % (low + high) >= low
        before, size = (
            size,
            scaler.decide(float(now), replace(LOAD, size=size, ready=size, in_flight=busy * 35)),
        )
        shrinks += size < before
    assert size == 4
    assert shrinks <= 2


def test_bounds_that_cross_are_refused() -> None:
    """A pool cannot keep more actors than it may have."""
    with pytest.raises(ValidationError, match="min_size 3 is above max_size 2"):
        ScalingOptions(min_size=3, max_size=2)
