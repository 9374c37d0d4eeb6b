"""Carries out gathered operations inside a transaction of somebody else's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgpack
import sqlalchemy as sa

from llmgine.actors.store.ledger import MAX_ASIDE
from llmgine.actors.store.operations import PutLetter, SetAside
from llmgine.actors.store.plan import Run
from llmgine.actors.store.rows import LetterRow
from llmgine.actors.store.sql.dialects import chunks, delete, upsert
from llmgine.actors.store.sql.journaling import JournalStatements
from llmgine.actors.store.sql.tables import (
    BY_KIND,
    DAMAGED,
    JOURNAL,
    LETTERS,
    NAMES,
    SCHEDULES,
    SUBSCRIPTIONS,
    pack,
    values_of,
)


def put(connection: sa.Connection, table: sa.Table, key: str, rows: Sequence[dict[str, Any]]) -> None:
    """Put the rows in; one whose key is there takes its place."""
    if rows:
        connection.execute(upsert(connection.dialect, table, key, list(rows[0])), rows)


def carry_out(connection: sa.Connection, journal: JournalStatements, run: Run) -> int:
    """All operations of the run, in the order of its fields; by how many there are more dead letters."""
    journal.put(connection, run.journal)
    journal.mark_handed(connection, run.handed)
    journal.done(connection, run.done)
    delete(connection, JOURNAL.c.id, run.journal_gone)
    more = _put_letters(connection, run.letters)
    more -= delete(connection, LETTERS.c.id, run.letters_gone)
    put(connection, SCHEDULES, "id", [values_of(row) for row in run.schedules])
    delete(connection, SCHEDULES.c.id, run.schedules_gone)
    kept = [{"key": key, "record": pack(record)} for key, record in run.subscriptions]
    put(connection, SUBSCRIPTIONS, "key", kept)
    delete(connection, SUBSCRIPTIONS.c.key, run.subscriptions_gone)
    if run.aside is not None and _set_aside(connection, run.aside) and run.aside.kind == PutLetter.code:
        more -= 1
    return more


def drop_oldest_letters(connection: sa.Connection, excess: int) -> None:
    oldest = sa.select(LETTERS.c.number).order_by(LETTERS.c.number).limit(excess)
    connection.execute(LETTERS.delete().where(LETTERS.c.number.in_(oldest)))


def keep_newest(connection: sa.Connection, table: sa.Table, most: int) -> None:
    """Remove the rows that came first, beyond so many."""
    newest = sa.select(table.c.number).order_by(table.c.number.desc()).offset(most).limit(1)
    connection.execute(table.delete().where(table.c.number <= newest.scalar_subquery()))


def _put_letters(connection: sa.Connection, rows: Sequence[LetterRow]) -> int:
    """How many of them were not there."""
    ids = list({row.id: None for row in rows})
    known = sum(
        connection.execute(
            sa.select(sa.func.count()).select_from(LETTERS).where(LETTERS.c.id.in_(some))
        ).scalar_one()
        for some in chunks(ids)
    )
    put(connection, LETTERS, "id", [values_of(row) for row in rows])
    return len(ids) - known


def _set_aside(connection: sa.Connection, operation: SetAside) -> bool:
    """Move a row, as it stands, to the damaged ones, and say whether it was there.

    `#` and its number names a row whose id cannot be read.
    """
    table = BY_KIND.get(operation.kind)
    if table is None:
        return False
    named = NAMES[operation.kind] == operation.id
    if operation.id.startswith("#") and operation.id[1:].isdigit():
        named |= table.c.number == int(operation.id[1:])
    found = connection.execute(table.select().where(named).with_only_columns(*map(_raw, table.c))).first()
    if found is None:
        return False
    content = msgpack.packb(dict(found._mapping), unicode_errors="surrogateescape")
    connection.execute(table.delete().where(table.c.number == found.number))
    connection.execute(DAMAGED.delete().where(DAMAGED.c.kind == operation.kind, DAMAGED.c.id == operation.id))
    connection.execute(
        DAMAGED.insert().values(
            kind=operation.kind, id=operation.id, reason=operation.reason, content=content
        )
    )
    keep_newest(connection, DAMAGED, MAX_ASIDE)
    return True


def _raw(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """What stands in the column, whatever it should be."""
    return sa.type_coerce(column, sa.types.NullType()).label(column.name)
