"""SQLite as the store wants it: durable at each commit, one writer, and errors that say what mends them."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from llmgine.actors.store.errors import StoreDamaged, StoreError, StoreUnavailable
from llmgine.actors.store.options import sqlite_path
from llmgine.actors.store.sql.checkpoints import Checkpoints

# The log beside the file is cut back to this size once it has been worked off.
_LOG_BYTES: Final = 16 << 20
# Pages of the log after which a commit works it off itself, where nobody did beside it.
_LOG_PAGES: Final = 16_000
# Pages of the file that are given back at a time.
_PAGES: Final = 1_000

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


class SqliteDatabase:
    """A file, which is made, for its owner's eyes only, where it is not there."""

    def __init__(self, url: str, busy_timeout: float) -> None:
        self.path = Path(sqlite_path(url)).expanduser().absolute()
        self._busy_timeout = busy_timeout
        self._identity: tuple[int, int] | None = None
        self._checkpoints: Checkpoints | None = None

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def is_there(self) -> bool:
        return self.path.exists()

    def engine(self) -> sa.Engine:
        _make(self.path)
        self._identity = _identity(self.path)
        engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(self.path)),
            poolclass=sa.NullPool,
            connect_args={"timeout": self._busy_timeout, "check_same_thread": False},
        )
        sa.event.listen(engine, "connect", _prepare)
        sa.event.listen(engine, "begin", _begin)
        return engine

    def check(self, connection: sa.Connection) -> None:
        found = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
        if found != "ok":
            raise damaged(self.path, " ".join(str(found).replace("*", "").split()))

    def begin_opening(self, connection: sa.Connection) -> None:
        """Every transaction that may write is alone."""

    def must_be_there(self) -> None:
        if _identity(self.path) != self._identity:
            raise damaged(self.path, "it was removed or replaced while it was in use")

    def written(self, connection: sa.Connection) -> None:
        """The log is worked off beside the commits."""
        if self._checkpoints is None:
            self._checkpoints = Checkpoints(self.path)
        self._checkpoints.written(connection.connection.driver_connection)

    def let_go(self) -> None:
        """A checkpoint that is under way is waited for."""
        checkpoints, self._checkpoints = self._checkpoints, None
        if checkpoints is not None:
            checkpoints.close()

    def give_back(self, connection: sa.Connection) -> None:
        _pragma(connection, f"incremental_vacuum({_PAGES})")

    def leave(self, connection: sa.Connection) -> None:
        """One file stays behind, without a log beside it."""
        _pragma(connection, "optimize")
        _pragma(connection, "wal_checkpoint(TRUNCATE)")

    def size(self, connection: sa.Connection) -> int:
        files = [self.path, self.path.with_name(f"{self.path.name}-wal")]
        return sum(file.stat().st_size for file in files if file.exists())

    def error(self, error: Exception) -> StoreError | None:
        original = getattr(error, "orig", None) or error
        code = getattr(original, "sqlite_errorcode", 0) & 0xFF  # the rest only says more of the same
        if not code or code in _VALUES:
            return None
        if code in _DAMAGE:
            return damaged(self.path, str(original))
        mends = _MENDS.get(code, "it is tried again")
        return StoreUnavailable(f"the store at {self.path}: {original}; {mends}")

    def is_busy(self, error: Exception) -> bool:
        code = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0) & 0xFF
        return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def damaged(path: Path, what: str) -> StoreDamaged:
    return StoreDamaged(
        f"the store at {path} is damaged: {what}; end the runtime, keep a copy of the file and of the one "
        f"with -wal beside it, and put a backup in its place, or what `sqlite3 {path.name} .recover` saves"
    )


def _make(path: Path) -> None:
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
    connection.execute(f"PRAGMA wal_autocheckpoint = {_LOG_PAGES}")


def _begin(connection: sa.Connection) -> None:
    reads = connection.get_execution_options().get("reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _text(value: bytes) -> str:
    """Damaged text is read with surrogates, so that one bad row does not hide the others."""
    return value.decode("utf-8", "surrogateescape")


def _pragma(connection: sa.Connection, pragma: str) -> None:
    """Outside of transactions, where these are allowed."""
    raw: Any = connection.connection.driver_connection
    raw.executescript(f"PRAGMA {pragma}")  # to its end, also where it has rows without columns


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
