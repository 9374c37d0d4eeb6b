"""Sums of all spans in the database: added to, read by session, model and provider."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any, Final

import msgpack
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from llmgine.actors.telemetry.keeping.rows import write_rows
from llmgine.actors.telemetry.keeping.tables import (
    COUNTS,
    ERRORS,
    MODELS,
    SESSIONS,
    SPENT,
    TRACES,
    WAITS,
)
from llmgine.telemetry import CostRow, Rollup, SessionSummary, Stats
from llmgine.telemetry.answers import CostBy
from llmgine.telemetry.rollup import HOUR, OTHER, Calls, ModelUsage, Spent
from llmgine.telemetry.sketch import Sketch
from llmgine.telemetry.summaries import (
    cost_of,
    cost_row,
    key_of,
    statistics,
    tokens_of,
    total_of,
    unpriced_of,
)

MOST_ROWS: Final = 10_000  # of one answer on costs
_SPANS: Final = "spans"
_ADDING: Final = {
    "cost": "decimal_add",
    "usage": "usage_add",
    "sketch": "sketch_add",
    "started": "min",
    "last": "max",
}
_NUMBERS: Final = tuple(one.name for one in SPENT.columns if not one.primary_key and one.name != "cost")


def add(connection: sa.Connection, rollup: Rollup, counts: Mapping[str, int]) -> None:
    """Add sums to those that are kept."""
    add_rows(connection, SESSIONS, [_tally(*item) for item in rollup.sessions.items()])
    add_rows(connection, SPENT, [_spent_row(*item) for item in rollup.spent.items()])
    models = [
        {"hour": hour, "provider": provider, "model": model, "usage": msgpack.packb(usage.to_wire())}
        for (hour, provider, model), usage in rollup.models.items()
    ]
    add_rows(connection, MODELS, models)
    waits = [
        {"hour": hour, "pool": pool, "sketch": msgpack.packb(sketch.to_wire())}
        for (hour, pool), sketch in rollup.waits.items()
    ]
    add_rows(connection, WAITS, waits)
    errors = [
        {"hour": hour, "error": error, "number": count} for (hour, error), count in rollup.errors.items()
    ]
    add_rows(connection, ERRORS, errors)
    counted = {_SPANS: rollup.spans, **counts}
    add_rows(
        connection, COUNTS, [{"name": name, "number": count} for name, count in counted.items() if count]
    )


def sessions(
    connection: sa.Connection,
    query: str,
    limit: int,
    after: tuple[int, str] | None,
    ids: Sequence[str] | None = None,
) -> list[SessionSummary]:
    """The sessions last active, whose id or one of whose models contains the query; of these ids alone."""
    table = SESSIONS.c
    wanted = sa.select(SESSIONS).order_by(table.last.desc(), table.session).limit(limit)
    if after is not None:
        last, session = -after[0], after[1]
        wanted = wanted.where((table.last < last) | ((table.last == last) & (table.session > session)))
    if query:
        name = SPENT.c.provider + "/" + SPENT.c.model
        used = sa.select(SPENT.c.session).where(sa.func.instr(name, query) > 0)
        wanted = wanted.where((sa.func.instr(table.session, query) > 0) | table.session.in_(used))
    if ids is not None:
        wanted = wanted.where(table.session.in_(ids))
    rows = connection.execute(wanted).all()
    spent: dict[str, list[tuple[Calls, Spent]]] = {}
    for calls, of_calls in _spent(connection, SPENT.c.session.in_([row.session for row in rows])):
        spent.setdefault(calls.session, []).append((calls, of_calls))
    return [_session(row, spent.get(row.session, [])) for row in rows]


def of_session(connection: sa.Connection, session: str) -> list[ModelUsage]:
    """What all calls of one session came to by model, exactly, and nothing of how long they took."""
    models: dict[tuple[str, str], ModelUsage] = {}
    for calls, of_calls in _spent(connection, SPENT.c.session == session):
        key = calls.provider, calls.model
        models.setdefault(key, ModelUsage(*key)).spent.add(of_calls)
    return [models[key] for key in sorted(models)]


def cost(connection: sa.Connection, by: CostBy, since: int | None) -> list[CostRow]:
    """What calls came to that ended in the hour of `since` or later, the dearest first.

    Past MOST_ROWS all cheaper ones share `other`.
    """
    rows: dict[str, Spent] = {}
    for calls, of_calls in _spent(connection, SPENT.c.hour >= _hour(since)):
        rows.setdefault(key_of(by, calls), Spent()).add(of_calls)
    if len(rows) > MOST_ROWS:
        dearest = sorted(rows, key=lambda key: (-rows[key].cost, key))
        rest = total_of([rows.pop(key) for key in dearest[MOST_ROWS - 1 :]])
        rows.setdefault(OTHER, Spent()).add(rest)
    told = [cost_row(key, of_key) for key, of_key in rows.items()]
    return sorted(told, key=lambda row: (-(row.cost or Decimal(0)), row.key))


def stats(connection: sa.Connection, since: int | None, traces: Mapping[str, int]) -> Stats:
    """Everything that was counted in the hour of `since` or later."""
    hour, rollup = _hour(since), Rollup()
    for row in connection.execute(sa.select(MODELS).where(MODELS.c.hour >= hour)):
        usage = ModelUsage.from_wire(msgpack.unpackb(row.usage))
        usage.provider, usage.model = row.provider, row.model  # it may have lost its own
        rollup.models[row.hour, row.provider, row.model] = usage
    for row in connection.execute(sa.select(WAITS).where(WAITS.c.hour >= hour)):
        rollup.waits[row.hour, row.pool] = Sketch.from_wire(msgpack.unpackb(row.sketch))
    for row in connection.execute(sa.select(ERRORS).where(ERRORS.c.hour >= hour)):
        rollup.errors[row.hour, row.error] = row.number
    counts = {row.name: row.number for row in connection.execute(sa.select(COUNTS))}
    rollup.spans = counts.pop(_SPANS, 0)
    held = connection.execute(sa.select(sa.func.count()).select_from(TRACES)).scalar_one()
    number = connection.execute(sa.select(sa.func.count()).select_from(SESSIONS)).scalar_one()
    return statistics(rollup, sessions=number, traces={"stored": held, **counts, **traces})


def _hour(since: int | None) -> int:
    return -1 if since is None else since // HOUR * HOUR


def add_rows(connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add rows to those of the same keys."""
    write_rows(connection, _adding(table), rows)


@cache
def _adding(table: sa.Table) -> sa.Insert:
    statement = insert(table)
    values = {
        one.name: _sum(one, statement.excluded[one.name]) for one in table.columns if not one.primary_key
    }
    keys = list(table.primary_key.columns)
    return statement.on_conflict_do_update(index_elements=keys, set_=values)


def _sum(column: sa.Column[Any], new: sa.ColumnElement[Any]) -> Any:
    adding = _ADDING.get(column.name)
    return column + new if adding is None else sa.Function(adding, column, new)


def _tally(session: str, tally: Any) -> dict[str, Any]:
    names = ("started", "last", "traces", "spans", "errors")
    return {"session": session, **{name: getattr(tally, name) for name in names}}


def _spent_row(calls: Calls, spent: Spent) -> dict[str, Any]:
    numbers = {name: getattr(spent, name) for name in _NUMBERS}
    return calls._asdict() | numbers | {"cost": format(spent.cost, "f")}


def _spent(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> list[tuple[Calls, Spent]]:
    return [
        (Calls(row.hour, row.session, row.provider, row.model), _spent_of(row))
        for row in connection.execute(sa.select(SPENT).where(condition))
    ]


def _spent_of(row: sa.Row[Any]) -> Spent:
    return Spent(cost=Decimal(row.cost), **{name: getattr(row, name) for name in _NUMBERS})


def _session(row: sa.Row[Any], of_calls: Sequence[tuple[Calls, Spent]]) -> SessionSummary:
    spent = total_of(one for _, one in of_calls)
    return SessionSummary(
        session=row.session,
        started=row.started,
        last=row.last,
        traces=row.traces,
        spans=row.spans,
        errors=row.errors,
        running=0,
        tokens=tokens_of(spent),
        cost=cost_of(spent),
        unpriced=unpriced_of(spent),
        models=tuple(sorted({f"{calls.provider}/{calls.model}" for calls, _ in of_calls})),
    )
