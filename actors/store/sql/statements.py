"""Carries out gathered operations inside a transaction of somebody else's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgpack
import sqlalchemy as sa

from llmgine.actors.store.ledger import KEY_SEPARATOR, MAX_ASIDE
from llmgine.actors.store.operations import DropResponses, PutLetter, SetAside
from llmgine.actors.store.plan import Run
from llmgine.actors.store.rows import LetterRow
from llmgine.actors.store.session_operations import DropSession, SetEntriesAside
from llmgine.actors.store.sql import responses
from llmgine.actors.store.sql.dialects import chunks, delete, upsert
from llmgine.actors.store.sql.journaling import JournalStatements
from llmgine.actors.store.sql.sessions import SessionStatements, drop_session
from llmgine.actors.store.sql.tables import (
    DAMAGED,
    ENTRIES,
    JOURNAL,
    LETTERS,
    NOTES,
    SCHEDULES,
    SNAPSHOTS,
    SUBSCRIPTIONS,
)
from llmgine.actors.store.sql.values import BY_KIND, NAMES, pack, values_of


def put(connection: sa.Connection, table: sa.Table, key: str, rows: Sequence[dict[str, Any]]) -> None:
    """Put the rows in; one whose key is there takes its place."""
    if rows:
        connection.execute(upsert(connection.dialect, table, [key], list(rows[0])), rows)


class Statements:
    """What is compiled once."""

    def __init__(self, dialect: sa.Dialect) -> None:
        self.journal = JournalStatements(dialect)
        self.sessions = SessionStatements(dialect)


class Growth(NamedTuple):
    """By how much there is more of what is bounded."""

    letters: int = 0
    responses: responses.Amount = responses.Amount()


def carry_out(connection: sa.Connection, statements: Statements, run: Run) -> Growth:
    """All operations of the run, in the order of its fields."""
    journal = statements.journal
    journal.put(connection, run.journal)
    journal.mark_handed(connection, run.handed)
    journal.done(connection, run.done)
    delete(connection, JOURNAL.c.id, run.journal_gone)
    letters = _put_letters(connection, run.letters)
    letters -= delete(connection, LETTERS.c.id, run.letters_gone)
    put(connection, SCHEDULES, "id", [values_of(row) for row in run.schedules])
    delete(connection, SCHEDULES.c.id, run.schedules_gone)
    kept = [{"key": key, "record": pack(record)} for key, record in run.subscriptions]
    put(connection, SUBSCRIPTIONS, "key", kept)
    delete(connection, SUBSCRIPTIONS.c.key, run.subscriptions_gone)
    statements.sessions.carry_out(connection, run.sessions)
    notes = [{"name": one.name, "body": one.body, "expires": one.expires} for one in run.notes.values()]
    put(connection, NOTES, "name", notes)
    answers = responses.put(connection, list(run.responses.values()))
    if isinstance(run.last, DropResponses):
        answers = answers.minus(responses.drop_pool(connection, run.last.pool))
    elif run.last is not None:
        letters -= _take_away(connection, run.last)
    return Growth(letters, answers)


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


def _take_away(connection: sa.Connection, operation: SetAside | SetEntriesAside | DropSession) -> int:
    """How many dead letters that takes away."""
    match operation:
        case SetAside(kind):
            return int(_set_aside(connection, operation) and kind == PutLetter.code)
        case SetEntriesAside():
            _set_entries_aside(connection, operation)
            return 0
        case DropSession(session):
            return drop_whole_session(connection, session)


def drop_whole_session(connection: sa.Connection, session: str) -> int:
    """What it wrote, and what the bus keeps in its scope; how many dead letters that were."""
    drop_session(connection, session)
    for table in (JOURNAL, SCHEDULES, DAMAGED):
        connection.execute(table.delete().where(table.c.session == session))
    key = SUBSCRIPTIONS.c.key
    scope = f"{session}{KEY_SEPARATOR}"
    # Keys of the scope begin with it: they stand before whatever begins with the next character.
    after = f"{session}{chr(ord(KEY_SEPARATOR) + 1)}"
    connection.execute(SUBSCRIPTIONS.delete().where(key >= scope, key < after))
    return connection.execute(LETTERS.delete().where(LETTERS.c.session == session)).rowcount


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
    connection.execute(table.delete().where(table.c.number == found.number))
    row = dict(found._mapping)
    _shelve(connection, operation, row, _whose(operation.kind, row))
    return True


def _whose(kind: str, row: dict[str, Any]) -> str | None:
    """The session of a row, where that can be read."""
    value = row[{"session": "id", "subscription": "key"}.get(kind, "session")]
    try:
        session: str = value.split(KEY_SEPARATOR)[0]
        session.encode()
    except (AttributeError, TypeError, UnicodeEncodeError):
        return None
    return session


def _set_entries_aside(connection: sa.Connection, operation: SetEntriesAside) -> None:
    """A journal from some entry on, and the snapshot where it reaches there."""
    session, first = operation.session, operation.first
    covers = SNAPSHOTS.select().where(SNAPSHOTS.c.session == session, SNAPSHOTS.c.upto >= first)
    snapshot = connection.execute(covers.with_only_columns(*map(_raw, SNAPSHOTS.c))).first()
    if snapshot is not None:
        first = 0
        connection.execute(SNAPSHOTS.delete().where(SNAPSHOTS.c.session == session))
        aside = SetAside("entry", f"{session}/0", operation.reason)
        _shelve(connection, aside, dict(snapshot._mapping), session)
    wanted = (ENTRIES.c.session == session, ENTRIES.c.number >= first)
    newest = ENTRIES.select().where(*wanted).order_by(ENTRIES.c.number.desc()).limit(MAX_ASIDE)
    for row in reversed(connection.execute(newest.with_only_columns(*map(_raw, ENTRIES.c))).all()):
        aside = SetAside("entry", f"{session}/{row.number}", operation.reason)
        _shelve(connection, aside, dict(row._mapping), session)
    connection.execute(ENTRIES.delete().where(*wanted))


def _shelve(connection: sa.Connection, aside: SetAside, row: dict[str, Any], session: str | None) -> None:
    content = msgpack.packb(row, unicode_errors="surrogateescape")
    connection.execute(DAMAGED.delete().where(DAMAGED.c.kind == aside.kind, DAMAGED.c.id == aside.id))
    shelved = {"kind": aside.kind, "id": aside.id, "reason": aside.reason}
    connection.execute(DAMAGED.insert().values(**shelved, content=content, session=session))
    keep_newest(connection, DAMAGED, MAX_ASIDE)


def _raw(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """What stands in the column, whatever it should be."""
    return sa.type_coerce(column, sa.types.NullType()).label(column.name)
