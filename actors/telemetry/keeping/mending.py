"""What in the database cannot be read is removed, so that all else is told and added to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import sqlalchemy as sa

from llmgine.actors.telemetry.keeping import sums, traces
from llmgine.actors.telemetry.keeping.database import decimal_add, sketch_add, usage_add
from llmgine.actors.telemetry.keeping.tables import BODIES, MODELS, SPENT, TRACES, WAITS
from llmgine.telemetry import Rollup

_SUMS: Final[tuple[tuple[sa.Table, str, Callable[[Any, Any], Any]], ...]] = (
    (SPENT, "cost", decimal_add),
    (MODELS, "usage", usage_add),
    (WAITS, "sketch", sketch_add),
)


def mend(connection: sa.Connection) -> int:
    """Remove traces and sums that cannot be read, counted; returns how many these were."""
    bodies = connection.execute(sa.select(BODIES.c.id, _as_it_is(BODIES.c.body)))
    damaged = {id for id, body in bodies if not _reads(_body, id, body)}
    lines = connection.execute(sa.select(TRACES.c.id, _as_it_is(TRACES.c.summary)))
    damaged |= {id for id, line in lines if not _reads(traces.summary, line)}
    traces.forget(connection, sorted(damaged))
    lost = sum(_mend_sums(connection, *one) for one in _SUMS)
    sums.add(connection, Rollup(), {"stored_unreadable": len(damaged), "sums_unreadable": lost})
    return len(damaged) + lost


def _mend_sums(connection: sa.Connection, table: sa.Table, name: str, add: Callable[[Any, Any], Any]) -> int:
    keys = [table.c[key.name] for key in table.primary_key.columns]
    rows = connection.execute(sa.select(*keys, _as_it_is(table.c[name]))).all()
    damaged = [row[:-1] for row in rows if not _reads(add, row[-1], row[-1])]
    for values in damaged:
        same = sa.and_(*(key == value for key, value in zip(keys, values, strict=True)))
        connection.execute(sa.delete(table).where(same))
    return len(damaged)


def _as_it_is(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """The column's value of whatever type, which need not be the one that it should have."""
    return sa.type_coerce(column, sa.types.NullType())


def _body(id: str, body: bytes) -> None:
    traces.packed(traces.unpacked(id, body))


def _reads(read: Callable[..., Any], *given: Any) -> bool:
    try:
        read(*given)
    except Exception:  # damage may be of any kind
        return False
    return True
