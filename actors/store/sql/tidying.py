"""Removes what is too old or too much, in steps of one transaction each, of which none takes long."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final

import sqlalchemy as sa

from llmgine.actors.store.plan import Run
from llmgine.actors.store.retention import CODE_AGE, Retention
from llmgine.actors.store.sql.responses import Amount, expire
from llmgine.actors.store.sql.statements import drop_whole_session
from llmgine.actors.store.sql.tables import APPROVALS, CODE, LETTERS, NOTES, REFUSED, SESSIONS, TURNS, WRITERS

# Rows that are removed, or sessions that are looked at, in one transaction.
_ROWS: Final = 1_000
_SESSIONS: Final = 50

# What ends, with the time of its end, None before.
_ENDED: Final = ((TURNS, TURNS.c.ended), (APPROVALS, APPROVALS.c.answered))


class Tidying:
    """Works on the writer's connection; `check` raises where another process writes now.

    Steps are yielded with the number of rows that they met.
    """

    def __init__(self, connection: sa.Connection, check: Callable[[], None]) -> None:
        self._connection = connection
        self._check = check
        self._touched: set[str] = set()

    def touch(self, runs: Iterable[Run]) -> None:
        """These sessions may have more than is kept of them."""
        for run in runs:
            self._touched.update(row.session for row in run.sessions.turns.values() if row.ended is not None)
            self._touched.update(row.session for row in run.sessions.approvals)

    def letters(self, before: int) -> Iterator[int]:
        """How many were removed."""
        return self._remove(LETTERS, LETTERS.c.time < before)

    def responses(self, now: int) -> Iterator[Amount]:
        """Models' answers whose time is over; how much was removed."""
        gone = Amount(_ROWS)
        while gone.count == _ROWS:
            with self._connection.begin():
                self._check()
                gone = expire(self._connection, now, _ROWS)
            yield gone

    def notes(self, now: int) -> Iterator[int]:
        """Those that have expired."""
        return self._remove(NOTES, NOTES.c.expires <= now)

    def writers(self, before: int) -> Iterator[int]:
        for table in (WRITERS, REFUSED):
            yield self._run(table.delete().where(table.c.time < before))

    def approvals(self, now: int) -> Iterator[int]:
        """Those whose time is over have expired."""
        late = (APPROVALS.c.state == "pending", APPROVALS.c.expires <= now)
        some = sa.select(APPROVALS.c.number).where(*late).limit(_ROWS)
        expire = APPROVALS.update().where(APPROVALS.c.number.in_(some))
        yield from self._repeat(expire.values(state="expired", answered=APPROVALS.c.expires))

    def turns(self, now: int, retention: Retention) -> Iterator[int]:
        """And approvals, of which as much is kept."""
        while self._touched:
            some = list(islice(self._touched, _SESSIONS))
            with self._connection.begin():
                self._check()
                for table, ended in _ENDED:
                    for session in self._connection.scalars(_overfull(table, some, retention.turns)).all():
                        self._connection.execute(_too_many(table, ended, session, retention.turns))
            self._touched.difference_update(some)
            yield len(some)
        if retention.turn_age is not None:
            for table, ended in _ENDED:
                yield from self._remove(table, ended < now - retention.turn_age)

    def code(self, now: int) -> Iterator[int]:
        """What no session's record names."""
        named = sa.exists().where(SESSIONS.c.code == CODE.c.hash)
        yield self._run(CODE.delete().where(CODE.c.time < now - CODE_AGE, ~named))

    def closed_sessions(self, now: int, retention: Retention) -> Iterator[str]:
        """Those that were closed too long ago, of which each is to be dropped before the next."""
        if retention.session_age is None:
            return
        old = (SESSIONS.c.state == "closed", SESSIONS.c.active < now - retention.session_age)
        some = _ROWS
        while some == _ROWS:
            with self._connection.begin():
                found = list(self._connection.scalars(sa.select(SESSIONS.c.id).where(*old).limit(_ROWS)))
            yield from found
            some = len(found)

    def drop(self, session: str) -> int:
        """How many dead letters there were of it."""
        with self._connection.begin():
            self._check()
            return drop_whole_session(self._connection, session)

    def _remove(self, table: sa.Table, condition: sa.ColumnElement[bool]) -> Iterator[int]:
        some = sa.select(table.c.number).where(condition).limit(_ROWS)
        yield from self._repeat(table.delete().where(table.c.number.in_(some)))

    def _repeat(self, statement: Any) -> Iterator[int]:
        """Until it meets less than a whole portion."""
        met = _ROWS
        while met == _ROWS:
            met = self._run(statement)
            yield met

    def _run(self, statement: Any) -> int:
        with self._connection.begin():
            self._check()
            return self._connection.execute(statement).rowcount


def _overfull(table: sa.Table, some: list[str], most: int) -> sa.Select[Any]:
    """Which of some sessions may have too many; the index alone answers, at once for all of them."""
    mine = sa.select(table.c.session).where(table.c.session.in_(some)).group_by(table.c.session)
    return mine.having(sa.func.count() > most)


def _too_many(table: sa.Table, ended: sa.Column[Any], session: str, most: int) -> sa.Delete:
    """What of a session has ended, but for the newest."""
    mine = sa.select(table.c.number).where(table.c.session == session, ended.is_not(None))
    last_kept = mine.order_by(table.c.number.desc()).offset(most).limit(1).scalar_subquery()
    return table.delete().where(table.c.session == session, ended.is_not(None), table.c.number <= last_kept)
