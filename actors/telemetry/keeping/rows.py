"""Many rows in one statement, whose text is made once: the rest is SQLite's own work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite


def write_rows(connection: sa.Connection, statement: sa.Insert, rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows of plain values by the names of their columns; the statement is one of those that are kept."""
    if rows:
        text, names = _text(statement)
        connection.exec_driver_sql(text, [tuple([row[name] for name in names]) for row in rows])


@cache
def _text(statement: sa.Insert) -> tuple[str, tuple[str, ...]]:
    compiled = statement.compile(dialect=sqlite.dialect())
    return str(compiled), tuple(compiled.positiontup or ())
