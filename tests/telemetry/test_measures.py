"""Metrics that follow from spans."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from llmgine.telemetry import Metrics, Span, names
from llmgine.telemetry.measures import SpanMeasures

SECOND = 1_000_000_000
MODEL = {
    names.GEN_AI_OPERATION_NAME: "chat",
    names.GEN_AI_PROVIDER_NAME: "openai",
    names.GEN_AI_REQUEST_MODEL: "gpt-4o",
}


def span(attributes: dict[str, Any], number: int = 1, **fields: Any) -> Span:
    return replace(Span(7, number, 0, "x", "client", "s1", "a", 0, 2 * SECOND, None, attributes), **fields)


def measured(*spans: Span) -> dict[str, dict[tuple[tuple[str, str], ...], tuple[int, float]]]:
    """Of each metric, each series' count and sum."""
    metrics = Metrics()
    measures = SpanMeasures(metrics)
    for one in spans:
        measures.add(one)
    found: dict[str, dict[Any, Any]] = {}
    for (name, labels), (total, counts, _) in metrics.read().items():
        found.setdefault(name, {})[labels] = (sum(counts), total)
    return found


def test_a_model_call_is_measured_as_the_conventions_say() -> None:
    """Duration, tokens by type, the first chunk and the pace of the others, under the model's labels."""
    told = {
        **MODEL,
        names.GEN_AI_USAGE_INPUT_TOKENS: 120,
        names.GEN_AI_USAGE_OUTPUT_TOKENS: 30,
        names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: 0.5,
        names.LLMGINE_RESPONSE_CHUNKS: 4,
    }
    found = measured(span(told))
    model = tuple(sorted(MODEL.items()))
    assert found[names.METRIC_OPERATION_DURATION] == {model: (1, 2.0)}
    tokens = found[names.METRIC_TOKEN_USAGE]
    assert {dict(labels)[names.GEN_AI_TOKEN_TYPE]: value for labels, value in tokens.items()} == {
        "input": (1, 120),
        "output": (1, 30),
    }
    assert found[names.METRIC_TIME_TO_FIRST_CHUNK] == {model: (1, 0.5)}
    assert found[names.METRIC_TIME_PER_OUTPUT_CHUNK] == {model: (1, 0.5)}


def test_turns_tools_and_waits_are_measured() -> None:
    """Each has its histogram, failed ones under the kind of their failure."""
    turn = {names.GEN_AI_OPERATION_NAME: "invoke_agent", names.LLMGINE_TURN_ID: "t"}
    tool = {
        names.GEN_AI_OPERATION_NAME: "execute_tool",
        names.GEN_AI_TOOL_NAME: "clock",
        names.GEN_AI_TOOL_CALL_ID: "c",
    }
    wait = {names.LLMGINE_POOL: "openai", names.LLMGINE_QUEUE_WAIT: 0.25}
    found = measured(span(turn, 1), span(tool, 2, error="tool_error"), span(wait, 3), span({}, 4))
    assert found == {
        names.METRIC_TURN_SECONDS: {(): (1, 2.0)},
        names.METRIC_TOOL_SECONDS: {
            ((names.ERROR_TYPE, "tool_error"), (names.GEN_AI_TOOL_NAME, "clock")): (1, 2.0)
        },
        names.METRIC_QUEUE_WAIT: {((names.LLMGINE_POOL, "openai"),): (1, 0.25)},
    }


def test_a_span_that_was_given_up_and_ends_after_all_counts_once() -> None:
    """A process that was only away adds nothing when it tells the real end."""
    died = span(MODEL, error=names.ACTOR_DIED)
    found = measured(died, span(MODEL), died, span(MODEL, 2))
    counts = [count for count, _ in found[names.METRIC_OPERATION_DURATION].values()]
    assert counts == [1, 1]


def test_no_label_says_whose_call_it_was() -> None:
    """Nothing of sessions, turns or calls, nor any text, is a label."""
    told = {
        **MODEL,
        names.GEN_AI_CONVERSATION_ID: "s1",
        names.GEN_AI_INPUT_MESSAGES: "hello",
        names.GEN_AI_USAGE_INPUT_TOKENS: True,
        names.GEN_AI_USAGE_OUTPUT_TOKENS: -1,
    }
    found = measured(span(told))
    assert set(found) == {names.METRIC_OPERATION_DURATION}
    (labels,) = found[names.METRIC_OPERATION_DURATION]
    assert set(dict(labels)) == set(MODEL)
    assert names.FORBIDDEN_LABELS.isdisjoint(dict(labels))
