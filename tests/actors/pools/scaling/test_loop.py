"""Autoscaling with its effects, in virtual time."""

from __future__ import annotations

import pytest

from llmgine.actors.pools.scaling import ScalingOptions
from tests.actors.pools.scaling.loop import Loop

OPTIONS = ScalingOptions(enabled=True, max_size=8, up_delay=2, down_delay=30)


@pytest.mark.parametrize("seed", range(5))
def test_a_wave_of_calls(seed: int) -> None:
    """The pool grows with its load, works off what had queued, holds still, and is back at one afterwards."""
    pool = Loop(OPTIONS, lambda now: 12.0 if 60 <= now < 360 else 1.0, seed=seed)
    pool.run(59)
    assert pool.sizes == [(0.0, 1)]
    pool.run(100)
    assert pool.size >= 4
    assert pool.waiting == 0
    pool.run(200)
    grown = pool.changes
    pool.run(360)
    assert 4 <= pool.size <= 6
    assert pool.changes - grown <= 2
    pool.run(600)
    assert pool.size == 1
    assert pool.changes <= 10


@pytest.mark.parametrize("seed", range(5))
def test_a_load_on_the_edge(seed: int) -> None:
    """A load that asks for one actor and for two by turns has the pool change a few times in an hour."""
    pool = Loop(OPTIONS, lambda now: 3.6, seed=seed)
    pool.run(3600)
    assert 1 <= pool.size <= 3
    assert pool.changes <= 12


def test_quota_stops_growth() -> None:
    """Calls that wait for quota alone start no actors that could not make them either."""
    pool = Loop(OPTIONS, lambda now: 50.0, usable=12.0)
    pool.run(120)
    assert pool.waiting > 1000
    assert pool.size == 2
