"""Statements that databases spell differently, or that are worth preparing once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, Final, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

T = TypeVar("T")

# Values of one statement's list; databases bound them.
_CHUNK: Final = 500


class Compiled:
    """A statement for many rows of values, which stand in the order of `names`.

    It is compiled once and given plain tuples where the database takes them, which costs half of what
    named values cost.
    """

    def __init__(self, dialect: sa.Dialect, statement: Any, names: Sequence[str]) -> None:
        compiled = statement.compile(dialect=dialect)
        self._sql = str(compiled)
        self._arranged = _arranging(list(names), compiled.positiontup)

    def run(self, connection: sa.Connection, rows: Sequence[tuple[Any, ...]]) -> int:
        """How many rows of the table it met, where the database tells."""
        return connection.exec_driver_sql(self._sql, self._arranged(rows)).rowcount


def _arranging(names: list[str], places: list[str] | None) -> Callable[[Any], Any]:
    """How rows become what the database takes: by name, or in the order of its places."""
    if places is None:
        return lambda rows: [dict(zip(names, row, strict=True)) for row in rows]
    if places == names:
        return lambda rows: rows
    order = itemgetter(*map(names.index, places))
    return lambda rows: list(map(order, rows))


def insert(dialect: sa.Dialect, table: sa.Table) -> Any:
    """An INSERT that knows ON CONFLICT, which is the dialect's own."""
    kind: Any = postgresql if dialect.name == "postgresql" else sqlite
    return kind.insert(table)


def upsert(dialect: sa.Dialect, table: sa.Table, key: Sequence[str], names: Sequence[str]) -> Any:
    """Put a row with these columns in; it takes the place of one with the same key."""
    statement = insert(dialect, table).values({name: sa.bindparam(name) for name in names})
    changed = {name: statement.excluded[name] for name in names if name not in key}
    return statement.on_conflict_do_update(index_elements=key, set_=changed)


def delete(connection: sa.Connection, column: sa.Column[str], ids: Sequence[str]) -> int:
    """How many rows there were."""
    return sum(
        connection.execute(column.table.delete().where(column.in_(some))).rowcount for some in chunks(ids)
    )


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]
