"""The store on a PostgreSQL server: what damages it, what keeps it from being written, what it says."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import psycopg
import pytest

from llmgine.actors.store import StoreOptions
from llmgine.actors.store.batches import Batch
from llmgine.actors.store.errors import OperationRefused, StoreDamaged, StoreReplaced, StoreUnavailable
from llmgine.actors.store.operations import PutJournal, PutLetter
from llmgine.actors.store.session_operations import Activate, AppendEntries
from llmgine.actors.store.sql import SqlEngine, database_of
from llmgine.actors.store.sql.migrations import MIGRATIONS
from tests.actors.store import rows
from tests.actors.store.files import kept, write
from tests.actors.store.server import Server

MakeEngine = Callable[..., SqlEngine]


def beside(engine: SqlEngine) -> psycopg.Connection:
    """Another process's connection to the same tables."""
    url = engine.database.engine().url
    return psycopg.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))


@pytest.fixture
def running(server: Server) -> Iterator[Server]:
    """The server, which runs again for whoever comes next."""
    yield server
    server.start()


# How it is opened.


def test_new_tables_have_the_latest_version(postgres: MakeEngine) -> None:
    """No migration runs on them; what others have in the database is left alone."""
    engine = postgres()
    write(engine)
    with beside(engine) as connection:
        version = connection.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
    assert version == (str(1 + len(MIGRATIONS)),)


def test_two_that_open_it_at_once_make_its_tables_once(postgres: MakeEngine) -> None:
    """The later one has the writing."""
    engines = [postgres() for _ in range(4)]
    threads = [threading.Thread(target=engine.last_message) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [whose] = [engine for engine in engines if _can_write(engine)]
    assert kept(whose) == [1]


def _can_write(engine: SqlEngine) -> bool:
    try:
        write(engine, PutJournal(rows.message(1)))
    except StoreReplaced:
        return False
    return True


def test_of_two_stores_on_one_database_the_later_writes(postgres: MakeEngine) -> None:
    """The earlier one notices at its next commit, and stops."""
    first = postgres()
    write(first, PutJournal(rows.message(1)))
    second = postgres()
    write(second, PutJournal(rows.message(2)), ticket=2)
    with pytest.raises(StoreReplaced, match="another process has opened the store at postgresql://"):
        write(first, PutJournal(rows.message(3)), ticket=3)
    assert kept(second) == [1, 2]


def test_nobody_takes_the_writing_over_in_the_middle_of_a_commit(postgres: MakeEngine) -> None:
    """Who opens it waits until that is done, or says that it could not."""
    first = postgres()
    write(first, PutJournal(rows.message(1)))
    writer = first._opened()
    with writer._connection.begin():
        writer._check_life()
        with pytest.raises(StoreUnavailable, match="another process has locked the tables; end it"):
            write(postgres(busy_timeout=0.05), PutJournal(rows.message(2)), ticket=2)
    write(postgres(), PutJournal(rows.message(2)), ticket=2)


def test_every_commit_is_on_the_disk_whatever_is_set_for_others(server: Server) -> None:
    """Also where the server's or the user's setting would not wait."""
    database = database_of(StoreOptions(url=f"{server.place()}%20-csynchronous_commit%3Doff"))
    with database.engine().connect() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"


def test_a_missing_driver_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra that brings it."""
    monkeypatch.setattr("llmgine.actors.store.sql.postgres.find_spec", lambda name: None)
    engine = SqlEngine(database_of(StoreOptions(url="postgresql://ann@host/db")), 100, 1.0, life=1)
    with pytest.raises(StoreUnavailable, match=r"llmgine-ray\[postgres\]"):
        engine.last_message()


# What it says.


def test_a_server_that_is_not_reached_is_said_without_its_password() -> None:
    """Wherever its URL is shown."""
    options = StoreOptions(url="postgresql://ann:s3cret@127.0.0.1:1/db?sslpassword=s3cret")
    engine = SqlEngine(database_of(options), 100, 1.0, life=1)
    with pytest.raises(StoreUnavailable, match="the server is not reached; start it") as caught:
        write(engine, PutJournal(rows.message()))
    shown = [str(caught.value), engine.database.url, repr(options), str(options)]
    assert not any("s3cret" in text for text in shown)
    assert "postgresql://ann@" in shown[0]


def test_a_database_or_a_user_that_is_not_there_is_said(server: Server) -> None:
    """With what mends it."""
    for url, match in (
        (server.url.replace("/postgres?", "/nothing?"), "no such database; make it with CREATE DATABASE"),
        (server.url.replace("postgres:@", "nobody:@"), "mend user and password in store.url"),
    ):
        with pytest.raises(StoreUnavailable, match=match):
            SqlEngine(database_of(StoreOptions(url=url)), 100, 1.0, life=1).last_message()


def test_a_missing_table_is_damage(postgres: MakeEngine) -> None:
    """A statement of ours that the database does not understand is no fault of the values."""
    engine = postgres()
    write(engine)
    with beside(engine) as connection:
        connection.execute("DROP TABLE journal")
    with pytest.raises(StoreDamaged, match=r"journal.*does not exist"):
        write(engine, PutJournal(rows.message()), ticket=2)


def test_what_can_never_be_written_is_refused_and_the_others_are(postgres: MakeEngine) -> None:
    """Of a group, only the batch with the value that no column takes; nothing of that one is there."""
    engine = postgres()
    batches = [
        Batch.of("a", 1, [PutJournal(rows.message(1))]),
        Batch.of("b", 1, [PutJournal(rows.message(2)), PutJournal(rows.message(3, time=2**70))]),
        Batch.of("c", 1, [PutJournal(rows.message(4)), PutLetter(rows.letter(handler="\ud800"))]),
        Batch.of("d", 1, [PutJournal(rows.message(5, session="a\0b"))]),
        Batch.of("e", 1, [PutJournal(rows.message(6))]),
    ]
    refused = engine.commit(batches, 1)
    assert [refusal.batch for refusal in refused] == batches[1:4]
    assert all(isinstance(refusal.error, OperationRefused) for refusal in refused)
    assert kept(engine) == [1, 6]


# What keeps it from being written.


def test_locked_tables_are_said_and_go_with_the_lock(postgres: MakeEngine) -> None:
    """Nothing of the batch is there until all of it is."""
    engine = postgres(busy_timeout=0.05)
    write(engine, PutJournal(rows.message(1)))
    with beside(engine) as connection:
        connection.execute("LOCK TABLE journal IN SHARE MODE")
        with pytest.raises(StoreUnavailable, match="another process has locked the tables; end it"):
            write(engine, PutJournal(rows.message(2)), ticket=2)
    assert kept(engine) == [1]
    write(engine, PutJournal(rows.message(2)), ticket=2)
    assert kept(engine) == [1, 2]


def test_a_connection_that_was_cut_is_opened_anew(postgres: MakeEngine) -> None:
    """For the writing and for the reading, each by itself."""
    engine = postgres()
    write(engine, PutJournal(rows.message(1)))
    assert kept(engine) == [1]
    with beside(engine) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'llmgine'"
        )
    with pytest.raises(StoreUnavailable):
        write(engine, PutJournal(rows.message(2)), ticket=2)
    with pytest.raises(StoreUnavailable):
        kept(engine)
    write(engine, PutJournal(rows.message(2)), ticket=2)
    assert kept(engine) == [1, 2]


def test_a_server_that_was_killed_and_started_again_has_what_was_acknowledged(
    postgres: MakeEngine, running: Server
) -> None:
    """Until then nothing can be written; the batch that was tried is there once."""
    engine = postgres()
    write(engine, Activate("s", 0, 5, "h", 1), AppendEntries("s", 5, 1, (b"one",)))
    running.stop(at_once=True)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="the server is"):
            write(engine, AppendEntries("s", 5, 2, (b"two",)), ticket=2)
    running.start()
    write(engine, AppendEntries("s", 5, 2, (b"two",)), ticket=2)
    write(engine, AppendEntries("s", 5, 2, (b"two",)), ticket=2)
    assert engine.sessions.entries("s", 0, 9).rows == ((1, b"one"), (2, b"two"))


def test_a_commit_whose_answer_was_lost_is_not_done_twice(
    postgres: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was on the server's disk when the connection broke: the same batch again changes nothing."""
    engine = postgres()
    write(engine, Activate("s", 0, 5, "h", 1))

    writer = engine._opened()
    raw = writer._connection.connection.driver_connection
    assert raw is not None
    commit = raw.commit

    def committed_but_lost() -> None:
        commit()
        raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(raw, "commit", committed_but_lost)
    late = Batch.of("other", 1, [AppendEntries("s", 4, 1, (b"late",))])
    batch = Batch.of("w", 2, [AppendEntries("s", 5, 1, (b"one",))])
    with pytest.raises(StoreUnavailable, match="the connection is lost"):
        engine.commit([late, batch], 1)
    [refusal] = engine.commit([late, batch], 1)
    assert refusal.batch is late
    assert engine.sessions.entries("s", 0, 9).rows == ((1, b"one"),)
