"""Damage to the store's file: it is said, it hides nothing else, and nothing is written over it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from llmgine.actors.store.errors import (
    EntryDamaged,
    StoreDamaged,
)
from llmgine.actors.store.operations import (
    PutJournal,
    PutLetter,
    PutSchedule,
    PutSubscription,
)
from llmgine.actors.store.queries import ApprovalFilter, LetterFilter, Page, SessionFilter
from llmgine.actors.store.session_operations import (
    Activate,
    AppendEntries,
    PutApproval,
    PutSnapshot,
    PutTurn,
    SetEntriesAside,
)
from llmgine.actors.store.sql import SqlEngine
from tests.actors.store import rows
from tests.actors.store.files import beside, path_of, write

MakeEngine = Callable[..., SqlEngine]


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
    ("sessions", "record", b"\x90"),
    ("sessions", "id", b"\xff\xfe"),
    ("turns", "request", "text"),
    ("turns", "id", b"\xff\xfe"),
    ("approvals", "created", "soon"),
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
            Activate(f"s{number}", 0, 1, "h", 1),
            PutTurn(1, rows.turn(session=f"s{number}")),
            PutApproval(1, rows.approval(str(number), session=f"s{number}")),
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
        "sessions": engine.sessions.sessions(SessionFilter(), 0, 9),
        "turns": engine.sessions.turns("s1", None, 9),
        "approvals": engine.sessions.approvals(ApprovalFilter(), 0, 9),
    }
    [damaged] = pages[table].damaged
    assert len(pages[table].rows) == (table != "turns")
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


def torn(sql: MakeEngine, damage: str) -> SqlEngine:
    """A store with a session of four entries, the first of them in a snapshot, and the damage done."""
    engine = sql()
    write(engine, Activate("s", 0, 5, "h", 1), AppendEntries("s", 5, 1, (b"1", b"2", b"3", b"4")))
    write(engine, PutSnapshot("s", 5, 1, b"snapshot"), ticket=2)
    with beside(engine) as connection:
        connection.execute(damage)
    return engine


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        ("UPDATE entries SET body = x'FF' WHERE number = 3", "entry 3 of session 's' .*not what was written"),
        ("UPDATE entries SET body = 'text' WHERE number = 3", "its body is a str"),
        ("UPDATE entries SET crc = 7 WHERE number = 3", "not what was written"),
        ("DELETE FROM entries WHERE number = 3", "entry 3 .*it is missing"),
    ],
)
async def test_a_journal_is_read_up_to_its_damage(sql: MakeEngine, net: Any, damage: str, match: str) -> None:
    """What follows is not taken for the rest; set aside, it is out of the way, and nothing of it is lost."""
    engine = torn(sql, damage)
    await net.open(engine)
    client = net.client()
    pages = client.entries("s", 1)
    assert await anext(pages) == ((2, b"2"),)
    with pytest.raises(EntryDamaged, match=match):
        await anext(pages)
    await client.write([SetEntriesAside("s", 5, 3, "torn"), AppendEntries("s", 5, 3, (b"new",))])
    assert [page async for page in client.entries("s", 1)] == [((2, b"2"), (3, b"new"))]
    assert ("entry", "s/4", "torn") in await client.set_aside()


async def test_a_damaged_snapshot_is_told_from_none(sql: MakeEngine, net: Any) -> None:
    """The session begins anew, and the store goes on with all others."""
    await net.open(torn(sql, "UPDATE snapshots SET body = x'FF'"))
    client = net.client()
    with pytest.raises(EntryDamaged, match="the snapshot of session 's' is damaged"):
        await client.snapshot("s")
    await client.write([SetEntriesAside("s", 5, 1, "torn"), AppendEntries("s", 5, 1, (b"new",))])
    assert await client.snapshot("s") is None
    assert [page async for page in client.entries("s")] == [((1, b"new"),)]


async def test_the_journal_of_a_session_whose_row_was_damaged_is_its_own_again(
    sql: MakeEngine, net: Any
) -> None:
    """Who opens it as a new one finds the history, and goes on after its end."""
    await net.open(torn(sql, "UPDATE sessions SET record = x'90'"))
    client = net.client()
    assert await client.session("s") is None
    await client.write([Activate("s", 0, 9, "h", 1), AppendEntries("s", 9, 5, (b"5",))])
    row = await client.session("s")
    assert row is not None
    assert (row.epoch, row.head) == (9, 5)
    assert await client.snapshot("s") == (1, b"snapshot")
    [(kind, id, _)] = await client.set_aside()
    assert (kind, id) == ("session", "s")
