"""A trace as rows to draw: a tree by depth, and for each span where its bar begins and how long it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from llmgine.telemetry.records import Span

MAX_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Row:
    """One span in a drawing. `left` and `width` are shares of the whole, both within 0 and 1."""

    depth: int
    name: str
    kind: str
    source: str
    offset: float  # seconds since the drawing's begin
    seconds: float  # how long it took, or has taken so far
    left: float
    width: float
    running: bool
    error: str | None
    orphan: bool  # its parent is not among the spans: lost, forgotten, or another system's
    span: Span | None  # None for a row that stands for a whole session


def waterfall(spans: Iterable[Span], now: int) -> list[Row]:
    """The rows of one trace or several: parents before children, siblings by start.

    Every span has exactly one row, also where its parent is missing or ids run in a circle. Spans
    that still run last until `now`.
    """
    ordered = sorted(spans, key=lambda span: (span.start, span.trace_id, span.span_id))
    if not ordered:
        return []
    begin = ordered[0].start
    whole = max(1, max(_end(span, now) for span in ordered) - begin)
    children: dict[tuple[int, int], list[Span]] = {}
    known = {(span.trace_id, span.span_id) for span in ordered}
    roots: list[Span] = []
    for span in ordered:
        parent = (span.trace_id, span.parent_id)
        if parent in known and parent != (span.trace_id, span.span_id):
            children.setdefault(parent, []).append(span)
        else:
            roots.append(span)
    rows: list[Row] = []
    drawn: set[tuple[int, int]] = set()
    for root in (*roots, *ordered):  # the second pass finds what only hangs on itself in a circle
        stack = [(root, 0)]
        while stack:
            span, depth = stack.pop()
            key = (span.trace_id, span.span_id)
            if key in drawn:
                continue
            drawn.add(key)
            rows.append(_row(span, depth, begin, whole, now, orphan=bool(span.parent_id) and depth == 0))
            deeper = min(depth + 1, MAX_DEPTH)
            stack.extend((child, deeper) for child in reversed(children.get(key, ())))
    return rows


def session_waterfall(session: str, spans: Iterable[Span], now: int) -> list[Row]:
    """The rows of a session: one for the session itself, its turns and all that they did below it."""
    rows = waterfall(spans, now)
    if not rows or (rows[0].depth == 0 and sum(row.depth == 0 for row in rows) == 1 and _is_session(rows[0])):
        return rows
    seconds = max(row.offset + row.seconds for row in rows)
    running = any(row.running for row in rows)
    top = Row(0, f"session {session}", "internal", "", 0.0, seconds, 0.0, 1.0, running, None, False, None)
    return [top, *(_deeper(row) for row in rows)]


def bar(row: Row, columns: int, full: str = "━", edge: str = "╸") -> str:
    """The row's bar as text of `columns` characters; the shortest span still shows."""
    start = min(columns - 1, int(row.left * columns))
    exact = row.width * columns
    length = min(columns - start, max(1, int(exact)))
    drawn = edge if exact < 0.5 else full * length
    return " " * start + drawn + " " * (columns - start - len(drawn))


def to_wire(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Plain values of the rows, for a page or a terminal elsewhere."""
    return [
        {name: getattr(row, name) for name in Row.__slots__ if name != "span"}
        | {"attributes": row.span.attributes if row.span else {}}
        for row in rows
    ]


def _end(span: Span, now: int) -> int:
    return max(span.start, now if span.end is None else span.end)


def _row(span: Span, depth: int, begin: int, whole: int, now: int, *, orphan: bool) -> Row:
    end = _end(span, now)
    left = (span.start - begin) / whole
    return Row(
        depth,
        span.name,
        span.kind,
        span.source,
        (span.start - begin) / 1e9,
        (end - span.start) / 1e9,
        left,
        min(1.0 - left, (end - span.start) / whole),
        span.end is None,
        span.error,
        orphan,
        span,
    )


def _is_session(row: Row) -> bool:
    return row.name.split(" ", 1)[0] == "session"


def _deeper(row: Row) -> Row:
    fields = {name: getattr(row, name) for name in Row.__slots__}
    return Row(**(fields | {"depth": row.depth + 1}))
