"""The store's file: how it comes to be, what damages it, what keeps it from being written."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import ValidationError

from llmgine.actors.store import StoreOptions
from llmgine.actors.store.batches import Batch
from llmgine.actors.store.errors import OperationRefused, StoreDamaged, StoreReplaced, StoreUnavailable
from llmgine.actors.store.operations import (
    DropJournal,
    Operation,
    PutJournal,
    PutLetter,
    PutSchedule,
    PutSubscription,
    SetAside,
)
from llmgine.actors.store.queries import LetterFilter, Page
from llmgine.actors.store.sql import SqlEngine, migrations
from llmgine.actors.store.sql.migrations import migrate
from llmgine.actors.store.sql.sqlite import SqliteDatabase
from llmgine.actors.store.sql.tables import JOURNAL, LETTERS, META
from tests.actors.store import rows

MakeEngine = Callable[..., SqlEngine]


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
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


# How it comes to be.


def test_nothing_is_made_by_asking_or_tidying(sql: MakeEngine) -> None:
    """A runtime that needs no store leaves no file; every question has its empty answer."""
    engine = sql()
    assert engine.last_message() == 0
    for page in (
        engine.journal(0, 9, 9),
        engine.letters(LetterFilter(), None, 9),
        engine.schedules(0, 9),
        engine.subscriptions(0, 9),
    ):
        assert page == Page((), None)
    assert engine.letter("x") is None
    assert engine.count_letters(LetterFilter()) == 0
    assert engine.aside(9) == []
    assert engine.status()["messages"] == 0
    engine.tidy(5)
    assert not path_of(engine).parent.exists()


def test_the_file_is_for_its_owner_alone(sql: MakeEngine) -> None:
    """So are its folder and the log beside it; a closed store is one file."""
    engine = sql()
    write(engine, PutJournal(rows.message()))
    files = list(path_of(engine).parent.iterdir())
    assert {file.stat().st_mode & 0o077 for file in [path_of(engine).parent, *files]} == {0}
    engine.close()
    assert list(path_of(engine).parent.iterdir()) == [path_of(engine)]


def test_every_commit_is_synchronous_and_writers_go_before(sql: MakeEngine) -> None:
    """WAL with full sync, as the guarantee needs it."""
    engine = sql()
    write(engine)
    connection = engine._opened()._connection
    pragmas = {
        name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
        for name in ("journal_mode", "synchronous", "auto_vacuum")
    }
    connection.rollback()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "auto_vacuum": 2}


def test_what_was_committed_is_there_in_the_next_life(sql: MakeEngine) -> None:
    """Rows of every kind, whether the store was closed or not."""
    first = sql()
    write(first, PutJournal(rows.message()), PutLetter(rows.letter()), PutSchedule(rows.schedule()))
    write(first, PutSubscription("k", {"name": "n"}), ticket=2)
    second = sql()
    assert kept(second) == [1]
    assert second.letters(LetterFilter(), None, 9).rows == (rows.letter(),)
    assert second.schedules(0, 9).rows == (rows.schedule(),)
    assert second.subscriptions(0, 9).rows == ({"name": "n"},)


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///", "postgresql://", "mysql://u@h/d", "/var/store.db", ""]
)
def test_an_url_that_names_no_store_is_refused(url: str) -> None:
    """With the ones that do."""
    with pytest.raises(ValidationError, match="sqlite:///PATH, postgresql://USER@HOST/DATABASE or memory://"):
        StoreOptions(url=url)


# Versions.


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


# Damage.


def test_a_file_that_is_no_database_is_reported(sql: MakeEngine) -> None:
    """It is left as it is."""
    engine = sql()
    path_of(engine).parent.mkdir()
    path_of(engine).write_bytes(b"something else entirely" * 100)
    for use in (lambda: write(engine), engine.last_message):
        with pytest.raises(StoreDamaged, match="is damaged"):
            use()
    assert path_of(engine).read_bytes() == b"something else entirely" * 100


def test_damaged_pages_are_found_when_the_file_is_opened(sql: MakeEngine) -> None:
    """Before anything is written to it."""
    first = sql()
    write(first, *(PutJournal(rows.message(number, body=bytes(2_000))) for number in range(200)))
    first.close()
    content = bytearray(path_of(first).read_bytes())
    for page in range(5, len(content) // 4096, 3):
        content[page * 4096 : page * 4096 + 64] = os.urandom(64)
    path_of(first).write_bytes(content)
    with pytest.raises(StoreDamaged, match=r"is damaged.*recover"):
        write(sql(), PutJournal(rows.message(999)))
    assert path_of(first).read_bytes() == content


def test_a_file_that_was_taken_away_stops_the_writer(sql: MakeEngine) -> None:
    """What is written to a file without a name is lost: nothing is acknowledged."""
    engine = sql()
    write(engine, PutJournal(rows.message(1)))
    path_of(engine).rename(path_of(engine).with_name("moved.db"))
    with pytest.raises(StoreDamaged, match="removed or replaced"):
        write(engine, PutJournal(rows.message(2)), ticket=2)


def test_a_missing_table_is_damage(sql: MakeEngine) -> None:
    """A statement of ours that the database does not understand is no fault of the values."""
    engine = sql()
    write(engine)
    with beside(engine) as connection:
        connection.execute("DROP TABLE journal")
    with pytest.raises(StoreDamaged, match="no such table"):
        write(engine, PutJournal(rows.message()), ticket=2)


DAMAGES: list[tuple[str, str, Any]] = [
    ("journal", "body", "text"),
    ("journal", "pending", b"\xc1"),
    ("journal", "pending", b"\x91\x07"),
    ("journal", "epoch", "seven"),
    ("journal", "lineage", b"\xff\xfe"),
    ("letters", "errors", b"\x91\x92\x01\x02"),
    ("letters", "attempts", 1.5),
    ("schedules", "extra", b"\x90"),
    ("schedules", "at", "tomorrow"),
    ("schedules", "id", b"\xff\xfe"),
    ("subscriptions", "record", b"\x07"),
    ("subscriptions", "key", b"\xff\xfe"),
]


@pytest.mark.parametrize(("table", "column", "value"), DAMAGES)
def test_a_row_that_cannot_be_read_is_named_and_set_aside(
    sql: MakeEngine, table: str, column: str, value: Any
) -> None:
    """The others are read, and it is kept among the damaged ones with the reason."""
    engine = sql()
    for number in (1, 2):
        write(
            engine,
            PutJournal(rows.message(number)),
            PutLetter(rows.letter(str(number))),
            PutSchedule(rows.schedule(str(number))),
            PutSubscription(str(number), {"n": number}),
            ticket=number,
        )
    as_text = isinstance(value, bytes) and column in ("lineage", "id", "key")
    with beside(engine) as connection:
        place = "CAST(? AS TEXT)" if as_text else "?"
        connection.execute(f"UPDATE {table} SET {column} = {place} WHERE number = 1", [value])
    pages: dict[str, Page[Any]] = {
        "journal": engine.journal(0, 9, 9),
        "letters": engine.letters(LetterFilter(), None, 9),
        "schedules": engine.schedules(0, 9),
        "subscriptions": engine.subscriptions(0, 9),
    }
    [damaged] = pages[table].damaged
    assert len(pages[table].rows) == 1
    write(engine, *pages[table].damaged, ticket=3)
    assert engine.aside(9) == [damaged]
    assert engine.status()[{"journal": "messages"}.get(table, table)] == 1
    with beside(engine) as connection:
        [content] = connection.execute("SELECT content FROM damaged").fetchone()
    assert b"number" in content


def test_a_dead_letter_that_cannot_be_read_is_none(sql: MakeEngine) -> None:
    """Asked for by its id; a listing sets it aside."""
    engine = sql()
    write(engine, PutLetter(rows.letter("x")))
    with beside(engine) as connection:
        connection.execute("UPDATE letters SET errors = 'x'")
    assert engine.letter("x") is None


# What keeps it from being written.


def test_a_full_disk_is_said_and_goes_when_there_is_room(sql: MakeEngine) -> None:
    """Nothing of the batch is there until all of it is."""
    engine = sql()
    write(engine)
    connection = engine._opened()._connection
    connection.exec_driver_sql("PRAGMA max_page_count = 30")
    connection.rollback()
    batch = [PutJournal(rows.message(number, body=bytes(4_000))) for number in range(100)]
    with pytest.raises(StoreUnavailable, match="disk is full; free some space"):
        write(engine, *batch, ticket=2)
    assert kept(engine) == []
    write(engine, *batch, ticket=2)  # the file was opened anew, without the limit
    assert len(kept(engine)) == 100


def test_a_locked_file_is_said_and_goes_with_the_lock(sql: MakeEngine) -> None:
    """Questions are answered meanwhile."""
    engine = sql(busy_timeout=0.01)
    write(engine, PutJournal(rows.message(1)))
    with beside(engine) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreUnavailable, match="another process has locked the file; end it"):
            write(engine, PutJournal(rows.message(2)), ticket=2)
        assert kept(engine) == [1]
    write(engine, PutJournal(rows.message(2)), ticket=2)
    assert kept(engine) == [1, 2]


def test_a_file_that_cannot_be_written_is_said(sql: MakeEngine) -> None:
    """With what mends it."""
    engine = sql()
    write(engine)
    connection = engine._opened()._connection
    connection.exec_driver_sql("PRAGMA query_only = ON")
    connection.rollback()
    with pytest.raises(StoreUnavailable, match="mend the permissions"):
        write(engine, PutJournal(rows.message()), ticket=2)


def test_a_folder_that_cannot_be_made_is_said(sql: MakeEngine) -> None:
    """With the setting that names another."""
    engine = sql()
    path_of(engine).parent.write_text("a file stands where the folder should be")
    with pytest.raises(StoreUnavailable, match=r"cannot be made.*store\.url"):
        write(engine)


def test_of_two_stores_on_one_file_the_later_writes(sql: MakeEngine) -> None:
    """The earlier one notices at its next commit, and stops."""
    first = sql()
    write(first, PutJournal(rows.message(1)))
    second = sql()
    write(second, PutJournal(rows.message(2)), ticket=2)
    with pytest.raises(StoreReplaced, match="another process has opened the store"):
        write(first, PutJournal(rows.message(3)), ticket=3)
    with pytest.raises(StoreReplaced):
        first.tidy(5)
    assert kept(second) == [1, 2]


def test_what_can_never_be_written_is_refused_and_the_others_are(sql: MakeEngine) -> None:
    """Of a group, only the batch with the value that no column takes; nothing of that one is there."""
    engine = sql()
    batches = [
        Batch.of("a", 1, [PutJournal(rows.message(1))]),
        Batch.of("b", 1, [PutJournal(rows.message(2)), PutJournal(rows.message(3, time=2**70))]),
        Batch.of("c", 1, [PutJournal(rows.message(4)), PutLetter(rows.letter(handler="\ud800"))]),
        Batch.of("d", 1, [PutJournal(rows.message(5))]),
    ]
    refused = engine.commit(batches, 1)
    assert [refusal.batch for refusal in refused] == batches[1:3]
    assert all(isinstance(refusal.error, OperationRefused) for refusal in refused)
    assert kept(engine) == [1, 5]


# Nothing grows.


def test_what_is_gone_gives_its_space_back(sql: MakeEngine) -> None:
    """The file shrinks by tidying, and the log beside it is bounded."""
    engine = sql()
    messages = [rows.message(number, body=bytes(4_000)) for number in range(500)]
    write(engine, *map(PutJournal, messages))
    write(engine, *(DropJournal(one.id) for one in messages), ticket=2)
    checkpoint(engine)
    before = path_of(engine).stat().st_size
    engine.tidy(5)
    checkpoint(engine)
    assert path_of(engine).stat().st_size < before / 5


def test_old_dead_letters_go_in_portions_and_writers_are_forgotten(sql: MakeEngine) -> None:
    """However many there are."""
    engine = sql(letters=10_000, age=1e-9)
    write(engine, *(PutLetter(rows.letter(str(number), time=number)) for number in range(2_500)))
    engine.tidy(2_501)
    assert engine.count_letters(LetterFilter()) == 0
    engine.tidy(86_400 * 1_000_000_000 + 2)
    with beside(engine) as connection:
        assert connection.execute("SELECT count(*) FROM writers").fetchone() == (0,)


def test_set_aside_rows_are_bounded(sql: MakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The latest are kept."""
    monkeypatch.setattr("llmgine.actors.store.sql.statements.MAX_ASIDE", 2)
    engine = sql()
    messages = [rows.message(number) for number in range(4)]
    write(engine, *map(PutJournal, messages))
    write(engine, *(SetAside("journal", one.id, "why") for one in messages), ticket=2)
    assert [one.id for one in engine.aside(9)] == [messages[3].id, messages[2].id]


def test_reading_uses_indexes(sql: MakeEngine) -> None:
    """What is asked for at each commit costs no walk over a table."""
    engine = sql()
    write(engine)
    with beside(engine) as connection:
        for statement in (
            f"DELETE FROM {JOURNAL.name} WHERE id = 'x' AND pending = x'00'",
            f"SELECT number FROM {LETTERS.name} WHERE time < 5",
            f"SELECT * FROM {JOURNAL.name} WHERE number > 5 ORDER BY number LIMIT 3",
        ):
            [plan] = connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
            assert "SEARCH" in plan[3]
