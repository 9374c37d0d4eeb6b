"""Tokens, money, waiting and failures, added up."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.telemetry import Rollup, Span, names, rollup, usage_of
from llmgine.telemetry.rollup import HOUR, Calls
from llmgine.telemetry.summaries import statistics, stats_of

FULL: dict[str, Any] = {
    names.GEN_AI_USAGE_INPUT_TOKENS: 100,
    names.GEN_AI_USAGE_OUTPUT_TOKENS: 10,
    names.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: 5,
    names.GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS: 7,
    names.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: 3,
    names.LLMGINE_COST_USD: "0.1",
    names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: 0.25,
    names.LLMGINE_RESPONSE_TIME_PER_CHUNK: 0.05,
    names.LLMGINE_QUEUE_WAIT: 0.01,
}


def call(
    attributes: dict[str, Any] | None = None,
    model: str = "gpt-4o",
    error: str | None = None,
    session: str = "s",
    end: int = 500_000_000,
) -> Span:
    base = {
        names.GEN_AI_OPERATION_NAME: names.OPERATION_CHAT,
        names.GEN_AI_PROVIDER_NAME: "openai",
        names.GEN_AI_REQUEST_MODEL: model,
    }
    start = end - 500_000_000
    return Span(1, 2, 0, "chat", "client", session, "p", start, end, error, base | (attributes or {}))


def test_calls_add_up_exactly() -> None:
    """Tokens, calls and costs are exact sums, and times are told as percentiles."""
    [model] = map(stats_of, usage_of(call(FULL) for _ in range(3)))
    tokens = model.tokens
    assert (model.calls, tokens.input, tokens.output, tokens.reasoning) == (3, 300, 30, 9)
    assert (tokens.cached, tokens.cache_write) == (15, 21)
    assert model.cost == Decimal("0.3")
    assert model.duration.p50 == pytest.approx(0.5, rel=0.02)
    assert model.first_chunk.p99 == pytest.approx(0.25, rel=0.02)
    assert model.per_chunk.p50 == pytest.approx(0.05, rel=0.02)
    assert model.queue_wait.p95 == pytest.approx(0.01, rel=0.02)
    assert model.tokens_per_second.p50 == pytest.approx(40, rel=0.02)


def test_what_is_not_known_is_not_guessed() -> None:
    """Calls without usage or cost are counted as such, not as free."""
    [model] = map(
        stats_of, usage_of([call(error="timeout"), call({names.LLMGINE_COST_USD: "much"}), call(FULL)])
    )
    assert (model.unmetered, model.unpriced, model.cost) == (2, 2, Decimal("0.1"))
    assert model.errors == {"timeout": 1}
    [unpriced] = map(stats_of, usage_of([call()]))
    assert unpriced.cost is None


@pytest.mark.parametrize("cost", ["nan", "-1", "Infinity", "1e99", "1e-400000", True])
def test_no_cost_that_is_none_is_added(cost: Any) -> None:
    """What stands for a cost and cannot be one is an unknown cost."""
    [model] = map(stats_of, usage_of([call({names.LLMGINE_COST_USD: cost})]))
    assert model.cost is None


def test_no_number_of_tokens_that_is_none_is_added() -> None:
    """One that nobody can have used, or below zero, would spoil the sum of all others."""
    wrong = {names.GEN_AI_USAGE_INPUT_TOKENS: 2**63, names.GEN_AI_USAGE_OUTPUT_TOKENS: -5}
    [model] = map(stats_of, usage_of([call(FULL), call(wrong)]))
    assert (model.calls, model.tokens.input, model.tokens.output) == (2, 100, 10)


def test_only_model_calls_that_ended_count_as_calls() -> None:
    """Turns, tools and running calls add no usage; turns and tools are counted as spans of their session."""
    turn = call({names.GEN_AI_OPERATION_NAME: names.OPERATION_INVOKE_AGENT}, error="timeout")
    running = Span(1, 2, 0, "chat", "client", "s", "p", 0, None, None, call().attributes)
    assert usage_of([turn, running]) == []
    found = Rollup()
    found.add(turn)
    assert (found.spans, found.sessions["s"].spans, found.sessions["s"].errors) == (1, 1, 1)
    assert found.errors == {(0, "timeout"): 1}


def test_the_wait_for_a_pool_counts_by_pool() -> None:
    """A pool's call is no model call; how long it waited is told by the pool's name."""
    found = Rollup()
    waited = {names.LLMGINE_POOL: "local", names.LLMGINE_QUEUE_WAIT: 0.2}
    found.add(Span(1, 2, 0, names.SPAN_POOL_CALL, "server", "s", "p", 0, 10, None, waited))
    told = statistics(found)
    assert told.queue_waits["local"].p50 == pytest.approx(0.2, rel=0.02)
    assert told.total.calls == 0


def test_the_wait_for_a_pool_counts_by_model() -> None:
    """Where the pool's call says for which model it waited, that model's calls are told with it."""
    found = Rollup()
    of_model = {names.GEN_AI_PROVIDER_NAME: "openai", names.GEN_AI_REQUEST_MODEL: "gpt-4o"}
    waited = {names.LLMGINE_POOL: "openai", names.LLMGINE_QUEUE_WAIT: 0.2, **of_model}
    found.add(Span(1, 3, 2, names.SPAN_POOL_CALL, "client", "s", "p", 0, 10, None, waited))
    found.add(call())
    [model] = statistics(found).models
    assert (model.calls, model.queue_wait.count, model.duration.count) == (1, 1, 1)


def test_a_call_of_a_dead_process_counts_and_is_taken_back_where_it_lives() -> None:
    """It failed as its process died, in no known time; when that proves wrong, nothing of it is left."""
    found = Rollup()
    died = call(error=names.ACTOR_DIED)
    found.add(died)
    assert statistics(found).total.errors == {names.ACTOR_DIED: 1}
    assert statistics(found).total.duration.count == 0
    found.take_back(died)
    told = statistics(found)
    assert (told.spans, told.total.calls, told.total.errors, told.errors) == (0, 0, {}, {})
    assert found.sessions["s"].spans == 0


@pytest.mark.parametrize("error", [names.ACTOR_DIED, names.UNFINISHED])
def test_what_was_closed_for_its_process_is_measured_once(error: str) -> None:
    """When it ends itself after all, its time and its wait count as of one."""
    found = Rollup()
    waited = {names.LLMGINE_POOL: "local", names.LLMGINE_QUEUE_WAIT: 0.2}
    pooled = Span(1, 3, 0, names.SPAN_POOL_CALL, "client", "s", "p", 0, 10, None, waited)
    for span in (call(FULL), pooled):
        closed = replace(span, error=error)
        found.add(closed)
        found.take_back(closed)
        found.add(span)
    told = statistics(found)
    assert (told.total.calls, told.total.duration.count, told.queue_waits["local"].count) == (1, 1, 1)


def test_sums_are_of_hours() -> None:
    """What ended in different hours is kept apart, by session, provider and model."""
    found = Rollup()
    found.add(call(FULL, end=HOUR + 500_000_000))
    found.add(call(FULL, end=3 * HOUR, session="t"))
    assert set(found.spent) == {
        Calls(HOUR, "s", "openai", "gpt-4o"),
        Calls(3 * HOUR, "t", "openai", "gpt-4o"),
    }


@given(st.lists(st.sampled_from([call(FULL), call(error="x"), call(session="t", model="m")]), max_size=12))
def test_sums_of_parts_are_the_sum(spans: list[Span]) -> None:
    """Adding rollups gives what one rollup of all spans gives."""
    whole, parts = Rollup(), [Rollup(), Rollup()]
    for number, span in enumerate(spans):
        whole.add(span)
        parts[number % 2].add(span)
    parts[0].merge(parts[1])
    one, other = statistics(whole), statistics(parts[0])
    assert one.total.cost == other.total.cost
    assert one.total.tokens == other.total.tokens
    assert one.errors == other.errors
    assert one.total.duration.p95 == other.total.duration.p95
    assert whole.spent == parts[0].spent
    assert whole.sessions == parts[0].sessions


def test_keys_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the limit further sessions and models share one row, and no call goes uncounted."""
    monkeypatch.setattr(rollup, "MAX_KEYS", 100)
    found = Rollup()
    for number in range(1000):
        found.add(call(FULL, model=f"model-{number}", session=f"s{number}"))
    assert len(found.spent) + len(found.sessions) <= 102
    told = statistics(found)
    assert (told.total.calls, told.total.cost) == (1000, Decimal(100))


def test_keys_are_bounded_where_sums_are_added_to_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many parts with names of their own are added, there are so many keys and all calls count."""
    monkeypatch.setattr(rollup, "MAX_KEYS", 100)
    whole = Rollup()
    for number in range(400):
        part = Rollup()
        part.add(call(FULL, model=f"model-{number}", session=f"s{number}", error=f"e{number}"))
        waited = {names.LLMGINE_POOL: f"p{number}", names.LLMGINE_QUEUE_WAIT: 0.2}
        part.add(Span(1, 2, 0, names.SPAN_POOL_CALL, "client", "", "p", 0, 10, None, waited))
        whole.merge(part)
    assert len(whole.spent) + len(whole.sessions) + len(whole.errors) + len(whole.waits) <= 104
    assert len(whole.models) <= 101
    told = statistics(whole)
    assert (told.total.calls, sum(told.errors.values())) == (400, 400)
    assert sum(wait.count for wait in told.queue_waits.values()) == 400
