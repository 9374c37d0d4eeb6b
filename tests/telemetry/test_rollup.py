"""Tokens, money and waiting per model."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from llmgine.telemetry import Rollup, Span, names, usage_of
from llmgine.telemetry.rollup import MAX_MODELS


def call(attributes: dict[str, Any] | None = None, model: str = "gpt-4o", error: str | None = None) -> Span:
    base = {
        names.GEN_AI_OPERATION_NAME: names.OPERATION_CHAT,
        names.GEN_AI_PROVIDER_NAME: "openai",
        names.GEN_AI_REQUEST_MODEL: model,
    }
    return Span(1, 2, 0, "chat", "client", "s", "p", 0, 500_000_000, error, base | (attributes or {}))


def test_calls_add_up_exactly() -> None:
    """Tokens and calls add up, costs add as decimals, and times go into histograms."""
    usage = usage_of(
        call(
            {
                names.GEN_AI_USAGE_INPUT_TOKENS: 100,
                names.GEN_AI_USAGE_OUTPUT_TOKENS: 10,
                names.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: 5,
                names.GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS: 7,
                names.LLMGINE_COST_USD: "0.1",
                names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: 0.25,
                names.LLMGINE_QUEUE_WAIT: 0.01,
            }
        )
        for _ in range(3)
    )
    [model] = usage
    assert (model.calls, model.input_tokens, model.output_tokens) == (3, 300, 30)
    assert (model.cache_read_tokens, model.cache_write_tokens) == (15, 21)
    assert model.cost == Decimal("0.3")
    assert model.first_chunk.count == model.seconds.count == model.queue_wait.count == 3
    assert model.to_wire()["cost"] == "0.3"


def test_what_is_not_known_is_not_guessed() -> None:
    """Calls without usage or cost are counted as such, not as free."""
    [model] = usage_of([call(error="timeout"), call({names.LLMGINE_COST_USD: "much"})])
    assert (model.unmetered, model.priced) == (2, 0)
    assert model.to_wire()["cost"] is None
    assert model.errors == {"timeout": 1}


def test_only_model_calls_that_ended_count() -> None:
    """Turns, tools and running calls add nothing."""
    turn = call({names.GEN_AI_OPERATION_NAME: names.OPERATION_INVOKE_AGENT})
    running = Span(1, 2, 0, "chat", "client", "s", "p", 0, None, None, call().attributes)
    assert usage_of([turn, running]) == []


def test_models_are_bounded() -> None:
    """Past the limit further models share one row."""
    rollup = Rollup()
    for number in range(MAX_MODELS + 10):
        rollup.add(call(model=f"model-{number}"))
    rows = rollup.read()
    assert len(rows) == MAX_MODELS + 1
    assert sum(row.calls for row in rows) == MAX_MODELS + 10
