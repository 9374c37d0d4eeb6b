"""Metrics as Prometheus sees them, and the dashboard that shows them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import llmgine.telemetry
from llmgine.telemetry import MergedMetrics, Metrics, names
from llmgine.telemetry.exporters.prometheus import (
    PrometheusPublisher,
    label_names,
    prometheus_name,
    scraped_names,
)

DASHBOARD = Path(llmgine.telemetry.__file__).parent / "grafana.json"


class Page:
    """What would be scraped."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self.labels: dict[str, tuple[str, ...]] = {}
        self.calls = 0

    def count(self, name: str, description: str, labels: Mapping[str, str], amount: float) -> None:
        assert amount > 0
        self._put(f"{name}_total", labels, self.values.get(self._key(f"{name}_total", labels), 0) + amount)

    def set(self, name: str, description: str, labels: Mapping[str, str], value: float) -> None:
        self._put(name, labels, value)

    def of(self, name: str, **labels: str) -> float:
        """The sum of all series with these labels."""
        return sum(
            value
            for (known, pairs), value in self.values.items()
            if known == name and labels.items() <= dict(pairs).items()
        )

    def _put(self, name: str, labels: Mapping[str, str], value: float) -> None:
        self.calls += 1
        assert self.labels.setdefault(name, tuple(labels)) == tuple(labels)
        self.values[self._key(name, labels)] = value

    def _key(self, name: str, labels: Mapping[str, str]) -> tuple[str, tuple[tuple[str, str], ...]]:
        return name, tuple(labels.items())


class Sources:
    """Two processes and what is published of both."""

    def __init__(self) -> None:
        self.one, self.other = Metrics(), Metrics()
        self.page = Page()
        self.merged = MergedMetrics()
        self._publisher = PrometheusPublisher(self.page)
        self._number = 0

    def publish(self) -> None:
        self._number += 1
        for instance, metrics in enumerate((self.one, self.other)):
            self.merged.update(instance, self._number, metrics.changed())
        self._publisher.publish(self.merged.read())


def test_what_is_scraped_equals_what_happened() -> None:
    """Counters, gauges and histograms are exact sums over all processes, however often they are published."""
    sources = Sources()
    for metrics in (sources.one, sources.other):
        metrics.counter(names.METRIC_TURNS).add(2)
        metrics.counter(names.METRIC_TURNS, **{names.ERROR_TYPE: "timeout"}).add()
        metrics.gauge(names.METRIC_QUEUE_SIZE).set(5)
        for tokens in (3, 70, 70, 9e8):
            metrics.histogram(names.METRIC_TOKEN_USAGE, **{names.GEN_AI_TOKEN_TYPE: "input"}).observe(tokens)
    sources.publish()
    sources.publish()
    sources.one.counter(names.METRIC_TURNS).add(1)
    sources.one.gauge(names.METRIC_QUEUE_SIZE).set(0)
    sources.publish()
    page = sources.page
    assert page.of("llmgine_turns_total", error_type="") == 5
    assert page.of("llmgine_turns_total", error_type="timeout") == 2
    assert page.of("llmgine_queue_size") == 5
    typed = {"gen_ai_token_type": "input"}
    assert page.of("gen_ai_client_token_usage_count", **typed) == 8
    assert page.of("gen_ai_client_token_usage_sum", **typed) == 2 * (143 + 9e8)
    bounds = ("1.0", "4.0", "64.0", "256.0", "+Inf")
    assert [page.of("gen_ai_client_token_usage_bucket", le=le) for le in bounds] == [0, 2, 2, 6, 8]


def test_gauges_of_a_process_that_is_gone_are_zero() -> None:
    """What it held is held no more; what it counted stays counted."""
    sources = Sources()
    sources.one.gauge(names.METRIC_ACTIVE_SESSIONS).set(7)
    sources.one.counter(names.METRIC_TURNS).add(7)
    sources.publish()
    sources.merged.gone(0)
    sources.publish()
    assert sources.page.of("llmgine_active_sessions") == 0
    assert sources.page.of("llmgine_turns_total") == 7


def test_levels_are_told_each_time() -> None:
    """The page forgets a level that nobody repeats; a count is told when it has grown."""
    sources = Sources()
    sources.one.counter(names.METRIC_TURNS).add()
    sources.one.gauge(names.METRIC_QUEUE_SIZE).set(1)
    sources.publish()
    assert sources.page.calls == 2
    sources.publish()
    assert sources.page.calls == 3


def test_what_the_table_does_not_know_is_not_published() -> None:
    """Only names with a description and known labels reach the page."""
    sources = Sources()
    sources.one.counter("something_else").add()
    sources.publish()
    assert sources.page.values == {}


@pytest.mark.parametrize("metric", names.METRICS.values(), ids=lambda metric: metric.name)
def test_each_metric_has_a_name_that_prometheus_takes(metric: names.Metric) -> None:
    """Names and labels are of its alphabet, in one of three rooms, with the unit where there is one."""
    name = prometheus_name(metric)
    assert re.fullmatch(r"(gen_ai|messaging|llmgine)_[a-z0-9_]+", name)
    assert not name.endswith("_total")
    assert (metric.unit == "s") == name.endswith("_seconds")
    assert all(re.fullmatch(r"[a-z_]+", label) for label in label_names(metric))


def test_no_two_metrics_meet_under_one_name() -> None:
    """What is scraped can be told apart."""
    scraped = [name for metric in names.METRICS.values() for name in scraped_names(metric)]
    assert len(scraped) == len(set(scraped))


# --- the dashboard


def _panels() -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return panels


def _queries() -> list[str]:
    return [target["expr"] for panel in _panels() for target in panel.get("targets", ())]


def test_the_dashboard_shows_only_what_is_scraped() -> None:
    """Each metric in a query is one of ours or of Ray's own, and each label one that it bears."""
    known = {name: metric for metric in names.METRICS.values() for name in scraped_names(metric)}
    for query in _queries():
        used = re.findall(r"\bray_[a-z_]+", query)
        assert used, query
        for name in used:
            assert name in known, name
            labels = {*label_names(known[name]), "le"}
            asked = {
                *re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)\s*\"", query),
                *(
                    label.strip()
                    for group in re.findall(r"by\s*\(([^)]*)\)", query)
                    for label in group.split(",")
                ),
            }
            assert asked <= labels, query


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    """Panels have numbers, titles, places that do not overlap, units and a data source that can be chosen."""
    panels = _panels()
    assert len({panel["id"] for panel in panels}) == len(panels)
    places: set[tuple[int, int]] = set()
    for panel in panels:
        assert panel["title"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & places
        assert place["x"] + place["w"] <= 24
        places |= cells
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": "prometheus", "uid": "${source}"}
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert panel["description"]
    written = json.loads(DASHBOARD.read_text())
    assert written["uid"] == "llmgine"
    assert [variable["name"] for variable in written["templating"]["list"]] == ["source"]
    assert all(query.count("(") == query.count(")") for query in _queries())


def test_the_dashboard_shows_only_what_is_measured() -> None:
    """Some code sets or counts each metric of the dashboard; the table of names alone measures nothing."""
    constants = {
        value: name
        for name, value in vars(names).items()
        if name.startswith("METRIC_") and value in names.METRICS
    }
    root = Path(llmgine.telemetry.__file__).parent.parent
    code = "".join(
        file.read_text(encoding="utf-8")
        for folder in ("actors", "telemetry", "runtime")
        for file in (root / folder).rglob("*.py")
        if file.name != "names.py"
    )
    shown = "\n".join(_queries())
    for metric in names.METRICS.values():
        if any(re.search(rf"\b{name}\b", shown) for name in scraped_names(metric)):
            assert re.search(rf"\b{constants[metric.name]}\b", code), metric.name
