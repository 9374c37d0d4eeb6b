"""The store's file: how it comes to be, and what keeps it from being written."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from llmgine.actors.store import StoreOptions
from llmgine.actors.store.batches import Batch
from llmgine.actors.store.errors import (
    OperationRefused,
    StoreReplaced,
    StoreUnavailable,
)
from llmgine.actors.store.operations import (
    DropJournal,
    PutJournal,
    PutLetter,
    PutSchedule,
    PutSubscription,
    SetAside,
)
from llmgine.actors.store.queries import LetterFilter, Page
from llmgine.actors.store.sql import SqlEngine
from llmgine.actors.store.sql.tables import JOURNAL, LETTERS
from tests.actors.store import rows
from tests.actors.store.files import beside, checkpoint, kept, path_of, write
from tests.actors.store.rows import tidy

MakeEngine = Callable[..., SqlEngine]


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
    tidy(engine, 5)
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
        tidy(first, 5)
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
    tidy(engine, 5)
    checkpoint(engine)
    assert path_of(engine).stat().st_size < before / 5


def test_old_dead_letters_go_in_portions_and_writers_are_forgotten(sql: MakeEngine) -> None:
    """However many there are."""
    engine = sql(letters=10_000, age=1e-9)
    write(engine, *(PutLetter(rows.letter(str(number), time=number)) for number in range(2_500)))
    tidy(engine, 2_501)
    assert engine.count_letters(LetterFilter()) == 0
    tidy(engine, 86_400 * 1_000_000_000 + 2)
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
            "DELETE FROM entries WHERE session = 's' AND number < 3",
            "SELECT max(number) FROM entries WHERE session = 's'",
            "SELECT * FROM turns WHERE session = 's' AND number < 9 ORDER BY number DESC LIMIT 3",
            "SELECT * FROM sessions WHERE pending > 0 AND number > 5 ORDER BY number",
            "SELECT number FROM approvals WHERE state = 'pending' AND expires < 5",
            "SELECT hash FROM blob_uses WHERE hash = 'h'",
        ):
            [plan] = connection.execute(f"EXPLAIN QUERY PLAN {statement}").fetchall()
            assert "SEARCH" in plan[3]
