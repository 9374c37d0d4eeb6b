"""The version of the store's file: older ones are brought up, others are refused."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from llmgine.actors.store.errors import (
    StoreDamaged,
)
from llmgine.actors.store.operations import (
    DropJournal,
    PutJournal,
)
from llmgine.actors.store.session_operations import (
    Activate,
)
from llmgine.actors.store.sql import SqlEngine, migrations
from llmgine.actors.store.sql.migrations import migrate
from llmgine.actors.store.sql.tables import META, METADATA
from tests.actors.store import rows
from tests.actors.store.files import beside, kept, path_of, write

MakeEngine = Callable[..., SqlEngine]


def older_file(path: Path) -> None:
    """A file of version 1 of some tables, with a row."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            """CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
               CREATE TABLE thing (number INTEGER PRIMARY KEY, name TEXT NOT NULL);
               INSERT INTO meta VALUES ('version', '1');
               INSERT INTO thing (name) VALUES ('old');"""
        )


def add_size(connection: sa.Connection) -> None:
    connection.exec_driver_sql("ALTER TABLE thing ADD COLUMN size INTEGER NOT NULL DEFAULT 7")


def double_size(connection: sa.Connection) -> None:
    connection.exec_driver_sql("UPDATE thing SET size = 2 * size")


def stumble(connection: sa.Connection) -> None:
    raise ZeroDivisionError


def test_an_older_file_is_brought_up_step_by_step_and_once(tmp_path: Path) -> None:
    """Each migration runs in its order, on what the one before left, and never again."""
    path = tmp_path / "old.db"
    older_file(path)
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool)
    for steps in ([add_size], [add_size, double_size], [add_size, double_size]):
        with engine.begin() as connection:
            migrate(connection, steps)
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT name, size FROM thing").all() == [("old", 14)]
        assert connection.execute(sa.select(META.c.value)).scalar() == "3"


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """The steps before it are undone too."""
    path = tmp_path / "old.db"
    older_file(path)
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool)
    sa.event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    with pytest.raises(ZeroDivisionError), engine.begin() as connection:
        migrate(connection, [add_size, stumble])
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT * FROM thing").fetchall() == [(1, "old")]
        assert other.execute("SELECT value FROM meta").fetchone() == ("1",)


def test_a_new_file_has_the_latest_version(sql: MakeEngine) -> None:
    """No migration runs on it."""
    engine = sql()
    write(engine)
    with beside(engine) as connection:
        [version] = connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
    assert version == str(1 + len(migrations.MIGRATIONS))


@pytest.mark.parametrize("version", ["999", "", "-1", "soon"])
def test_a_file_of_another_version_is_refused_and_left_alone(sql: MakeEngine, version: str) -> None:
    """A later one names what mends it; one that is none is damage."""
    write(sql(), PutJournal(rows.message()))
    engine = sql()
    with beside(engine) as connection:
        connection.execute("UPDATE meta SET value = ? WHERE name = 'version'", [version])
    match = "install the llmgine that wrote it" if version == "999" else "which is none"
    with pytest.raises(StoreDamaged, match=match):
        write(engine, DropJournal(rows.message().id))
    with pytest.raises(StoreDamaged, match=match):
        engine.last_message()
    with beside(engine) as connection:
        assert connection.execute("SELECT count(*) FROM journal").fetchone() == (1,)


def test_a_file_of_somebody_else_is_refused(sql: MakeEngine) -> None:
    """Nothing is added to another program's tables."""
    engine = sql()
    path_of(engine).parent.mkdir()
    with beside(engine) as connection:
        connection.execute("CREATE TABLE journal (entry TEXT)")
    with pytest.raises(StoreDamaged, match="somebody else's tables"):
        write(engine)
    with beside(engine) as connection:
        assert len(connection.execute("SELECT * FROM sqlite_master").fetchall()) == 1


def test_a_file_of_version_1_becomes_what_a_new_one_is(sql: MakeEngine) -> None:
    """Its rows stay, and its tables and indexes are those of a new file."""
    old, new = sql(file="old.db"), sql(file="new.db")
    write(new)
    write(old, PutJournal(rows.message()))
    old.close()
    with beside(old) as connection:
        for table in reversed(METADATA.sorted_tables):
            if table.name not in VERSION_1:
                connection.execute(f"DROP TABLE {table.name}")
        connection.execute("ALTER TABLE damaged DROP COLUMN session")
        connection.execute("UPDATE meta SET value = '1' WHERE name = 'version'")
    again = sql(file="old.db")
    write(again, Activate("s", 0, 1, "h", 1), ticket=2)
    assert kept(again) == [1]
    assert schema(again) == schema(new)


VERSION_1 = {"meta", "writers", "journal", "letters", "schedules", "subscriptions", "damaged"}


def schema(engine: SqlEngine) -> dict[str, Any]:
    """Columns, keys and indexes of each table."""
    found: dict[str, Any] = {}
    with beside(engine) as connection:
        named = connection.execute("SELECT name, type FROM sqlite_master ORDER BY name").fetchall()
        for name, kind in named:
            asked = "table_info" if kind == "table" else "index_xinfo"
            found[name] = connection.execute(f"PRAGMA {asked}({name})").fetchall()
    return found
