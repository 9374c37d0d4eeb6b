"""The trace store's SQLite: a file, or memory where there is none or it cannot be used."""

from __future__ import annotations

import errno
import os
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgpack
import sqlalchemy as sa

from llmgine.actors.telemetry.errors import TraceStoreUnusable
from llmgine.actors.telemetry.keeping.tables import METADATA, VERSION
from llmgine.telemetry.rollup import ModelUsage
from llmgine.telemetry.sketch import Sketch

_MINE: Final = 0x6C6C6D74  # marks the file as a trace store of llmgine's
_BUSY_SECONDS: Final = 2.0


def opened(path: Path | None) -> sa.Engine:
    """The database of that file, made where it is not there; of memory where there is no path.

    `TraceStoreUnusable` says why a file cannot be had and what mends it; where another holds it or the disk
    is full, that is not lasting.
    """
    if path is not None:
        _make(path)
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=":memory:" if path is None else str(path)),
        poolclass=sa.StaticPool,
        connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
    )
    sa.event.listen(engine, "connect", _prepare)
    sa.event.listen(engine, "begin", _begin)
    try:
        with engine.begin() as connection:
            _versioned(connection, path)
        with engine.connect() as connection:
            raw: Any = connection.connection.driver_connection
            raw.execute("PRAGMA journal_mode = WAL")
            # A crash of the machine may cost the last moments, never the file: no commit waits for the disk.
            raw.execute("PRAGMA synchronous = NORMAL")
    except (sa.exc.DBAPIError, sqlite3.Error) as error:
        engine.dispose()
        what = str(getattr(error, "orig", error))
        raise TraceStoreUnusable(str(path), what, not _passes(error)) from None
    except TraceStoreUnusable:
        engine.dispose()
        raise
    return engine


def is_lasting(error: Exception) -> bool:
    """Whether a database that failed so will fail again, however often it is tried."""
    return _code(error) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_READONLY)


def is_of_content(error: Exception) -> bool:
    """Whether it failed over what stands in the tables, and not over the file or another who holds it."""
    cause = getattr(error, "orig", error)
    return not isinstance(cause, sqlite3.Error) or _code(error) == sqlite3.SQLITE_ERROR


def _passes(error: Exception) -> bool:
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL)


def _code(error: Exception) -> int:
    code: int = getattr(getattr(error, "orig", error), "sqlite_errorcode", 0)
    return code & 0xFF


def _make(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except OSError as error:
        lasting = error.errno not in (errno.ENOSPC, errno.EDQUOT)
        raise TraceStoreUnusable(str(path), error.strerror or str(error), lasting) from None


def _versioned(connection: sa.Connection, path: Path | None) -> None:
    mine = connection.exec_driver_sql("PRAGMA application_id").scalar()
    version = connection.exec_driver_sql("PRAGMA user_version").scalar()
    present = sa.inspect(connection).get_table_names()
    if not present:
        connection.exec_driver_sql(f"PRAGMA application_id = {_MINE}")
        connection.exec_driver_sql(f"PRAGMA user_version = {VERSION}")
        METADATA.create_all(connection)
    elif mine != _MINE:
        raise TraceStoreUnusable(str(path), "it holds somebody else's tables")
    elif version != VERSION:
        raise TraceStoreUnusable(str(path), f"it has version {version}, and this llmgine reads {VERSION}")


def _prepare(connection: sqlite3.Connection, record: Any) -> None:
    connection.isolation_level = None
    if not connection.execute("PRAGMA page_count").fetchone()[0]:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.create_function("decimal_add", 2, decimal_add, deterministic=True)
    connection.create_function("usage_add", 2, usage_add, deterministic=True)
    connection.create_function("sketch_add", 2, sketch_add, deterministic=True)


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def decimal_add(one: str, other: str) -> str:
    """The sum of exact decimals as text."""
    return format(Decimal(one) + Decimal(other), "f")


def usage_add(one: bytes, other: bytes) -> bytes:
    """What calls came to, with what others did."""
    usage = ModelUsage.from_wire(msgpack.unpackb(one))
    usage.merge(ModelUsage.from_wire(msgpack.unpackb(other)))
    packed: bytes = msgpack.packb(usage.to_wire())
    return packed


def sketch_add(one: bytes, other: bytes) -> bytes:
    """One sketch of all that both have seen."""
    sketch = Sketch.from_wire(msgpack.unpackb(one))
    sketch.merge(Sketch.from_wire(msgpack.unpackb(other)))
    packed: bytes = msgpack.packb(sketch.to_wire())
    return packed
