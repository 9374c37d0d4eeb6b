"""Kept traces in the database: written, found, read."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final

import msgpack
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from llmgine.actors.telemetry.keeping.rows import write_rows
from llmgine.actors.telemetry.keeping.tables import BODIES, TRACE_SESSIONS, TRACES
from llmgine.telemetry import Cut, Span, Trace, TraceQuery, TraceSummary
from llmgine.telemetry.summaries import joined, searched, summary_of

_SEARCHED: Final = 16_384
_MANY: Final = 500  # ids in one statement
_COMPRESSED: Final = 4096  # bytes of a body from which on it is worth it
_ZLIB: Final = b"\x78"  # the first byte of what is compressed; that of packed values is another
_ADD_SESSION: Final = insert(TRACE_SESSIONS).on_conflict_do_nothing()


def write(connection: sa.Connection, traces: Sequence[tuple[Trace, str]], now: int) -> None:
    """Keep these traces, each with its reason; what is known of one already is added to."""
    known = dict(_read(connection, [_hex(trace) for trace, _ in traces]))
    rows: list[dict[str, Any]] = []
    bodies: list[dict[str, Any]] = []
    sessions: list[dict[str, Any]] = []
    for trace, because in traces:
        id = _hex(trace)
        whole = joined(known[id], trace) if id in known else trace
        body = packed(whole)
        rows.append(_row(whole, because, len(body), now))
        bodies.append({"id": id, "body": body})
        sessions += [{"session": session, "trace": id} for session in whole.sessions]
    write_rows(connection, _upsert(TRACES), rows)
    write_rows(connection, _upsert(BODIES), bodies)
    write_rows(connection, _ADD_SESSION, sessions)


def find(
    connection: sa.Connection, query: TraceQuery, limit: int, after: tuple[int, str] | None
) -> list[TraceSummary]:
    """The newest that meet the query, after the one of that negative start and id."""
    table = TRACES.c
    wanted = sa.select(table.summary).order_by(table.start.desc(), table.id).limit(limit)
    if after is not None:
        start, id = -after[0], after[1]
        wanted = wanted.where((table.start < start) | ((table.start == start) & (table.id > id)))
    if query.session is not None:
        of_session = sa.select(TRACE_SESSIONS.c.trace).where(TRACE_SESSIONS.c.session == query.session)
        wanted = wanted.where(table.id.in_(of_session))
    if query.error is not None:
        wanted = wanted.where(table.errors > 0 if query.error else table.errors == 0)
    if query.min_seconds is not None:
        wanted = wanted.where(table.seconds >= query.min_seconds)
    if query.model is not None:
        wanted = wanted.where(sa.func.instr(table.models, query.model) > 0)
    if query.since is not None:
        wanted = wanted.where(table.start >= query.since)
    if query.until is not None:
        wanted = wanted.where(table.start < query.until)
    if query.text is not None:
        wanted = wanted.where(sa.func.instr(table.searched, query.text.lower()) > 0)
    return [summary(row.summary) for row in connection.execute(wanted)]


def read(connection: sa.Connection, ids: Sequence[str]) -> list[Trace]:
    """The traces of these ids that are kept."""
    return [trace for _, trace in _read(connection, ids)]


def of_session(connection: sa.Connection, session: str, spans: int) -> list[Trace]:
    """A session's newest traces, as many as have that many spans between them or one more."""
    wanted = (
        sa.select(TRACES.c.id, TRACES.c.summary)
        .join(TRACE_SESSIONS, TRACE_SESSIONS.c.trace == TRACES.c.id)
        .where(TRACE_SESSIONS.c.session == session)
        .order_by(TRACES.c.start.desc())
    )
    ids: list[str] = []
    for row in connection.execute(wanted):
        if spans <= 0:
            break
        ids.append(row.id)
        spans -= summary(row.summary).spans
    return read(connection, ids)


def forget(connection: sa.Connection, ids: Sequence[str]) -> None:
    """Remove these traces."""
    for part in _parts(ids):
        connection.execute(sa.delete(TRACES).where(TRACES.c.id.in_(part)))
        connection.execute(sa.delete(BODIES).where(BODIES.c.id.in_(part)))
        connection.execute(sa.delete(TRACE_SESSIONS).where(TRACE_SESSIONS.c.trace.in_(part)))


def _read(connection: sa.Connection, ids: Sequence[str]) -> Iterable[tuple[str, Trace]]:
    for part in _parts(ids):
        for row in connection.execute(sa.select(BODIES).where(BODIES.c.id.in_(part))):
            yield row.id, unpacked(row.id, row.body)


def _row(trace: Trace, because: str, size: int, now: int) -> dict[str, Any]:
    line = summary_of(trace, because)
    text = searched(trace.spans)[:_SEARCHED]
    return {
        "id": line.id,
        "start": line.start,
        "seconds": line.seconds,
        "errors": line.errors,
        "models": "\n".join(line.models),
        "searched": text,
        "size": size + len(text),
        "kept": now,
        "summary": msgpack.packb(line.to_wire()),
    }


@cache
def _upsert(table: sa.Table) -> sa.Insert:
    statement = insert(table)
    values = {one.name: statement.excluded[one.name] for one in table.columns if not one.primary_key}
    return statement.on_conflict_do_update(index_elements=list(table.primary_key.columns), set_=values)


def packed(trace: Trace) -> bytes:
    """The body of a trace; `unpacked` is the inverse."""
    spans = [span.to_wire()[1:] for span in trace.spans]  # the trace's own id is the row's
    cuts = [[cut.source, cut.instance, cut.last] for cut in trace.cuts]
    body: bytes = msgpack.packb([spans, trace.sessions, trace.over_limit, cuts])
    return body if len(body) < _COMPRESSED else zlib.compress(body, 1)


def unpacked(id: str, body: bytes) -> Trace:
    """The trace of that id with that body."""
    whole = zlib.decompress(body) if body[:1] == _ZLIB else body
    spans, sessions, over_limit, cuts = msgpack.unpackb(whole, strict_map_key=False)
    return Trace(
        int(id, 16),
        tuple(Span.from_wire([id, *span]) for span in spans),
        tuple(sessions),
        over_limit,
        tuple(Cut(*cut) for cut in cuts),
    )


def summary(wire: bytes) -> TraceSummary:
    """The trace in one line, as it was written."""
    return TraceSummary.from_wire(msgpack.unpackb(wire))


def _hex(trace: Trace) -> str:
    return f"{trace.trace_id:032x}"


def _parts(ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (ids[at : at + _MANY] for at in range(0, len(ids), _MANY))
