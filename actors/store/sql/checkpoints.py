"""Moves what was committed from SQLite's log into its file, so that no commit waits for that."""

from __future__ import annotations

import sqlite3
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

# Rows that are written between two checkpoints; each is about a page of the log.
_ROWS: Final = 1_000
_PASSIVE: Final = "PRAGMA wal_checkpoint(PASSIVE)"


class Checkpoints:
    """The log of one writer, whose thread calls everything here.

    Most of a checkpoint is done over a connection of its own while others commit. What came meanwhile is
    little, and is moved by the writer: only then does the log begin anew in place of growing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="llmgine-store-checkpoint")
        self._moving: Future[bool] | None = None
        self._rows = 0

    def written(self, connection: Any) -> None:
        """A transaction of this connection of sqlite3 was committed."""
        if self._moving is None:
            if connection.total_changes - self._rows >= _ROWS:
                self._rows = connection.total_changes
                self._moving = self._thread.submit(self._move)
        elif self._moving.done():
            if self._moving.result():
                with suppress(sqlite3.Error):
                    connection.execute(_PASSIVE).fetchall()
            self._moving = None

    def close(self) -> None:
        self._thread.shutdown()

    def _move(self) -> bool:
        """Whether it went well; a disk that fails is told of by the next commit."""
        try:
            # Not made anew where somebody has removed it.
            with closing(sqlite3.connect(f"{self._path.as_uri()}?mode=rw", uri=True)) as connection:
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute(_PASSIVE).fetchall()
        except sqlite3.Error:
            return False
        return True
