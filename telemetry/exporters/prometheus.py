"""Metrics for whoever scrapes the cluster, in Prometheus's names. Pure but for what it is given to speak to.

Histograms go out as the gauges `NAME_bucket`, `NAME_sum` and `NAME_count`, which queries read as they read
a histogram: Ray's own histograms take each value for the middle of its bucket, so their sums, such as of
tokens, are wrong by half.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any, Final, Protocol

from llmgine.telemetry.metrics import Labels, Number, Series
from llmgine.telemetry.names import METRICS, Metric

OVERFLOW: Final = "overflow"
_ROOMS: Final = ("gen_ai", "messaging", "llmgine")


class Meters(Protocol):
    """Takes figures to where they are scraped. Of one name, the label names are always the same."""

    def count(self, name: str, description: str, labels: Mapping[str, str], amount: float) -> None:
        """Adds to a counter; what is scraped ends in `_total`."""

    def set(self, name: str, description: str, labels: Mapping[str, str], value: float) -> None:
        """Sets a gauge."""


class PrometheusPublisher:
    """Tells meters what series have come to since they were told last."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters
        self._told: dict[tuple[str, Labels], Number] = {}  # of counters

    def publish(self, series: Iterable[Series]) -> None:
        """All series as they stand now; those that the table of names does not know are passed over.

        What stands at a level is told each time: the page forgets it after a while.
        """
        for one in series:
            metric = METRICS.get(one.name)
            key = (one.name, one.labels)
            if metric is None or metric.kind != one.kind:
                continue
            self._tell(metric, _labels(metric, one.labels), one.value, self._told.get(key, 0))
            if one.kind == "counter":
                self._told[key] = one.value

    def _tell(self, metric: Metric, labels: dict[str, str], value: Any, told: Number) -> None:
        name = prometheus_name(metric)
        if metric.kind == "gauge":
            self._meters.set(name, metric.description, labels, value)
        elif metric.kind == "counter":
            if value > told:
                self._meters.count(name, metric.description, labels, value - told)
        else:
            total, counts, bounds = value
            below = accumulate(counts)
            for bound, count in zip((*map(_bound, bounds), "+Inf"), below, strict=True):
                self._meters.set(f"{name}_bucket", metric.description, {**labels, "le": bound}, count)
            self._meters.set(f"{name}_sum", metric.description, labels, total)
            self._meters.set(f"{name}_count", metric.description, labels, sum(counts))


def prometheus_name(metric: Metric) -> str:
    """`gen_ai_client_operation_duration_seconds`; a counter's `_total` is added where it is scraped."""
    name = metric.name.removesuffix("_total").replace(".", "_")
    if metric.unit == "s" and not name.endswith("_seconds"):
        name += "_seconds"
    return name if name.startswith(_ROOMS) else f"llmgine_{name}"


def scraped_names(metric: Metric) -> tuple[str, ...]:
    """What Ray's metrics page calls it."""
    endings = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
    return tuple(f"ray_{prometheus_name(metric)}{ending}" for ending in endings[metric.kind])


def label_names(metric: Metric) -> tuple[str, ...]:
    """The labels that each series of the metric bears; those without a value are empty."""
    return (*(label.replace(".", "_") for label in metric.labels), *((OVERFLOW,) if metric.labels else ()))


def _labels(metric: Metric, given: Labels) -> dict[str, str]:
    known = {name.replace(".", "_"): value for name, value in given}
    return {name: known.get(name, "") for name in label_names(metric)}


def _bound(bound: float) -> str:
    return repr(float(bound))
