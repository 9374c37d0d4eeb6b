"""Questions to the tables. A row that cannot be read is named apart and hides no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import sqlalchemy as sa

from llmgine.actors.store.operations import SetAside
from llmgine.actors.store.queries import LINEAGE_SEPARATOR, PAGE_BYTES, LetterFilter, Page
from llmgine.actors.store.rows import JournalRow, LetterRow, ScheduleRow
from llmgine.actors.store.sql.tables import (
    APPROVALS,
    BLOBS,
    DAMAGED,
    JOURNAL,
    LETTERS,
    NOTES,
    RESPONSES,
    SCHEDULES,
    SESSIONS,
    SUBSCRIPTIONS,
    TURNS,
)
from llmgine.actors.store.sql.values import record_of, row_of

R = TypeVar("R")

_COUNTED: Final = {
    "messages": JOURNAL,
    "letters": LETTERS,
    "schedules": SCHEDULES,
    "subscriptions": SUBSCRIPTIONS,
    "sessions": SESSIONS,
    "turns": TURNS,
    "approvals": APPROVALS,
    "blobs": BLOBS,
    "responses": RESPONSES,
    "notes": NOTES,
    "damaged": DAMAGED,
}
NO_COUNTS: Final = dict.fromkeys(_COUNTED, 0)


def last_message(connection: sa.Connection) -> int:
    return connection.execute(sa.select(sa.func.max(JOURNAL.c.number))).scalar() or 0


def journal(connection: sa.Connection, after: int, upto: int, limit: int) -> Page[JournalRow]:
    wanted = JOURNAL.select().where(JOURNAL.c.number > after, JOURNAL.c.number <= upto)
    ordered = wanted.order_by(JOURNAL.c.number)
    return page_of(connection, ordered, limit, "journal", lambda row: row_of(JournalRow, row))


def letters(
    connection: sa.Connection, wanted: LetterFilter, before: int | None, limit: int
) -> Page[LetterRow]:
    conditions = letter_conditions(wanted)
    if before is not None:
        conditions.append(LETTERS.c.number < before)
    ordered = LETTERS.select().where(*conditions).order_by(LETTERS.c.number.desc())
    return page_of(connection, ordered, limit, "letter", lambda row: row_of(LetterRow, row))


def letter(connection: sa.Connection, id: str) -> LetterRow | None:
    found = connection.execute(LETTERS.select().where(LETTERS.c.id == id)).first()
    if found is None:
        return None
    try:
        row: LetterRow = row_of(LetterRow, found)
        return row
    except ValueError:
        return None  # a listing comes upon it and has it set aside


def count_letters(connection: sa.Connection, wanted: LetterFilter) -> int:
    counted = sa.select(sa.func.count()).select_from(LETTERS).where(*letter_conditions(wanted))
    return connection.execute(counted).scalar_one()


def schedules(connection: sa.Connection, after: int, limit: int) -> Page[ScheduleRow]:
    ordered = SCHEDULES.select().where(SCHEDULES.c.number > after).order_by(SCHEDULES.c.number)
    return page_of(connection, ordered, limit, "schedule", lambda row: row_of(ScheduleRow, row))


def subscriptions(connection: sa.Connection, after: int, limit: int) -> Page[dict[str, Any]]:
    table = SUBSCRIPTIONS
    ordered = table.select().where(table.c.number > after).order_by(table.c.number)
    return page_of(connection, ordered, limit, "subscription", record_of)


def note(connection: sa.Connection, name: str) -> bytes | None:
    body: bytes | None = connection.scalars(sa.select(NOTES.c.body).where(NOTES.c.name == name)).first()
    return body


def aside(connection: sa.Connection, limit: int) -> list[SetAside]:
    found = connection.execute(DAMAGED.select().order_by(DAMAGED.c.number.desc()).limit(limit))
    return [SetAside(row.kind, row.id, row.reason) for row in found]


def counts(connection: sa.Connection) -> dict[str, int]:
    """How many rows of each kind there are."""
    return {
        name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
        for name, table in _COUNTED.items()
    }


def letter_conditions(wanted: LetterFilter) -> list[sa.ColumnElement[bool]]:
    """What `LetterFilter.admits` says, for the database."""
    same = {"handler": wanted.handler, "reason": wanted.reason, "session": wanted.session}
    conditions = [LETTERS.c[name] == value for name, value in same.items() if value is not None]
    if wanted.type is not None:
        lineage = sa.literal(LINEAGE_SEPARATOR) + LETTERS.c.lineage + LINEAGE_SEPARATOR
        part = f"{LINEAGE_SEPARATOR}{wanted.type}{LINEAGE_SEPARATOR}"
        # Not LIKE, which takes capitals for small letters in some databases.
        conditions.append(sa.func.replace(lineage, part, "") != lineage)
    if wanted.since is not None:
        conditions.append(LETTERS.c.time >= wanted.since)
    if wanted.until is not None:
        conditions.append(LETTERS.c.time < wanted.until)
    return conditions


def page_of(
    connection: sa.Connection, ordered: sa.Select[Any], limit: int, kind: str, read: Callable[[Any], R]
) -> Page[R]:
    """As many rows as a page holds, which ends at a number of bytes too."""
    rows: list[R] = []
    damaged: list[SetAside] = []
    last = size = 0
    with connection.execute(ordered.limit(limit + 1)) as found:
        for place, row in enumerate(found):
            if place == limit or size >= PAGE_BYTES:
                return Page(tuple(rows), last, tuple(damaged))
            last = row.number
            size += sum(len(value) for value in row if isinstance(value, bytes | str))
            try:
                rows.append(read(row))
            except ValueError as error:
                damaged.append(SetAside(kind, _name(kind, row), str(error)))
    return Page(tuple(rows), None, tuple(damaged))


def _name(kind: str, row: Any) -> str:
    """By its id where that can be read, else by its number."""
    name = row[1]
    if isinstance(name, str) and kind != "turn":
        try:
            name.encode()
            return name
        except UnicodeEncodeError:
            pass
    return f"#{row.number}"
