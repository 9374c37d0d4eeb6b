"""Counters, gauges, histograms, and their sums over sources."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.telemetry import MergedMetrics, Metrics, SpanRecorder, names
from llmgine.telemetry.metrics import MAX_SERIES
from llmgine.telemetry.records import SeriesRecord


def read(merged: MergedMetrics) -> dict[Any, Any]:
    return {(series.name, series.labels): series.value for series in merged.read()}


def test_values_equal_exactly_what_happened() -> None:
    """Counters count, gauges stand where they were set, histograms count under each bound."""
    metrics = Metrics()
    for _ in range(1000):
        metrics.counter("events_published_total").add()
    gauge = metrics.gauge("queue_size", handler="h")
    for _ in range(7):
        gauge.add(1)
    for _ in range(7):
        gauge.add(-1)
    histogram = metrics.histogram(names.METRIC_PROCESS_DURATION)
    for value in (0.005, 0.0051, 100.0):
        histogram.observe(value)
    assert metrics.counter("events_published_total").value == 1000
    assert gauge.value == 0
    assert histogram.counts[:2] == [1, 1]
    assert histogram.counts[-1] == 1
    assert histogram.count == 3
    assert histogram.sum == pytest.approx(100.0101)


def test_labels_make_series_whatever_their_order() -> None:
    """The same labels give the same instrument, other labels another."""
    metrics = Metrics()
    one = metrics.counter("calls", provider="a", model="m")
    assert metrics.counter("calls", model="m", provider="a") is one
    assert metrics.counter("calls", model="n", provider="a") is not one


@pytest.mark.parametrize("label", ["session_id", "turn_id", "trace_id"])
def test_labels_without_bound_are_refused(label: str) -> None:
    """A label whose values grow with use raises and says where it belongs."""
    with pytest.raises(ValueError, match="put it on a span"):
        Metrics().counter("calls", **{label: "x"})


def test_series_of_one_metric_are_bounded() -> None:
    """Past the limit all further label sets share one series, and that is counted."""
    metrics = Metrics()
    for number in range(MAX_SERIES + 50):
        metrics.counter("calls", model=f"m{number}").add()
    values = {key: value for key, value in metrics.read().items() if key[0] == "calls"}
    assert len(values) == MAX_SERIES + 1
    assert sum(values.values()) == MAX_SERIES + 50
    assert values["calls", (("overflow", "true"),)] == 50
    assert metrics.counter(names.METRIC_SERIES_OVERFLOW).value == 50


def test_one_name_is_one_kind() -> None:
    """A name is not a counter and a gauge at once, and the table's kind holds."""
    metrics = Metrics()
    metrics.counter("calls")
    with pytest.raises(ValueError, match="cannot also be"):
        metrics.gauge("calls")
    with pytest.raises(ValueError, match="is a gauge"):
        metrics.counter("queue_size")


def test_only_what_changed_travels_and_all_of_it_on_demand() -> None:
    """A quiet series is not sent again until somebody has lost it."""
    source = SpanRecorder("s")
    source.count("events_published_total", 2)
    source.gauge("queue_size", 5, handler="h")
    source.observe(names.METRIC_QUEUE_WAIT, 0.2, pool="p")
    first = source.drain()
    assert first is not None
    assert len(first.metrics) == 3
    assert source.drain() is None
    source.count("events_published_total")
    second = source.drain()
    assert second is not None
    assert [(series.name, series.value) for series in second.metrics] == [("events_published_total", 3)]
    source.metrics.ship_all()
    third = source.drain()
    assert third is not None
    assert len(third.metrics) == 3


@given(st.randoms(use_true_random=False), st.lists(st.integers(0, 2), max_size=40))
def test_sums_do_not_depend_on_order_or_repeats(shuffle: random.Random, work: list[int]) -> None:
    """Whatever order batches arrive in, twice or once, the sums are what happened."""
    sources = [SpanRecorder(f"s{number}") for number in range(3)]
    batches = []
    for number in work:
        source = sources[number]
        source.count("events_published_total")
        source.observe(names.METRIC_PROCESS_DURATION, 0.01 * number)
        batch = source.drain()
        assert batch is not None
        batches.append(batch)
    arriving = batches + batches
    shuffle.shuffle(arriving)
    merged = MergedMetrics()
    for batch in arriving:
        merged.update(batch.instance, batch.number, batch.metrics)
    values = read(merged)
    assert values.get(("events_published_total", ()), 0) == len(work)
    if work:
        assert sum(values[names.METRIC_PROCESS_DURATION, ()][1]) == len(work)


def test_gauges_of_a_source_that_is_gone_end_and_its_counts_stay() -> None:
    """A dead process holds no queue, but what it counted has happened."""
    merged = MergedMetrics()
    for number, name in enumerate("ab"):
        source = SpanRecorder(name)
        source.count("events_published_total", 10)
        source.gauge("queue_size", 4, handler="h")
        batch = source.drain()
        assert batch is not None
        merged.update(number, batch.number, batch.metrics)
    queue = ("queue_size", (("handler", "h"),))
    assert read(merged)[queue] == 8
    merged.gone(0)
    assert read(merged)[queue] == 4
    assert read(merged)["events_published_total", ()] == 20
    merged.back(0)
    assert read(merged)[queue] == 8
    merged.gone(0)
    merged.fold(0)
    assert read(merged)[queue] == 4
    assert read(merged)["events_published_total", ()] == 20


def test_histograms_of_other_bounds_are_not_mixed() -> None:
    """A source with other buckets is left out and counted."""
    merged = MergedMetrics()
    for number, bounds in enumerate(((1.0,), (2.0,))):
        metrics = Metrics()
        histogram = metrics.histogram("h")
        histogram.bounds, histogram.counts = bounds, [1, 0]
        merged.update(number, 0, metrics.changed())
    assert read(merged)["h", ()][1] == (1, 0)
    assert read(merged)["h", ()][1] == (1, 0)
    assert merged.mismatched == 1
    merged.fold(1)
    merged.fold(0)
    read(merged)
    assert merged.mismatched == 1


def test_the_worst_state_of_all_sources_holds() -> None:
    """Two shards whose breakers of one handler are half open make none that is open."""
    merged = MergedMetrics()
    for number, state in enumerate((1, 1, 0)):
        metrics = Metrics()
        metrics.gauge(names.METRIC_BREAKER_STATE, handler="h").set(state)
        merged.update(number, 0, metrics.changed())
    assert read(merged)[names.METRIC_BREAKER_STATE, (("handler", "h"),)] == 1


def test_figures_of_another_process_are_added() -> None:
    """Counts and observations come to what is counted here, a gauge stands where it stood there."""
    here, there = Metrics(), Metrics()
    for metrics in (here, there):
        metrics.counter("found", kind="a").add(2)
        metrics.gauge("level").set(7)
        metrics.histogram(names.METRIC_TOOL_SECONDS).observe(0.3)
    for record in there.changed():
        here.take_in(record)
    assert here.counter("found", kind="a").value == 4
    assert here.gauge("level").value == 7
    histogram = here.histogram(names.METRIC_TOOL_SECONDS)
    assert (histogram.count, histogram.sum) == (2, 0.6)
    for kind, name, value in (
        ("gauge", "found", 1),
        ("histogram", names.METRIC_TOOL_SECONDS, (1.0, (1, 0), (0.5,))),
    ):
        with pytest.raises(ValueError, match=r"found|buckets"):
            here.take_in(SeriesRecord(kind, name, (("kind", "a"),) if name == "found" else (), value))
