"""Traces and sessions in one line each, and whether a trace is one that is asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from llmgine.telemetry.answers import (
    CostBy,
    CostRow,
    Latency,
    ModelStats,
    Stats,
    Tokens,
    TraceQuery,
    TraceSummary,
)
from llmgine.telemetry.assemble import Trace
from llmgine.telemetry.names import ACTOR_DIED
from llmgine.telemetry.records import Span
from llmgine.telemetry.rollup import SKETCHES, Calls, ModelUsage, Rollup, Spent, by_model, is_call, model_of
from llmgine.telemetry.sketch import Sketch


def summary_of(trace: Trace, kept_because: str = "") -> TraceSummary:
    """The trace in one line; its name is its root's, else its first span's."""
    spans = trace.spans
    root = next((span for span in spans if not span.parent_id), spans[0])
    start, end, running, errors = spans[0].start, 0, 0, []
    spent, models = Spent(), set()
    for span in spans:
        if span.error is not None:
            errors.append(span.error)
        if span.end is None:
            running += 1
            continue
        end = max(end, span.end)
        if is_call(span):
            spent.add(Spent.of(span))
            models.add("/".join(model_of(span)))
    return TraceSummary(
        id=f"{trace.trace_id:032x}",
        name=root.name,
        session=root.session or next(iter(trace.sessions), ""),
        start=start,
        end=None if running else end,
        seconds=None if running else (end - start) / 1e9,
        spans=len(spans) + trace.over_limit,
        errors=len(errors),
        running=running,
        incomplete=bool(trace.over_limit or trace.cuts),
        tokens=tokens_of(spent),
        cost=cost_of(spent),
        unpriced=unpriced_of(spent),
        models=tuple(sorted(models)),
        error=root.error or next(iter(errors), None),
        kept_because=kept_because,
    )


def joined(one: Trace, other: Trace) -> Trace:
    """What both know of one trace; an end wins over a start, and the other over the one.

    A process that the one took for dead lives where all that it was cut off from has ended by itself.
    """
    spans = {span.span_id: span for span in one.spans}
    for span in other.spans:
        if span.span_id not in spans or span.end is not None:
            spans[span.span_id] = span
    died = {span.source for span in spans.values() if span.error == ACTOR_DIED}
    cuts = (*(cut for cut in one.cuts if cut.source in died), *other.cuts)
    return Trace(
        one.trace_id,
        tuple(sorted(spans.values(), key=lambda span: (span.start, span.span_id))),
        tuple(sorted({*one.sessions, *other.sessions})),
        max(one.over_limit, other.over_limit),
        tuple({cut.instance: cut for cut in cuts}.values()),
    )


def matches(query: TraceQuery, trace: Trace, summary: TraceSummary, now: int) -> bool:
    """Whether the trace meets all that is asked for; what runs has lasted until now."""
    return (
        (query.session is None or query.session in trace.sessions)
        and (query.error is None or query.error == bool(summary.errors))
        and (query.min_seconds is None or _seconds(summary, now) >= query.min_seconds)
        and (query.model is None or any(query.model in model for model in summary.models))
        and (query.since is None or summary.start >= query.since)
        and (query.until is None or summary.start < query.until)
        and (query.text is None or query.text.lower() in searched(trace.spans))
    )


def searched(spans: Iterable[Span]) -> str:
    """What a search for text looks through: names, errors and values of attributes, in lower case."""
    found: dict[str, None] = {}
    for span in spans:
        found[span.name] = None
        if span.error is not None:
            found[span.error] = None
        found.update(dict.fromkeys(map(str, span.attributes.values())))
    return "\n".join(found).lower()


def cost_row(key: str, spent: Spent) -> CostRow:
    """What calls came to, under one name."""
    return CostRow(key, spent.calls, tokens_of(spent), cost_of(spent), unpriced_of(spent))


def key_of(by: CostBy, calls: Calls) -> str:
    """The name under which what these calls came to is added up."""
    return {"session": calls.session, "model": f"{calls.provider}/{calls.model}", "provider": calls.provider}[
        by
    ]


def stats_of(usage: ModelUsage) -> ModelStats:
    """The usage of one model as it is told."""
    spent = usage.spent
    latencies = {name: latency_of(getattr(usage, name)) for name in SKETCHES}
    return ModelStats(
        provider=usage.provider,
        model=usage.model,
        calls=spent.calls,
        errors=dict(usage.errors),
        tokens=tokens_of(spent),
        unmetered=spent.unmetered,
        cost=cost_of(spent),
        unpriced=unpriced_of(spent),
        **latencies,
    )


def statistics(rollup: Rollup, **counts: Any) -> Stats:
    """Everything that was counted, over all models, by model and by pool."""
    models = by_model(rollup.models.values())
    total = ModelUsage("", "")
    for usage in models:
        total.merge(usage)
    waits: dict[str, Sketch] = {}
    for (_, pool), sketch in rollup.waits.items():
        waits.setdefault(pool, Sketch()).merge(sketch)
    errors: dict[str, int] = {}
    for (_, error), count in rollup.errors.items():
        errors[error] = errors.get(error, 0) + count
    return Stats(
        total=stats_of(total),
        models=tuple(map(stats_of, models)),
        queue_waits={pool: latency_of(waits[pool]) for pool in sorted(waits)},
        errors={error: errors[error] for error in sorted(errors) if errors[error]},
        spans=rollup.spans,
        **counts,
    )


def latency_of(sketch: Sketch) -> Latency:
    """The percentiles of a sketch, to the microsecond."""
    p50, p95, p99 = (sketch.quantile(share) for share in (0.5, 0.95, 0.99))
    if p50 is None or p95 is None or p99 is None:
        return Latency()
    return Latency(sketch.count, sketch.sum, round(p50, 6), round(p95, 6), round(p99, 6), sketch.max)


def total_of(spents: Iterable[Spent]) -> Spent:
    """All of these together."""
    total = Spent()
    for spent in spents:
        total.add(spent)
    return total


def tokens_of(spent: Spent) -> Tokens:
    return Tokens(spent.input, spent.output, spent.cached, spent.cache_write, spent.reasoning)


def cost_of(spent: Spent) -> Decimal | None:
    """The exact sum of the costs that are known; None where none is."""
    return spent.cost if spent.priced else None


def unpriced_of(spent: Spent) -> int:
    return spent.calls - spent.priced


def _seconds(summary: TraceSummary, now: int) -> float:
    return (now - summary.start) / 1e9 if summary.seconds is None else summary.seconds
