"""The journal's statements; a busy bus has two for each message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgpack
import sqlalchemy as sa

from llmgine.actors.store.rows import JournalRow
from llmgine.actors.store.sql.dialects import Compiled, chunks, delete, insert
from llmgine.actors.store.sql.tables import JOURNAL
from llmgine.actors.store.sql.values import journal_values, pack

_COLUMNS: Final = [column.name for column in JOURNAL.columns if column.name != "number"]


class JournalStatements:
    """What is done to kept messages, inside a transaction of somebody else's."""

    def __init__(self, dialect: sa.Dialect) -> None:
        values: dict[str, Any] = {name: sa.bindparam(name) for name in _COLUMNS}
        put = insert(dialect, JOURNAL).values(values).on_conflict_do_nothing(index_elements=["id"])
        last = JOURNAL.delete().where(
            JOURNAL.c.id == sa.bindparam("message"), JOURNAL.c.pending == sa.bindparam("left")
        )
        self._put = Compiled(dialect, put, _COLUMNS)
        self._last = Compiled(dialect, last, ["message", "left"])

    def put(self, connection: sa.Connection, rows: Sequence[JournalRow]) -> None:
        """Keep the messages; those that are kept already stay as they are."""
        if rows:
            self._put.run(connection, [journal_values(row) for row in rows])

    def mark_handed(self, connection: sa.Connection, messages: Sequence[str]) -> None:
        if messages:
            mark = JOURNAL.update().where(JOURNAL.c.id == sa.bindparam("message")).values(handed=True)
            connection.execute(mark, [{"message": message} for message in messages])

    def done(self, connection: sa.Connection, done: Sequence[tuple[str, str]]) -> None:
        """A message with one handler left is taken away outright; the others are looked at."""
        if not done:
            return
        taken = self._last.run(connection, [(message, pack([key])) for message, key in done])
        if taken == len(done):
            return
        keys: dict[str, set[str]] = {}
        for message, key in done:
            keys.setdefault(message, set()).add(key)
        for some in chunks(list(keys)):
            _take_keys(connection, some, keys)


def _take_keys(connection: sa.Connection, messages: Sequence[str], keys: dict[str, set[str]]) -> None:
    wanted = sa.select(JOURNAL.c.id, JOURNAL.c.pending).where(JOURNAL.c.id.in_(messages))
    found = connection.execute(wanted).all()
    left = {id: [key for key in msgpack.unpackb(pending) if key not in keys[id]] for id, pending in found}
    delete(connection, JOURNAL.c.id, [id for id, pending in left.items() if not pending])
    changed = [{"message": id, "left": pack(pending)} for id, pending in left.items() if pending]
    if changed:
        update = JOURNAL.update().where(JOURNAL.c.id == sa.bindparam("message"))
        connection.execute(update.values(pending=sa.bindparam("left")), changed)
