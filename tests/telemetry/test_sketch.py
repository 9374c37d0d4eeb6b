"""Percentiles of values in bounded memory."""

from __future__ import annotations

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.telemetry.sketch import ACCURACY, Sketch

VALUES = st.lists(st.floats(1e-5, 1e6), min_size=1, max_size=200)


def sketch(values: list[float]) -> Sketch:
    made = Sketch()
    for value in values:
        made.observe(value)
    return made


@given(VALUES, st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
def test_percentiles_are_near_the_true_ones(values: list[float], share: float) -> None:
    """Each percentile lies within the promised share of the value of that rank."""
    true = sorted(values)[max(0, ceil(share * len(values)) - 1)]
    assert sketch(values).quantile(share) == pytest.approx(true, rel=ACCURACY + 1e-6)


def test_the_slowest_of_few_is_their_last_percentile() -> None:
    """Two values already tell apart what half of them take and what the slowest takes."""
    assert sketch([0.016, 2.28]).quantile(0.5) == pytest.approx(0.016, rel=ACCURACY)
    assert sketch([0.016, 2.28]).quantile(0.95) == pytest.approx(2.28, rel=ACCURACY)


@given(VALUES, VALUES)
def test_sketches_add_up(one: list[float], other: list[float]) -> None:
    """Two that are merged, also after a journey, are one that saw all."""
    merged, whole = sketch(one), sketch(one + other)
    merged.merge(Sketch.from_wire(sketch(other).to_wire()))
    assert (merged.count, merged.max) == (whole.count, whole.max)
    assert [merged.quantile(q) for q in (0.1, 0.5, 0.9)] == [whole.quantile(q) for q in (0.1, 0.5, 0.9)]


def test_it_is_bounded_whatever_comes() -> None:
    """Zero, negative and huge values are counted, and the buckets stay few."""
    spread = sketch([0.0, -1.0, 1e300, *(1.5**power for power in range(-100, 400))])
    assert spread.count == 503
    assert len(spread.to_wire()[3]) < 900
    assert Sketch().quantile(0.5) is None
