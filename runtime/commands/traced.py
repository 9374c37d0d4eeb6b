"""How traces and their figures are shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from llmgine.runtime.commands.output import clock, note, out, plain_width, table, write

if TYPE_CHECKING:
    from decimal import Decimal

    from llmgine.actors.telemetry.query import View
    from llmgine.telemetry import ModelStats, Row, Span, Stats, TraceSummary
    from llmgine.telemetry.answers import Latency

# Columns of a drawing where no terminal says how many there are.
_PLAIN_WIDTH = 120
# Below so many columns the bars leave room for names and notes.
_NARROW, _NARROW_BAR = 100, 20


def seconds(value: float | None) -> str:
    """`1.24 s`, `38 ms`, `0.21 ms`; nothing for a time that is not known."""
    if value is None:
        return ""
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.{0 if value >= 0.01 else 2}f} ms"


def money(cost: Decimal | None, unpriced: int = 0) -> str:
    """Dollars; calls whose price is not known are told beside it."""
    said = "" if cost is None else f"${cost}"
    return f"{said} + {unpriced} unpriced".removeprefix(" + ") if unpriced else said


def show_all(found: list[TraceSummary]) -> None:
    """One row a trace."""
    if not found:
        write("no traces\n")
        return
    rows = [
        (
            one.id,
            clock(datetime.fromtimestamp(one.start / 1e9, UTC)),
            one.name,
            one.session,
            "running" if one.seconds is None else seconds(one.seconds),
            str(one.spans),
            f"{one.tokens.input} + {one.tokens.output}",
            money(one.cost, one.unpriced),
            _state(one),
        )
        for one in found
    ]
    columns = ("id", "began", "name", "session", "took", "spans", "tokens", "cost", "remarks")
    table(f"{len(found)} traces", columns, rows)


def _state(one: TraceSummary) -> str:
    # That its share of all traces is kept says nothing of this one.
    why = "" if one.kept_because == "ratio" else one.kept_because
    said = [one.error or "", "incomplete" if one.incomplete else "", why]
    return ", ".join(dict.fromkeys(word for word in said if word))


def span_json(span: Span | None) -> dict[str, Any] | None:
    """A span as plain values, its ids in hexadecimal."""
    if span is None:
        return None
    links = [{"trace_id": f"{link.trace_id:032x}", "span_id": f"{link.span_id:016x}"} for link in span.links]
    ids = {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
    parent = f"{span.parent_id:016x}" if span.parent_id else None
    return {**dataclasses.asdict(span), **ids, "parent_id": parent, "links": links}


def draw(view: View) -> None:
    """The spans with their bars; whatever is not drawn is told."""
    what = "session" if view.is_session else "trace"
    draw_rows(view.rows(), f"{what} {view.name}")
    if view.truncated:
        note(f"{view.truncated} more spans were left out; `llmgine traces export` has them")
    for cut in view.cuts:
        note(f"{cut.source} died: what it did is known up to its record {cut.last}")


def draw_rows(rows: Sequence[Row], title: str) -> None:
    """A waterfall as wide as the terminal; elsewhere as wide as is good to read."""
    from llmgine.telemetry.exporters.console import BAR_COLUMNS, drawing

    with plain_width(_PLAIN_WIDTH):
        columns = BAR_COLUMNS if out.width >= _NARROW else _NARROW_BAR
        out.print(drawing(rows, title=title, columns=columns), soft_wrap=False)


def show_stats(found: Stats) -> None:
    """A row for each model and one for all, then the waits for pools and the errors."""
    rows = [_model(f"{one.provider}/{one.model}", one) for one in found.models]
    columns = ("model", "calls", "failed", "input", "cached", "output", "reasoning", "cost")
    table("model calls", columns, [*rows, _model("all", found.total)])
    measured = {f"{one.provider}/{one.model}": one for one in found.models} | {"all": found.total}
    latencies = [
        (name, what, *_spread(getattr(one, field)))
        for name, one in measured.items()
        for field, what in _LATENCIES.items()
        if getattr(one, field).count
    ]
    if latencies:
        table("times", ("model", "time", "p50", "p95", "p99"), latencies)
    if found.queue_waits:
        waits = [(pool, *_spread(wait)) for pool, wait in found.queue_waits.items()]
        table("waits for pools", ("pool", "p50", "p95", "p99"), waits)
    _counts("errors", found.errors)
    _counts("traces", found.traces)
    _counts("seen", {"spans": found.spans, "sessions": found.sessions})


_LATENCIES = {
    "duration": "whole call",
    "first_chunk": "to the first chunk",
    "per_chunk": "between chunks",
    "queue_wait": "wait for an actor",
}


def _model(name: str, one: ModelStats) -> tuple[str, ...]:
    tokens = one.tokens
    counts = (one.calls, sum(one.errors.values()), tokens.input, tokens.cached, tokens.output)
    return (name, *map(str, counts), str(tokens.reasoning), money(one.cost, one.unpriced))


def _spread(latency: Latency) -> tuple[str, str, str]:
    return seconds(latency.p50), seconds(latency.p95), seconds(latency.p99)


def _counts(title: str, counts: Mapping[str, int]) -> None:
    if counts:
        table(title, ("", "count"), [(name, str(count)) for name, count in counts.items()])
