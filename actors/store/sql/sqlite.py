"""SQLite as the store wants it: durable at each commit, one writer, and errors that say what mends them."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from llmgine.actors.store.errors import StoreDamaged, StoreError, StoreUnavailable

# The log beside the file is cut back to this size once it has been worked off.
_LOG_BYTES: Final = 16 << 20

# What says something of the values alone, and not of the store.
_VALUES: Final = {
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_MISUSE,
    sqlite3.SQLITE_RANGE,
    sqlite3.SQLITE_TOOBIG,
}
_DAMAGE: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_FORMAT}
_MENDS: Final = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space",
    sqlite3.SQLITE_BUSY: "another process has locked the file; end it",
    sqlite3.SQLITE_LOCKED: "another process has locked the file; end it",
    sqlite3.SQLITE_READONLY: "the file cannot be written; mend the permissions of it and its folder",
    sqlite3.SQLITE_PERM: "the file cannot be written; mend the permissions of it and its folder",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened; mend its folder's permissions, or set store.url",
    sqlite3.SQLITE_IOERR: "the disk fails; look at the system's log",
    sqlite3.SQLITE_NOMEM: "there is no memory left",
}


def create_engine(path: Path, busy_timeout: float) -> sa.Engine:
    """Connections to the file, which is made, for its owner's eyes only, where it is not there."""
    try:
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            for folder in (path.parent, path.parent.parent):
                _sync(folder)
    except OSError as error:
        raise StoreUnavailable(
            f"the store's file {path} cannot be made: {error.strerror}; mend its folder, or set store.url"
        ) from None
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        poolclass=sa.NullPool,
        connect_args={"timeout": busy_timeout, "check_same_thread": False},
    )
    sa.event.listen(engine, "connect", _prepare)
    sa.event.listen(engine, "begin", _begin)
    return engine


def _sync(folder: Path) -> None:
    """A file that is on the disk is found there only if its folder is."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _prepare(connection: sqlite3.Connection, record: Any) -> None:
    connection.isolation_level = None  # transactions begin where SQLAlchemy says so, at once as writers
    connection.text_factory = _text
    if not connection.execute("PRAGMA page_count").fetchone()[0]:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # can only be chosen for a new file
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")


def _begin(connection: sa.Connection) -> None:
    reads = connection.get_execution_options().get("reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _text(value: bytes) -> str:
    """Damaged text is read with surrogates, so that one bad row does not hide the others."""
    return value.decode("utf-8", "surrogateescape")


def store_error(path: Path, error: Exception) -> StoreError | None:
    """What an error of the database says about the store; None where it is about the values."""
    original = getattr(error, "orig", None) or error
    code = getattr(original, "sqlite_errorcode", 0) & 0xFF  # the rest only says more of the same
    if not code or code in _VALUES:
        return None
    if code in _DAMAGE:
        return damaged(path, str(original))
    return StoreUnavailable(f"the store at {path}: {original}; {_MENDS.get(code, 'it is tried again')}")


def is_locked(error: Exception) -> bool:
    """Whether another process writes just now: all is well with the connection."""
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_about_values(error: Exception) -> bool:
    """Whether the database, or the way to it, refused what was to be written."""
    refused = (sa.exc.DBAPIError, sqlite3.Error, OverflowError, TypeError, ValueError)
    return isinstance(error, refused) and store_error(Path(), error) is None


def damaged(path: Path, what: str) -> StoreDamaged:
    return StoreDamaged(
        f"the store at {path} is damaged: {what}; end the runtime, keep a copy of the file and of the one "
        f"with -wal beside it, and put a backup in its place, or what `sqlite3 {path.name} .recover` saves"
    )


def check(path: Path, connection: sa.Connection) -> None:
    """`StoreDamaged` where the file is not a whole database."""
    found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
    if found != "ok":
        raise damaged(path, " ".join(str(found).replace("*", "").split()))
