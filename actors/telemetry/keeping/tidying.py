"""What has grown too old or too much goes, counted by the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import sqlalchemy as sa

from llmgine.actors.telemetry.keeping import sums, traces
from llmgine.actors.telemetry.keeping.tables import ERRORS, MODELS, SESSIONS, SPENT, TRACES, WAITS
from llmgine.telemetry import Rollup, TelemetryOptions
from llmgine.telemetry.rollup import HOUR, OTHER

_DAY: Final = 24 * HOUR
_MOST_NAMED: Final = 5000  # rows of a kind that are all read for one answer
_PORTION: Final = 1000  # traces or rows that go in one transaction


def tidy(connection: sa.Connection, options: TelemetryOptions, now: int) -> bool:
    """One portion of what must go, and whether there may be more; the oldest go first."""
    reason, ids = _too_many(connection, options, now)
    traces.forget(connection, ids)
    sums.add(connection, Rollup(), {f"stored_over_{reason}": len(ids)})
    folded = _fold(connection, options.kept_sums, now)
    return bool(ids) or folded


def _too_many(connection: sa.Connection, options: TelemetryOptions, now: int) -> tuple[str, list[str]]:
    table = TRACES.c
    oldest = sa.select(table.id, table.size).order_by(table.start).limit(_PORTION)
    if options.kept_seconds is not None:
        old = oldest.where(table.kept < now - int(options.kept_seconds * 1e9))
        if ids := [row.id for row in connection.execute(old)]:
            return "age", ids
    number, size = connection.execute(sa.select(sa.func.count(), sa.func.total(table.size))).one()
    if (surplus := number - options.kept_traces) > 0:
        return "count", [row.id for row in connection.execute(oldest.limit(min(surplus, _PORTION)))]
    ids, surplus = [], int(size) - options.kept_bytes
    for row in connection.execute(oldest) if surplus > 0 else ():
        if surplus <= 0:
            break
        ids.append(row.id)
        surplus -= row.size
    return "bytes", ids


def _fold(connection: sa.Connection, most: int, now: int) -> bool:
    """Sums that are too many are added together, the oldest first; what all calls came to stays as it is."""
    folded = _fold_rows(connection, SPENT, most, now)
    for table in (MODELS, WAITS, ERRORS):
        folded += _fold_rows(connection, table, min(most, _MOST_NAMED), now)
    many = connection.execute(sa.select(sa.func.count()).select_from(SESSIONS)).scalar_one() - most
    if many > 0:
        quiet = sa.select(SESSIONS.c.session).order_by(SESSIONS.c.last).limit(min(many, _PORTION))
        connection.execute(sa.delete(SESSIONS).where(SESSIONS.c.session.in_(quiet)))
    counts = {"sums_folded": folded, "sessions_forgotten": max(0, min(many, _PORTION))}
    sums.add(connection, Rollup(), counts)
    return folded > 0 or many > 0


def _fold_rows(connection: sa.Connection, table: sa.Table, most: int, now: int) -> int:
    """Rows beyond that number lose their session, then their hour for its day, then their name."""
    surplus = connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() - most
    if surplus <= 0:
        return 0
    keys = list(table.primary_key.columns)
    for condition, lose in _losses(table, now):
        oldest = sa.select(table).where(condition).order_by(table.c.hour).limit(min(surplus, _PORTION))
        rows = [dict(row) for row in connection.execute(oldest).mappings()]
        for row in rows:
            connection.execute(sa.delete(table).where(sa.and_(*(key == row[key.name] for key in keys))))
        if rows:
            sums.add_rows(connection, table, [row | lose(row) for row in rows])
            return len(rows)
    return 0


def _losses(table: sa.Table, now: int) -> Iterator[tuple[sa.ColumnElement[bool], Callable[[Any], Any]]]:
    """Which rows can be told apart by what, and what they are without it; the least is lost first."""
    hour = table.c.hour
    if "session" in table.c:
        yield table.c.session != "", lambda row: {"session": ""}
    yield (hour % _DAY != 0) & (hour < now - 2 * _DAY), _day
    names = [key for key in table.primary_key.columns if key.name not in ("hour", "session")]
    others = {name.name: OTHER for name in names}
    yield sa.or_(*(name != OTHER for name in names)), lambda row: _day(row) | others


def _day(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"hour": row["hour"] // _DAY * _DAY}
