"""Carries out gathered operations of sessions inside a transaction of somebody else's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final
from zlib import crc32

import sqlalchemy as sa

from llmgine.actors.store.fencing import Standing
from llmgine.actors.store.rows import ApprovalRow
from llmgine.actors.store.session_operations import Activate, AnswerApproval, PutBlob, PutSnapshot
from llmgine.actors.store.session_plan import SessionRun
from llmgine.actors.store.sql.dialects import Compiled, chunks, delete, insert, upsert
from llmgine.actors.store.sql.tables import (
    APPROVALS,
    BLOB_USES,
    BLOBS,
    CODE,
    ENTRIES,
    SESSIONS,
    SNAPSHOTS,
    TURNS,
)
from llmgine.actors.store.sql.values import pack, row_of, values_of

_DERIVED: Final = {"number", "parent", "code"}
_SESSION: Final = [column.name for column in SESSIONS.columns if column.name not in _DERIVED]
_TURN: Final = [column.name for column in TURNS.columns if column.name != "number"]
_turn_values: Final = attrgetter(*_TURN)
_ENTRY: Final = ["session", "number", "crc", "body"]
_SNAPSHOT: Final = ["session", "upto", "crc", "body"]

HEAD: Final = sa.func.coalesce(
    sa.select(sa.func.max(ENTRIES.c.number)).where(ENTRIES.c.session == SESSIONS.c.id).scalar_subquery(),
    sa.select(SNAPSHOTS.c.upto).where(SNAPSHOTS.c.session == SESSIONS.c.id).scalar_subquery(),
    0,
)


class SessionStatements:
    """The statements of one dialect, each compiled once."""

    def __init__(self, dialect: sa.Dialect) -> None:
        self._dialect = dialect
        taken = insert(dialect, SESSIONS).values({name: sa.bindparam(name) for name in _SESSION})
        changed = {name: taken.excluded[name] for name in ("epoch", "owner")}
        activate = taken.on_conflict_do_update(index_elements=["id"], set_=changed)
        append = ENTRIES.insert().values({name: sa.bindparam(name) for name in _ENTRY})
        covered = ENTRIES.delete().where(
            ENTRIES.c.session == sa.bindparam("whose"), ENTRIES.c.number <= sa.bindparam("upto")
        )
        self._activate = Compiled(dialect, activate, _SESSION)
        self._append = Compiled(dialect, append, _ENTRY)
        self._snapshot = Compiled(dialect, upsert(dialect, SNAPSHOTS, ["session"], _SNAPSHOT), _SNAPSHOT)
        self._covered = Compiled(dialect, covered, ["whose", "upto"])
        self._turn = Compiled(dialect, upsert(dialect, TURNS, ["session", "id"], _TURN), _TURN)
        self._changes: dict[tuple[str, ...], Compiled] = {}

    def carry_out(self, connection: sa.Connection, run: SessionRun) -> None:
        """All operations of the run, in the order of its fields."""
        if run.activated:
            self._activate.run(connection, [_fresh(one) for one in run.activated])
        self._change(connection, run.changes)
        if run.entries:
            rows = [(session, number, crc32(body), body) for session, number, body in run.entries]
            self._append.run(connection, rows)
        self._put_snapshots(connection, run.snapshots)
        if run.turns:
            self._turn.run(connection, [_turn_values(row) for row in run.turns.values()])
        self._put_approvals(connection, run.approvals, run.answers)
        self._put_blobs(connection, run.blobs)
        drop_uses(connection, run.blobs_gone)
        if run.code:
            kept = [{"hash": one.hash, "body": one.body, "time": one.time} for one in run.code]
            connection.execute(upsert(self._dialect, CODE, ["hash"], list(kept[0])), kept)

    def _change(self, connection: sa.Connection, changes: Mapping[str, dict[str, Any]]) -> None:
        """Sessions whose same fields change are one statement."""
        alike: dict[tuple[str, ...], list[tuple[Any, ...]]] = {}
        for session, fields in changes.items():
            values = _columns(fields)
            if values:
                alike.setdefault(tuple(values), []).append((*values.values(), session))
        for names, rows in alike.items():
            if names not in self._changes:
                update = SESSIONS.update().where(SESSIONS.c.id == sa.bindparam("whose"))
                made = update.values({name: sa.bindparam(f"new_{name}") for name in names})
                order = [*(f"new_{name}" for name in names), "whose"]
                self._changes[names] = Compiled(self._dialect, made, order)
            self._changes[names].run(connection, rows)

    def _put_snapshots(self, connection: sa.Connection, snapshots: Mapping[str, PutSnapshot]) -> None:
        if snapshots:
            rows = [(one.session, one.upto, crc32(one.body), one.body) for one in snapshots.values()]
            self._snapshot.run(connection, rows)
            self._covered.run(connection, [(one.session, one.upto) for one in snapshots.values()])

    def _put_approvals(
        self, connection: sa.Connection, asked: Sequence[ApprovalRow], answers: Sequence[AnswerApproval]
    ) -> None:
        if asked:
            put = insert(self._dialect, APPROVALS).on_conflict_do_nothing(index_elements=["id"])
            connection.execute(put, [values_of(row) for row in asked])
        for one in answers:
            answer = APPROVALS.update().where(APPROVALS.c.id == one.id)
            connection.execute(answer.values(state=one.state, by=one.by, note=one.note, answered=one.time))

    def _put_blobs(self, connection: sa.Connection, blobs: Sequence[PutBlob]) -> None:
        if blobs:
            put = insert(self._dialect, BLOBS).on_conflict_do_nothing(index_elements=["hash"])
            connection.execute(put, [{"hash": one.hash, "body": one.body} for one in blobs])
            use = insert(self._dialect, BLOB_USES).on_conflict_do_nothing(index_elements=["session", "hash"])
            connection.execute(use, [{"session": one.session, "hash": one.hash} for one in blobs])


def drop_uses(connection: sa.Connection, gone: Sequence[tuple[str, str]]) -> None:
    """Take these references, each a session and a hash, away, and what nobody refers to any more."""
    if gone:
        taken = BLOB_USES.delete().where(
            BLOB_USES.c.session == sa.bindparam("whose"), BLOB_USES.c.hash == sa.bindparam("what")
        )
        connection.execute(taken, [{"whose": session, "what": hash} for session, hash in gone])
        drop_unused(connection, sorted({hash for _, hash in gone}))


def drop_unused(connection: sa.Connection, hashes: Sequence[str]) -> None:
    """Those of the blobs that nobody refers to."""
    used = sa.exists().where(BLOB_USES.c.hash == BLOBS.c.hash)
    for some in chunks(hashes):
        connection.execute(BLOBS.delete().where(BLOBS.c.hash.in_(some), ~used))


def drop_session(connection: sa.Connection, session: str) -> None:
    """All that the session wrote."""
    hashes = list(connection.scalars(sa.select(BLOB_USES.c.hash).where(BLOB_USES.c.session == session)))
    for table in (ENTRIES, SNAPSHOTS, TURNS, APPROVALS, BLOB_USES):
        connection.execute(table.delete().where(table.c.session == session))
    delete(connection, SESSIONS.c.id, [session])
    drop_unused(connection, hashes)


def standings(connection: sa.Connection, sessions: Iterable[str]) -> dict[str, Standing]:
    """How these stand; of one that has no row there may be a journal all the same."""
    found: dict[str, Standing] = {}
    upto = sa.select(SNAPSHOTS.c.upto).where(SNAPSHOTS.c.session == SESSIONS.c.id).scalar_subquery()
    wanted = list(sessions)
    for some in chunks(wanted):
        asked = sa.select(SESSIONS.c.id, SESSIONS.c.epoch, SESSIONS.c.owner, HEAD, sa.func.coalesce(upto, 0))
        for id, *values in connection.execute(asked.where(SESSIONS.c.id.in_(some))):
            found[id] = Standing(*values)
    for session in wanted:
        if session not in found:
            head = sa.select(sa.func.max(ENTRIES.c.number)).where(ENTRIES.c.session == session)
            snapshot = sa.select(SNAPSHOTS.c.upto).where(SNAPSHOTS.c.session == session)
            reached = connection.execute(snapshot).scalar() or 0
            found[session] = Standing(0, "", connection.execute(head).scalar() or reached, reached)
    return found


def approvals(connection: sa.Connection, ids: Iterable[str]) -> dict[str, ApprovalRow]:
    """Those of the approvals that are there; one that cannot be read is not."""
    found: dict[str, ApprovalRow] = {}
    for some in chunks(list(ids)):
        for row in connection.execute(APPROVALS.select().where(APPROVALS.c.id.in_(some))):
            try:
                found[row.id] = row_of(ApprovalRow, row)
            except ValueError:
                continue  # a listing comes upon it and has it set aside
    return found


def _fresh(activate: Activate) -> tuple[Any, ...]:
    """The values of a row that is new, of which one that is there takes epoch and owner."""
    values = {
        "id": activate.session,
        "epoch": activate.epoch,
        "owner": activate.owner,
        "state": "open",
        "record": pack({}),
        "created": activate.time,
        "active": activate.time,
    }
    return tuple(values.get(name, 0) for name in _SESSION)


def _columns(changes: Mapping[str, Any]) -> dict[str, Any]:
    """What changes in the table: a record brings its parent and its code along."""
    values = dict(changes)
    if "record" in values:
        record = values["record"]
        values["record"] = pack(record)
        for name in ("parent", "code"):
            value = record.get(name)
            values[name] = value if isinstance(value, str) else None
    return values
