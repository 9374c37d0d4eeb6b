"""Answers to questions about traces, sessions and costs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from llmgine.actors.link import StreamReset
from llmgine.actors.telemetry import sizes
from llmgine.actors.telemetry.keeping import TraceStore
from llmgine.telemetry import (
    Assembler,
    SessionSummary,
    Span,
    Stats,
    Trace,
    TraceQuery,
    TraceSummary,
    usage_of,
)
from llmgine.telemetry.answers import ExportFormat, page_to_wire
from llmgine.telemetry.exporters.jsonl import line
from llmgine.telemetry.exporters.otlp.encoding import Encoder
from llmgine.telemetry.exporters.otlp_json import request_line
from llmgine.telemetry.rollup import session_name
from llmgine.telemetry.sampling import TailSampler
from llmgine.telemetry.summaries import joined, matches, stats_of, summary_of

T = TypeVar("T")

MAX_ANSWER_SPANS = 2000
MAX_PAGE = 500

QUESTIONS = (
    "ask {sessions}, {traces}, {session}, {usage}, {trace}, {stats}, {cost}, {export}, {counters}, {pause} "
    "or {keep}"
)


class Answering:
    """Answers from what is in memory and what is kept, each trace and session once."""

    def __init__(
        self, assembler: Assembler, sampler: TailSampler, store: TraceStore, encoder: Callable[[], Encoder]
    ) -> None:
        self._encoder = encoder
        self._assembler = assembler
        self._sampler = sampler
        self._store = store

    async def answer(self, question: Any, now: int) -> dict[str, Any]:
        """The answer to one question; `StreamReset` with code `bad_request` where it is none."""
        match question:
            case {"sessions": str(query), "limit": int(limit), "cursor": cursor, "ids": list() | None as ids}:
                return await self._sessions(query, _bounded(limit), _read_cursor(cursor), ids)
            case {"traces": dict(query), "limit": int(limit), "cursor": cursor}:
                return await self._traces(_trace_query(query), _bounded(limit), _read_cursor(cursor), now)
            case {"session": str(session)}:
                return await self._session(session)
            case {"usage": str(session)}:
                self._hand_over()
                usage = sorted(await self._store.usage(session), key=lambda one: (one.provider, one.model))
                return {"usage": [stats_of(one).to_wire() for one in usage]}
            case {"trace": str(id)}:
                found = await self._trace(id)
                return {"trace": id, **_told([found] if found else [])}
            case {"stats": int() | None as since}:
                return {"stats": (await self.statistics(since)).to_wire()}
            case {"cost": "session" | "model" | "provider" as by, "since": int() | None as since}:
                self._hand_over()
                rows = await self._store.cost(by, since)
                return {"rows": [row.to_wire() for row in rows]}
            case {
                "export": str(id),
                "format": "jsonl" | "otlp-json" as format,
                "after": [int(start), int(span)],
            }:
                found = await self._trace(id)
                ended = _ended_after((start, span), found.spans if found else ())
                return await asyncio.to_thread(self._exported, ended, format)
        raise StreamReset("bad_request", QUESTIONS)

    async def statistics(self, since: int | None) -> Stats:
        """Everything that was counted in the hour of `since` or later."""
        self._hand_over()
        return await self._store.stats(since, {"open": len(self._sampler.open_traces())})

    async def _sessions(
        self, query: str, limit: int, after: tuple[int, str] | None, ids: list[str] | None
    ) -> dict[str, Any]:
        self._hand_over()
        found = await self._store.sessions(query, limit + 1, after, ids and ids[:MAX_PAGE])
        running = self._assembler.running()
        told = [replace(one, running=running[one.session]) for one in found]
        return _page(told, limit, _session_key)

    async def _traces(
        self, query: TraceQuery, limit: int, after: tuple[int, str] | None, now: int
    ) -> dict[str, Any]:
        """Kept ones, and among them those that are not settled yet."""
        held: dict[str, TraceSummary] = {}
        for trace_id in self._sampler.open_traces():
            if (trace := self._assembler.trace(trace_id)) is not None:
                summary = summary_of(trace, self._sampler.because(trace_id))
                held[summary.id] = summary
                if not matches(query, trace, summary, now) or (after and _trace_key(summary) <= after):
                    held.pop(summary.id)
        kept = await self._store.find(query, limit + 1, after)
        found = {one.id: one for one in (*kept, *held.values())}
        return _page(sorted(found.values(), key=_trace_key), limit, _trace_key)

    async def _session(self, session: str) -> dict[str, Any]:
        held = {trace.trace_id: trace for trace in self._assembler.session(session)}
        for trace in await self._store.of_session(session, MAX_ANSWER_SPANS):
            known = held.get(trace.trace_id)
            held[trace.trace_id] = trace if known is None else joined(trace, known)
        found = sorted(held.values(), key=lambda trace: trace.spans[0].start)
        usage = {(one.provider, one.model): one for one in usage_of(_spans_of(session, found))}
        self._hand_over()
        for exact in await self._store.usage(session):
            usage.setdefault((exact.provider, exact.model), exact).spent = exact.spent
        return {
            "session": session,
            **_told(found),
            "usage": [stats_of(usage[key]).to_wire() for key in sorted(usage)],
        }

    async def _trace(self, id: str) -> Trace | None:
        try:
            number = int(id, 16)
        except ValueError:
            raise StreamReset("bad_request", "a trace id is hexadecimal") from None
        held = self._assembler.trace(number)
        for kept in await self._store.read([f"{number:032x}"]):
            return kept if held is None else joined(kept, held)
        return held

    def _exported(self, spans: Sequence[Span], format: ExportFormat) -> dict[str, Any]:
        """As many of these as fit one answer, as lines of that format, and after which more are to follow."""
        # As JSON spans may be several times as large.
        fit, _ = sizes.fitting((span.to_wire() for span in spans), sizes.MAX_BYTES // 4)
        part = spans[: max(1, fit)]
        more = [part[-1].start, part[-1].span_id] if len(part) < len(spans) else None
        if not part:
            text = b""
        elif format == "otlp-json":
            text = request_line(self._encoder(), part)
        else:
            text = b"".join(map(line, part))
        return {"export": text.decode("ascii"), "next": more}

    def _hand_over(self) -> None:
        """What has ended by now is in the sums that are asked for."""
        self._store.add(self._assembler.take_rollup(), {})


def _ended_after(after: tuple[int, int], spans: Iterable[Span]) -> list[Span]:
    """What has ended of a trace, after the span of that start and id."""
    return [span for span in spans if span.end is not None and (span.start, span.span_id) > after]


def _spans_of(session: str, found: Iterable[Trace]) -> Iterable[Span]:
    return (span for trace in found for span in trace.spans if session_name(span) == session)


def _trace_query(wire: dict[str, Any]) -> TraceQuery:
    try:
        return TraceQuery.from_wire(wire)
    except TypeError as error:
        raise StreamReset("bad_request", f"no question about traces: {error}") from None


def _trace_key(summary: TraceSummary) -> tuple[int, str]:
    return -summary.start, summary.id


def _session_key(summary: SessionSummary) -> tuple[int, str]:
    return -summary.last, summary.session


def _page(found: Sequence[T], limit: int, key: Callable[[T], tuple[int, str]]) -> dict[str, Any]:
    shown = tuple(found[:limit])
    number, name = key(shown[-1]) if shown else (0, "")
    return page_to_wire(shown, f"{number}:{name}" if len(found) > limit else None)


def _bounded(limit: int) -> int:
    return max(1, min(limit, MAX_PAGE))


def _read_cursor(cursor: Any) -> tuple[int, str] | None:
    if cursor is None:
        return None
    number, _, text = cursor.partition(":") if isinstance(cursor, str) else ("", "", "")
    try:
        return int(number), text
    except ValueError:
        raise StreamReset("bad_request", "the cursor is not one that a page was told with") from None


def _told(found: Iterable[Trace]) -> dict[str, Any]:
    """The newest traces that fit one answer; `truncated` counts the spans left out."""
    room, size, kept, left_out = MAX_ANSWER_SPANS, sizes.MAX_BYTES, [], 0
    for trace in reversed(list(found)):
        spans = [span.to_wire() for span in trace.spans[:room]]
        fit, size = sizes.fitting(spans, size)
        if fit < len(spans):
            spans, size = spans[:fit], 0
        room -= len(spans)
        left_out += len(trace.spans) - len(spans)
        if spans:
            kept.append(
                {
                    "trace_id": f"{trace.trace_id:032x}",
                    "sessions": list(trace.sessions),
                    "spans": spans,
                    "over_limit": trace.over_limit,
                    "cuts": [[cut.source, cut.instance, cut.last] for cut in trace.cuts],
                }
            )
    return {"traces": kept[::-1], "truncated": left_out}
