"""Traces and sessions in one line each, and whether a trace is one that is asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from llmgine.telemetry import names
from llmgine.telemetry.answers import (
    CostBy,
    CostRow,
    Latency,
    ModelStats,
    SessionSummary,
    Tokens,
    TraceQuery,
    TraceSummary,
)
from llmgine.telemetry.assemble import Trace
from llmgine.telemetry.records import Span
from llmgine.telemetry.rollup import ModelUsage, usage_of

_DIED = frozenset({names.ACTOR_DIED, names.UNFINISHED})


def summary_of(trace: Trace, kept_because: str = "") -> TraceSummary:
    """The trace in one line; its name is its root's, else its first span's."""
    spans = trace.spans
    known = {span.span_id for span in spans}
    root = next((span for span in spans if not span.parent_id), spans[0])
    running = sum(span.end is None for span in spans)
    end = None if running else max(span.end or span.start for span in spans)
    usage = usage_of(spans)
    return TraceSummary(
        id=f"{trace.trace_id:032x}",
        name=root.name,
        session=root.session or next(iter(trace.sessions), ""),
        start=spans[0].start,
        end=end,
        seconds=None if end is None else (end - spans[0].start) / 1e9,
        spans=len(spans) + trace.over_limit,
        errors=sum(span.error is not None for span in spans),
        running=running,
        incomplete=bool(trace.over_limit or trace.cuts)
        or any(span.error in _DIED or (span.parent_id and span.parent_id not in known) for span in spans),
        tokens=tokens_of(usage),
        cost=cost_of(usage),
        unpriced=unpriced_of(usage),
        models=models_of(usage),
        error=root.error or next((span.error for span in spans if span.error), None),
        kept_because=kept_because,
    )


def session_of(session: str, traces: Iterable[Trace]) -> SessionSummary:
    """The session as the spans of its traces show it."""
    held = list(traces)
    spans = [span for trace in held for span in trace.spans]
    usage = usage_of(spans)
    return SessionSummary(
        session=session,
        started=min(span.start for span in spans),
        last=max(span.end or span.start for span in spans),
        traces=len(held),
        spans=len(spans),
        errors=sum(span.error is not None for span in spans),
        running=sum(span.end is None for span in spans),
        tokens=tokens_of(usage),
        cost=cost_of(usage),
        unpriced=unpriced_of(usage),
        models=models_of(usage),
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
        for value in (span.name, span.error, *span.attributes.values()):
            if value is not None:
                found[str(value).lower()] = None
    return "\n".join(found)


def cost_row(key: str, usage: list[ModelUsage]) -> CostRow:
    """What these came to, under one name."""
    return CostRow(key, sum(one.calls for one in usage), tokens_of(usage), cost_of(usage), unpriced_of(usage))


def key_of(by: CostBy, session: str, usage: ModelUsage) -> str:
    """The name under which usage is added up."""
    return {"session": session, "model": f"{usage.provider}/{usage.model}", "provider": usage.provider}[by]


def stats_of(usage: ModelUsage) -> ModelStats:
    """The usage of one model as it is told."""
    return ModelStats(
        provider=usage.provider,
        model=usage.model,
        calls=usage.calls,
        errors=dict(usage.errors),
        tokens=tokens_of([usage]),
        unmetered=usage.unmetered,
        cost=cost_of([usage]),
        unpriced=unpriced_of([usage]),
        duration=Latency(usage.seconds.count, usage.seconds.sum),
        first_chunk=Latency(usage.first_chunk.count, usage.first_chunk.sum),
        per_chunk=Latency(),
        queue_wait=Latency(usage.queue_wait.count, usage.queue_wait.sum),
        tokens_per_second=Latency(),
    )


def tokens_of(usage: Iterable[ModelUsage]) -> Tokens:
    usage = list(usage)
    return Tokens(
        sum(one.input_tokens for one in usage),
        sum(one.output_tokens for one in usage),
        sum(one.cache_read_tokens for one in usage),
        sum(one.cache_write_tokens for one in usage),
        sum(one.reasoning_tokens for one in usage),
    )


def cost_of(usage: Iterable[ModelUsage]) -> Decimal | None:
    """The exact sum of the costs that are known; None where none is."""
    known = [one.cost for one in usage if one.priced]
    return sum(known, Decimal(0)) if known else None


def unpriced_of(usage: Iterable[ModelUsage]) -> int:
    return sum(one.calls - one.priced for one in usage)


def models_of(usage: Iterable[ModelUsage]) -> tuple[str, ...]:
    """`provider/model` of each, sorted."""
    return tuple(sorted({f"{one.provider}/{one.model}" for one in usage}))


def _seconds(summary: TraceSummary, now: int) -> float:
    return (now - summary.start) / 1e9 if summary.seconds is None else summary.seconds
