"""An open store file: the connection that writes it, and what must hold at each commit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from llmgine.actors.store.batches import Batch, Latest
from llmgine.actors.store.errors import StoreReplaced
from llmgine.actors.store.plan import runs_of
from llmgine.actors.store.sql.dialects import Compiled, upsert
from llmgine.actors.store.sql.journaling import JournalStatements
from llmgine.actors.store.sql.migrations import migrate
from llmgine.actors.store.sql.sqlite import damaged
from llmgine.actors.store.sql.statements import carry_out, drop_oldest_letters, put
from llmgine.actors.store.sql.tables import LETTERS, META, WRITERS

_LIFE: Final = "life"
_WHOSE: Final = sa.select(META.c.value).where(META.c.name == _LIFE)
_TICKET: Final = ["writer", "ticket", "time"]
# Pages of the file that are given back at a time.
_PAGES: Final = 1_000
# Rows that are removed in one transaction, so that none takes long.
_ROWS: Final = 1_000


class StoreFile:
    """The writer's side of a file. `life` stands in it: whoever opens it later takes the writing over."""

    def __init__(self, path: Path, engine: sa.Engine, life: str, max_letters: int) -> None:
        self._path = path
        self._engine = engine
        self._life = life
        self._max_letters = max_letters
        self._tickets = Latest()
        self._connection = engine.connect()
        try:
            with self._connection.begin():
                migrate(self._connection)
                put(self._connection, META, "name", [{"name": _LIFE, "value": life}])
                counted = sa.select(sa.func.count()).select_from(LETTERS)
                self._letters = self._connection.execute(counted).scalar_one()
        except BaseException:
            self._connection.close()
            raise
        self._journal = JournalStatements(engine.dialect)
        self._put_tickets = Compiled(
            engine.dialect, upsert(engine.dialect, WRITERS, "writer", _TICKET), _TICKET
        )
        self._identity = _identity(path)

    def reader(self) -> sa.Connection:
        """Another connection, which only reads."""
        return self._engine.connect().execution_options(reads=True)

    def commit(self, batches: Sequence[Batch], now: int) -> None:
        """All of them in one transaction, but those that were committed before."""
        if _identity(self._path) != self._identity:
            raise damaged(self._path, "it was removed or replaced while it was in use")
        with self._connection.begin():
            self._check_life()
            fresh, tickets = self._fresh(batches)
            operations = [operation for batch in fresh for operation in batch.operations]
            letters = self._letters + sum(
                carry_out(self._connection, self._journal, run) for run in runs_of(operations)
            )
            if letters > self._max_letters:
                drop_oldest_letters(self._connection, letters - self._max_letters)
            if tickets:
                rows = [(writer, ticket, now) for writer, ticket in tickets.items()]
                self._put_tickets.run(self._connection, rows)
        self._letters = min(letters, self._max_letters)
        for writer, ticket in tickets.items():
            self._tickets.put(writer, ticket)

    def tidy(self, letters_before: int, writers_before: int) -> None:
        """Remove dead letters and writers of an earlier time, and give space back."""
        old = sa.select(LETTERS.c.number).where(LETTERS.c.time < letters_before).limit(_ROWS)
        removed = _ROWS
        while removed == _ROWS:
            with self._connection.begin():
                self._check_life()
                removed = self._connection.execute(LETTERS.delete().where(LETTERS.c.number.in_(old))).rowcount
            self._letters -= removed
        with self._connection.begin():
            self._check_life()
            self._connection.execute(WRITERS.delete().where(WRITERS.c.time < writers_before))
        self._pragma(f"incremental_vacuum({_PAGES})")

    def close(self) -> None:
        """Leave one file behind, without a log beside it."""
        try:
            self._pragma("optimize")
            self._pragma("wal_checkpoint(TRUNCATE)")
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go of the file as it stands."""
        self._connection.close()
        self._engine.dispose()

    def _check_life(self) -> None:
        if self._connection.execute(_WHOSE).scalar() != self._life:
            raise StoreReplaced(
                f"another process has opened the store at {self._path} for writing; end one of the two, or "
                "set store.url to another file in one of them"
            )

    def _fresh(self, batches: Sequence[Batch]) -> tuple[list[Batch], dict[str, int]]:
        """Those that were not committed before, and each writer's ticket after them."""
        last = self._last_tickets({batch.writer for batch in batches})
        fresh = []
        tickets: dict[str, int] = {}
        for batch in batches:
            if batch.ticket > last.get(batch.writer, 0):
                fresh.append(batch)
                tickets[batch.writer] = last[batch.writer] = batch.ticket
        return fresh, tickets

    def _last_tickets(self, writers: set[str]) -> dict[str, int]:
        known = {writer: ticket for writer in writers if (ticket := self._tickets.get(writer)) is not None}
        unknown = writers - known.keys()
        if unknown:
            wanted = sa.select(WRITERS.c.writer, WRITERS.c.ticket).where(WRITERS.c.writer.in_(unknown))
            known.update({row.writer: row.ticket for row in self._connection.execute(wanted)})
        return known

    def _pragma(self, pragma: str) -> None:
        """Outside of transactions, where these are allowed."""
        raw: Any = self._connection.connection.driver_connection
        raw.executescript(f"PRAGMA {pragma}")  # to its end, also where it has rows without columns


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
