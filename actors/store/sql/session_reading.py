"""Questions about sessions to the tables."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import sqlalchemy as sa

from llmgine.actors.store.errors import EntryDamaged
from llmgine.actors.store.queries import PAGE_BYTES, ApprovalFilter, Entries, Page, SessionFilter
from llmgine.actors.store.rows import ApprovalRow, SessionRow, TurnRow
from llmgine.actors.store.sql.reading import page_of
from llmgine.actors.store.sql.sessions import HEAD
from llmgine.actors.store.sql.tables import APPROVALS, BLOBS, CODE, ENTRIES, SESSIONS, SNAPSHOTS, TURNS
from llmgine.actors.store.sql.values import row_of

_LAST_CHARACTER = "\U0010ffff"


def session(connection: sa.Connection, id: str) -> Page[SessionRow]:
    return _sessions(connection, _with_head().where(SESSIONS.c.id == id), 1)


def sessions(connection: sa.Connection, wanted: SessionFilter, after: int, limit: int) -> Page[SessionRow]:
    asked = _with_head().where(SESSIONS.c.number > after, *session_conditions(wanted))
    return _sessions(connection, asked.order_by(SESSIONS.c.number), limit)


def newest_sessions(
    connection: sa.Connection, wanted: SessionFilter, before: int | None, limit: int
) -> Page[SessionRow]:
    asked = _with_head().where(*session_conditions(wanted))
    if before is not None:
        asked = asked.where(SESSIONS.c.number < before)
    return _sessions(connection, asked.order_by(SESSIONS.c.number.desc()), limit)


def count_sessions(connection: sa.Connection, wanted: SessionFilter) -> int:
    counted = sa.select(sa.func.count()).select_from(SESSIONS).where(*session_conditions(wanted))
    return connection.execute(counted).scalar_one()


def snapshot(connection: sa.Connection, session: str) -> tuple[int, bytes] | None:
    found = connection.execute(SNAPSHOTS.select().where(SNAPSHOTS.c.session == session)).first()
    if found is None:
        return None
    if not isinstance(found.upto, int) or (reason := _why_not(found)) is not None:
        raise EntryDamaged(f"the snapshot of session {session!r} is damaged: {reason}")
    return found.upto, found.body


def entries(connection: sa.Connection, session: str, after: int, limit: int) -> Entries:
    """Up to the first that is missing or not as it was written."""
    covered = sa.select(SNAPSHOTS.c.upto).where(SNAPSHOTS.c.session == session)
    last = max(after, connection.execute(covered).scalar() or 0)
    asked = ENTRIES.select().where(ENTRIES.c.session == session, ENTRIES.c.number > last)
    rows: list[tuple[int, bytes]] = []
    size = 0
    with connection.execute(asked.order_by(ENTRIES.c.number).limit(limit + 1)) as found:
        for row in found:
            if len(rows) == limit or size >= PAGE_BYTES:
                return Entries(tuple(rows), last)
            reason = _why_not(row) if row.number == last + 1 else "it is missing"
            if reason is not None:
                damage = f"entry {last + 1} of session {session!r} is damaged: {reason}"
                return Entries(tuple(rows), None, damage)
            last, size = row.number, size + len(row.body)
            rows.append((row.number, row.body))
    return Entries(tuple(rows))


def turn(connection: sa.Connection, session: str, id: str) -> Page[TurnRow]:
    asked = TURNS.select().where(TURNS.c.session == session, TURNS.c.id == id)
    return _turns(connection, asked, 1)


def turns(connection: sa.Connection, session: str, before: int | None, limit: int) -> Page[TurnRow]:
    asked = TURNS.select().where(TURNS.c.session == session)
    if before is not None:
        asked = asked.where(TURNS.c.number < before)
    return _turns(connection, asked.order_by(TURNS.c.number.desc()), limit)


def approval(connection: sa.Connection, id: str) -> Page[ApprovalRow]:
    return _approvals(connection, APPROVALS.select().where(APPROVALS.c.id == id), 1)


def approvals(connection: sa.Connection, wanted: ApprovalFilter, after: int, limit: int) -> Page[ApprovalRow]:
    asked = APPROVALS.select().where(APPROVALS.c.number > after)
    for column, value in ((APPROVALS.c.state, wanted.state), (APPROVALS.c.session, wanted.session)):
        if value is not None:
            asked = asked.where(column == value)
    return _approvals(connection, asked.order_by(APPROVALS.c.number), limit)


def blob(connection: sa.Connection, hash: str) -> bytes | None:
    return connection.execute(sa.select(BLOBS.c.body).where(BLOBS.c.hash == hash)).scalar()


def code(connection: sa.Connection, hash: str) -> bytes | None:
    return connection.execute(sa.select(CODE.c.body).where(CODE.c.hash == hash)).scalar()


def session_conditions(wanted: SessionFilter) -> list[sa.ColumnElement[bool]]:
    """What `SessionFilter.admits` says, for the database."""
    conditions: list[sa.ColumnElement[bool]] = []
    if wanted.state is not None:
        conditions.append(SESSIONS.c.state == wanted.state)
    if wanted.pending is not None:
        conditions.append(SESSIONS.c.pending > 0 if wanted.pending else SESSIONS.c.pending <= 0)
    if wanted.prefix:
        conditions += [SESSIONS.c.id >= wanted.prefix, SESSIONS.c.id < wanted.prefix + _LAST_CHARACTER]
    if wanted.parent is not None:
        conditions.append(SESSIONS.c.parent == wanted.parent)
    if wanted.part:
        # Every database tells upper from lower case here, as LIKE does not.
        conditions.append(sa.func.replace(SESSIONS.c.id, wanted.part, "") != SESSIONS.c.id)
    return conditions


def _with_head() -> sa.Select[Any]:
    return sa.select(SESSIONS, HEAD.label("head"))


def _sessions(connection: sa.Connection, asked: sa.Select[Any], limit: int) -> Page[SessionRow]:
    return page_of(connection, asked, limit, "session", lambda row: row_of(SessionRow, row))


def _turns(connection: sa.Connection, asked: sa.Select[Any], limit: int) -> Page[TurnRow]:
    return page_of(connection, asked, limit, "turn", lambda row: row_of(TurnRow, row))


def _approvals(connection: sa.Connection, asked: sa.Select[Any], limit: int) -> Page[ApprovalRow]:
    return page_of(connection, asked, limit, "approval", lambda row: row_of(ApprovalRow, row))


def _why_not(row: Any) -> str | None:
    """The reason where the body is not what was written."""
    if not isinstance(row.body, bytes):
        return f"its body is a {type(row.body).__name__}"
    return None if crc32(row.body) == row.crc else "its body is not what was written"
