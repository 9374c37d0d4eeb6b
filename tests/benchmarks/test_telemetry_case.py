"""What the case `telemetry` calls a loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from benchmarks.ours.telemetry import Slice, loss_percent
from benchmarks.spans import us_per_span


def giving(rates: Iterator[float], order: list[str], name: str) -> Slice:
    async def measured(count: int) -> float:
        order.append(name)
        return next(rates)

    return measured


async def test_a_loss_is_the_median_over_pairs() -> None:
    """One pair that something else disturbed changes nothing, and neither side always comes first."""
    order: list[str] = []
    on = giving(iter([98.0, 49.0, 10.0]), order, "on")
    off = giving(iter([100.0, 50.0, 100.0]), order, "off")
    assert await loss_percent(on, off, 10, 3) == pytest.approx(2.0)
    assert order == ["off", "on", "on", "off", "off", "on"]


def test_a_span_is_measured_by_its_cpu() -> None:
    """Each call counts, and takes more than nothing."""
    calls: list[int] = []
    record: Callable[[], None] = lambda: calls.append(sum(range(1_000)))  # noqa: E731
    assert us_per_span(record, 100) > 0
    assert len(calls) == 100
