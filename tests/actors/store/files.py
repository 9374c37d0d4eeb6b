"""What tests do with a store's file, through its engine and beside it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from llmgine.actors.store.batches import Batch
from llmgine.actors.store.operations import (
    Operation,
)
from llmgine.actors.store.sql import SqlEngine
from llmgine.actors.store.sql.sqlite import SqliteDatabase
from tests.actors.store import rows


def path_of(engine: SqlEngine) -> Path:
    assert isinstance(engine.database, SqliteDatabase)
    return engine.database.path


def write(engine: SqlEngine, *operations: Operation, ticket: int = 1) -> None:
    assert engine.commit([Batch.of("w", ticket, operations)], 1) == []


def kept(engine: SqlEngine) -> list[int]:
    last = engine.last_message()
    return [row.sequence for row in rows.all_pages(lambda after: engine.journal(after, last, 1_000))]


@contextmanager
def beside(engine: SqlEngine) -> Iterator[sqlite3.Connection]:
    """Another process's connection to the file."""
    with closing(sqlite3.connect(path_of(engine), isolation_level=None)) as connection:
        yield connection


def checkpoint(engine: SqlEngine) -> None:
    """What stands in the log goes into the file."""
    with beside(engine) as connection:
        while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            pass  # the store is at it itself
