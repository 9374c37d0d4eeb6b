"""Answers to questions about traces, sessions and costs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmgine.actors.link import StreamReset
from llmgine.telemetry import Assembler, Trace, TraceQuery, usage_of
from llmgine.telemetry.answers import CostBy, page_to_wire
from llmgine.telemetry.exporters.jsonl import line
from llmgine.telemetry.rollup import HOUR, Spent
from llmgine.telemetry.summaries import (
    cost_row,
    key_of,
    matches,
    session_of,
    statistics,
    stats_of,
    summary_of,
)

MAX_ANSWER_SPANS = 2000
MAX_PAGE = 500

QUESTIONS = "ask {sessions}, {traces}, {session}, {trace}, {stats}, {cost}, {export} or {counters}"


class Answering:
    """Answers from what the telemetry actor holds."""

    def __init__(
        self, assembler: Assembler, counters: Callable[[], dict[str, Any]], clock: Callable[[], int]
    ) -> None:
        self._assembler = assembler
        self._counters = counters
        self._clock = clock

    async def answer(self, question: Any) -> dict[str, Any]:
        """The answer to one question; `StreamReset` with code `bad_request` where it is none."""
        match question:
            case {"sessions": str(query), "limit": int(limit), "cursor": cursor}:
                return self._sessions(query, limit, cursor)
            case {"traces": dict(query), "limit": int(limit), "cursor": cursor}:
                return self._traces(_trace_query(query), limit, cursor)
            case {"session": str(session)}:
                return self._session(session)
            case {"trace": str(trace)}:
                return {"trace": trace, **_bounded([found] if (found := self._trace(trace)) else [])}
            case {"stats": True}:
                return self._stats()
            case {"cost": "session" | "model" | "provider" as by, "since": int() | None as since}:
                return self._cost(by, since)
            case {"export": str(trace), "format": "jsonl"}:
                return {"export": self._export(trace)}
            case {"counters": _}:
                return self._counters()
        raise StreamReset("bad_request", QUESTIONS)

    def _sessions(self, query: str, limit: int, cursor: Any) -> dict[str, Any]:
        found = [session_of(name, self._assembler.session(name)) for name in self._assembler.sessions()]
        found = [one for one in found if query in one.session or any(query in name for name in one.models)]
        ordered = sorted(found, key=lambda one: (-one.last, one.session))
        return _page(ordered, lambda one: (-one.last, one.session), limit, cursor)

    def _traces(self, query: TraceQuery, limit: int, cursor: Any) -> dict[str, Any]:
        now = self._clock()
        found = [(trace, summary_of(trace)) for trace in self._assembler.traces()]
        kept = [summary for trace, summary in found if matches(query, trace, summary, now)]
        ordered = sorted(kept, key=lambda one: (-one.start, one.id))
        return _page(ordered, lambda one: (-one.start, one.id), limit, cursor)

    def _session(self, session: str) -> dict[str, Any]:
        traces = self._assembler.session(session)
        usage = usage_of(span for trace in traces for span in trace.spans)
        return {
            "session": session,
            **_bounded(traces),
            "usage": [stats_of(model).to_wire() for model in usage],
        }

    def _trace(self, trace: str) -> Trace | None:
        try:
            return self._assembler.trace(int(trace, 16))
        except ValueError:
            raise StreamReset("bad_request", "a trace id is hexadecimal") from None

    def _stats(self) -> dict[str, Any]:
        return {"stats": statistics(self._assembler.rollup).to_wire()}

    def _cost(self, by: CostBy, since: int | None) -> dict[str, Any]:
        rows: dict[str, Spent] = {}
        for calls, spent in self._assembler.rollup.spent.items():
            if since is None or calls.hour + HOUR > since:
                rows.setdefault(key_of(by, calls), Spent()).add(spent)
        return {"rows": [cost_row(key, spent).to_wire() for key, spent in sorted(rows.items())]}

    def _export(self, trace: str) -> str:
        found = self._trace(trace)
        return "".join(line(span).decode("ascii") for span in found.spans) if found else ""


def _trace_query(wire: dict[str, Any]) -> TraceQuery:
    try:
        return TraceQuery.from_wire(wire)
    except TypeError as error:
        raise StreamReset("bad_request", f"no question about traces: {error}") from None


def _page(items: list[Any], key: Callable[[Any], tuple[int, str]], limit: int, cursor: Any) -> dict[str, Any]:
    after = _read_cursor(cursor)
    rest = [item for item in items if after is None or key(item) > after]
    shown = rest[: max(1, min(limit, MAX_PAGE))]
    more = len(rest) > len(shown)
    last = key(shown[-1]) if more else None
    return page_to_wire(tuple(shown), None if last is None else f"{last[0]}:{last[1]}")


def _read_cursor(cursor: Any) -> tuple[int, str] | None:
    if cursor is None:
        return None
    number, _, text = cursor.partition(":") if isinstance(cursor, str) else ("", "", "")
    try:
        return int(number), text
    except ValueError:
        raise StreamReset("bad_request", "the cursor is not one that a page was told with") from None


def _bounded(traces: list[Trace]) -> dict[str, Any]:
    """The newest traces that fit one answer; `truncated` counts the spans left out."""
    room, kept, left_out = MAX_ANSWER_SPANS, [], 0
    for trace in reversed(traces):
        spans = trace.spans[:room]
        room -= len(spans)
        left_out += len(trace.spans) - len(spans)
        if spans:
            kept.append(
                {
                    "trace_id": f"{trace.trace_id:032x}",
                    "sessions": list(trace.sessions),
                    "spans": [span.to_wire() for span in spans],
                    "over_limit": trace.over_limit,
                    "cuts": [[cut.source, cut.instance, cut.last] for cut in trace.cuts],
                }
            )
    return {"traces": kept[::-1], "truncated": left_out}
