"""The table of names."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest

from llmgine.telemetry import names

CONSTANTS = {name: value for name, value in vars(names).items() if name.isupper() and isinstance(value, str)}
ROOT = Path(inspect.getfile(names)).parent.parent


def test_no_attribute_is_named_twice() -> None:
    """Each attribute constant has a name of its own, and all of them are in the table."""
    attributes = [
        value
        for name, value in CONSTANTS.items()
        if "." in value and not name.startswith(("METRIC_", "SEMANTIC_", "CONTENT_", "EVENT_"))
    ]
    assert len(attributes) == len(set(attributes))
    assert set(attributes) == names.ATTRIBUTES


def test_no_metric_is_named_twice_and_each_is_described() -> None:
    """Each metric constant is in the table once, with unit and description; histograms have buckets."""
    metrics = [value for name, value in CONSTANTS.items() if name.startswith("METRIC_")]
    assert len(metrics) == len(set(metrics))
    assert set(metrics) == set(names.METRICS)
    for metric in names.METRICS.values():
        assert metric.unit
        assert metric.description
        assert (metric.kind == "histogram") == bool(metric.buckets)
        assert list(metric.buckets) == sorted(set(metric.buckets))
        assert not names.FORBIDDEN_LABELS.intersection(metric.labels)


def test_the_names_that_users_of_the_bus_know_are_kept() -> None:
    """The metrics of the bus bear the names of the table in the guide."""
    counts = {f"{what}_{how}_total" for what in ("events", "commands") for how in ("processed", "failed")}
    levels = {"queue_size", "backpressure_active", "circuit_breaker_state", "dead_letter_queue_size"}
    durations = {"event_processing_duration_seconds", "command_processing_duration_seconds"}
    others = {"events_published_total", "commands_sent_total", "active_sessions", "registered_handlers"}
    kept = counts | levels | durations | others
    assert kept <= set(names.METRICS)


def test_the_conventions_names_are_those_of_the_stated_version() -> None:
    """Every gen_ai and messaging attribute is one of the pinned conventions, or the one newer on purpose."""
    attributes = pytest.importorskip("opentelemetry.semconv._incubating.attributes.gen_ai_attributes")
    messaging = pytest.importorskip("opentelemetry.semconv._incubating.attributes.messaging_attributes")
    known = {
        value
        for module in (attributes, messaging)
        for value in vars(module).values()
        if isinstance(value, str)
    }
    ours = {name for name in names.ATTRIBUTES if name.startswith(("gen_ai.", "messaging."))}
    assert ours - known <= {names.GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS}


def test_names_are_well_formed() -> None:
    """Attributes are dotted lower-case names."""
    assert all(re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", name) for name in names.ATTRIBUTES)


def test_no_other_module_writes_a_name_out() -> None:
    """Names of spans' attributes and metrics stand in the table alone."""
    written = []
    for folder in ("telemetry", "actors/telemetry"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.name == "names.py" and path.parent.name == "telemetry":
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                known = names.ATTRIBUTES | set(names.METRICS)
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in known:
                    written.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.value}")
    # A word without a dot may mean something else there, such as the key of a report.
    assert not [line for line in written if "." in line.split()[-1]]


def test_span_names_follow_the_conventions() -> None:
    """Span names are an operation and a target of low cardinality."""
    assert names.inference_span(names.OPERATION_CHAT, "gpt-4o") == "chat gpt-4o"
    assert names.tool_span("get_weather") == "execute_tool get_weather"
    assert names.turn_span() == "invoke_agent"
    assert names.turn_span("guide") == "invoke_agent guide"
    assert names.messaging_span(names.OPERATION_PROCESS, "OrderPlaced") == "process OrderPlaced"


def test_provider_names_are_translated() -> None:
    """Well-known providers get the conventions' names, others keep theirs."""
    assert names.provider_name("gemini") == "gcp.gemini"
    assert names.provider_name("local") == "local"
