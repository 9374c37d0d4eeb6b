"""What has grown too old or too much goes, counted by the reason."""

from __future__ import annotations

from typing import Any, Final

import sqlalchemy as sa

from llmgine.actors.telemetry.keeping import sums, traces
from llmgine.actors.telemetry.keeping.tables import SESSIONS, SPENT, TRACES
from llmgine.telemetry import Rollup, TelemetryOptions
from llmgine.telemetry.rollup import Calls, Spent

_PORTION: Final = 1000  # traces or rows that go in one transaction


def tidy(connection: sa.Connection, options: TelemetryOptions, now: int) -> bool:
    """One portion of what must go, and whether there may be more; the oldest go first."""
    reason, ids = _too_many(connection, options, now)
    traces.forget(connection, ids)
    sums.add(connection, Rollup(), {f"stored_over_{reason}": len(ids)})
    folded = _fold(connection, options.kept_sums)
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


def _fold(connection: sa.Connection, most: int) -> bool:
    """Rows of sessions that were quiet the longest lose their session; sums over all stay what they are."""
    surplus = connection.execute(sa.select(sa.func.count()).select_from(SPENT)).scalar_one() - most
    if surplus > 0:
        with_session = sa.select(SPENT).where(SPENT.c.session != "").order_by(SPENT.c.hour)
        rows = connection.execute(with_session.limit(min(surplus, _PORTION))).all()
        surplus = len(rows)  # none where all rows are of no session: then there is nothing to fold
        folded = Rollup()
        for row in rows:
            _move(connection, folded, row)
        sums.add(connection, folded, {"sums_folded": len(rows)} if rows else {})
    many = connection.execute(sa.select(sa.func.count()).select_from(SESSIONS)).scalar_one() - most
    if many > 0:
        quiet = sa.select(SESSIONS.c.session).order_by(SESSIONS.c.last).limit(min(many, _PORTION))
        connection.execute(sa.delete(SESSIONS).where(SESSIONS.c.session.in_(quiet)))
        sums.add(connection, Rollup(), {"sessions_forgotten": min(many, _PORTION)})
    return surplus > 0 or many > 0


def _move(connection: sa.Connection, into: Rollup, row: sa.Row[Any]) -> None:
    calls = Calls(row.hour, row.session, row.provider, row.model)
    into.spent.setdefault(calls._replace(session=""), Spent()).add(sums.spent_of(row))
    same = sa.and_(*(SPENT.c[name] == value for name, value in calls._asdict().items()))
    connection.execute(sa.delete(SPENT).where(same))
