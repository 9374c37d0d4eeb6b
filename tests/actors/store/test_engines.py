"""What every engine does, in memory and over each database, measured by a ledger."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmgine.actors.store.batches import Batch
from llmgine.actors.store.engine import Engine
from llmgine.actors.store.ledger import Ledger
from llmgine.actors.store.operations import (
    DropLetters,
    HandlerDone,
    KeepNote,
    Operation,
    PutJournal,
    PutLetter,
    PutSchedule,
    PutSubscription,
    SetAside,
)
from llmgine.actors.store.queries import PAGE_BYTES, LetterFilter
from llmgine.actors.store.retention import Retention
from tests.actors.store import rows
from tests.actors.store.rows import tidy

EVERY = LetterFilter()
FILES = itertools.count()
MakeEngine = Callable[..., Engine]


@pytest.fixture
def engine(make: MakeEngine) -> Engine:
    return make()


class Writer:
    """Commits batches of one writer."""

    def __init__(self, engine: Engine, name: str = "w") -> None:
        self.engine = engine
        self.name = name
        self.ticket = 0

    def batch(self, *operations: Operation) -> Batch:
        self.ticket += 1
        return Batch.of(self.name, self.ticket, operations)

    def write(self, *operations: Operation) -> None:
        assert self.engine.commit([self.batch(*operations)], 1) == []


def check_same(engine: Engine, ledger: Ledger) -> None:
    """Everything that can be asked has the ledger's answer."""
    last = engine.last_message()
    assert rows.all_pages(lambda after: engine.journal(after, last, 2)) == list(ledger.journal.values())
    newest_first = list(ledger.letters.values())[::-1]
    assert rows.all_pages(lambda before: engine.letters(EVERY, before or None, 2)) == newest_first
    assert rows.all_pages(lambda after: engine.schedules(after, 2)) == list(ledger.schedules.values())
    assert rows.all_pages(lambda after: engine.subscriptions(after, 2)) == list(ledger.subscriptions.values())
    assert engine.aside(100) == list(ledger.aside.values())[::-1]
    notes = {name: note.body for name in rows.NAMES if (note := ledger.notes.get(name))}
    assert {name: body for name in rows.NAMES if (body := engine.note(name)) is not None} == notes
    assert [engine.response(key) for key in rows.NAMES] == [
        ledger.responses.rows.get(key) for key in rows.NAMES
    ]
    counts = {name: value for name, value in engine.status().items() if name not in ("url", "bytes")}
    assert counts == {
        "messages": len(ledger.journal),
        "letters": len(ledger.letters),
        "schedules": len(ledger.schedules),
        "subscriptions": len(ledger.subscriptions),
        "sessions": len(ledger.sessions.rows),
        "turns": len(ledger.sessions.turns),
        "approvals": len(ledger.sessions.approvals),
        "blobs": len(ledger.sessions.blobs),
        "responses": len(ledger.responses.rows),
        "notes": len(ledger.notes),
        "damaged": len(ledger.aside),
    }


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    groups=st.lists(st.lists(st.lists(rows.operations, max_size=6), min_size=1, max_size=3), max_size=4),
    wanted=st.builds(LetterFilter, **rows.filters_of),
    letters=st.sampled_from([2, 100]),
    before=st.integers(0, 50),
    retention=st.sampled_from([Retention(), Retention(responses=2, response_bytes=5)]),
)
def test_whatever_is_committed_reads_as_the_ledger_says(
    make: MakeEngine,
    groups: list[list[list[Operation]]],
    wanted: LetterFilter,
    letters: int,
    before: int,
    retention: Retention,
) -> None:
    """Batches in groups, pages, filters, bounds and age: an engine and a ledger are one."""
    engine = make(file=f"{next(FILES)}.db", letters=letters, age=1e-9, retention=retention)
    ledger = Ledger(letters, retention)
    writer = Writer(engine)
    for group in groups:
        batches = [writer.batch(*operations) for operations in group]
        assert engine.commit(batches, 1) == []
        ledger.apply(operation for batch in batches for operation in batch.operations)
    check_same(engine, ledger)
    admitted = [row for row in ledger.letters.values() if wanted.admits(row)]
    assert list(engine.letters(wanted, None, 100).rows) == admitted[::-1]
    assert engine.count_letters(wanted) == len(admitted)
    tidy(engine, before + 1)
    ledger.expire(before)
    ledger.responses.expire(before + 1)
    ledger.notes.drop_where(lambda note: note.expires <= before + 1)
    check_same(engine, ledger)
    engine.close()


def test_letters_are_counted_when_the_group_is_whole(make: MakeEngine) -> None:
    """One that a later batch of the group removes takes no other's place."""
    engine = make(letters=2)
    writer = Writer(engine)
    first = writer.batch(*(PutLetter(rows.letter(id)) for id in "abc"))
    assert engine.commit([first, writer.batch(DropLetters(("b",)))], 1) == []
    assert [row.id for row in engine.letters(EVERY, None, 9).rows] == ["c", "a"]


def test_a_batch_that_comes_again_is_not_done_again(make: MakeEngine) -> None:
    """Neither in the same group, nor later, nor in the next life of the store."""
    engine = make()
    writer = Writer(engine)
    kept = rows.message()
    put, done = writer.batch(PutJournal(kept)), writer.batch(HandlerDone(kept.id, kept.pending[0]))
    engine.commit([put, done, put], 1)
    engine.commit([put], 1)
    assert engine.last_message() == 0 or not engine.journal(0, 9, 9).rows
    if engine.blocks:
        engine.close()
        engine = make()
        assert engine.commit([put, done], 1) == []
        assert not engine.journal(0, 9, 9).rows


def test_writers_do_not_share_their_tickets(engine: Engine) -> None:
    """The first batch of each is new."""
    Writer(engine, "a").write(PutJournal(rows.message(1)))
    Writer(engine, "b").write(PutJournal(rows.message(2)))
    assert [row.sequence for row in engine.journal(0, 9, 9).rows] == [1, 2]


def test_a_message_with_several_handlers_waits_for_each(engine: Engine) -> None:
    """Also where some are done together with those of other messages."""
    writer = Writer(engine)
    kept = [rows.message(sequence, pending=("a", "b")) for sequence in range(3)]
    writer.write(*map(PutJournal, kept))
    writer.write(HandlerDone(kept[0].id, "a"), HandlerDone(kept[1].id, "a"), HandlerDone(kept[1].id, "b"))
    assert [row.pending for row in engine.journal(0, 9, 9).rows] == [("b",), ("a", "b")]
    writer.write(HandlerDone(kept[0].id, "b"), HandlerDone(kept[0].id, "b"))
    assert [row.sequence for row in engine.journal(0, 9, 9).rows] == [2]


def test_a_listing_of_the_journal_ends_where_it_began(engine: Engine) -> None:
    """What arrives while pages are read is not on them."""
    writer = Writer(engine)
    writer.write(*(PutJournal(rows.message(sequence)) for sequence in range(5)))
    end = engine.last_message()
    first = engine.journal(0, end, 3)
    writer.write(PutJournal(rows.message(99)))
    assert first.next is not None
    assert [row.sequence for row in engine.journal(first.next, end, 9).rows] == [3, 4]


def test_a_page_is_bounded_in_bytes(engine: Engine) -> None:
    """But has one row at least, however large."""
    writer = Writer(engine)
    body = bytes(PAGE_BYTES)
    writer.write(*(PutLetter(rows.letter(f"{number}", body=body)) for number in range(3)))
    page = engine.letters(EVERY, None, 100)
    assert [row.id for row in page.rows] == ["2"]
    assert [row.id for row in engine.letters(EVERY, page.next, 100).rows] == ["1"]


def test_one_dead_letter_is_found_by_its_id(engine: Engine) -> None:
    """As it was written; an unknown one is none."""
    Writer(engine).write(PutLetter(rows.letter("x", trace=b"t")))
    assert engine.letter("x") == rows.letter("x", trace=b"t")
    assert engine.letter("y") is None


def test_dead_letters_are_counted_exactly_through_every_way_to_go(make: MakeEngine) -> None:
    """Replaced, dropped, set aside, expired, pushed out: the bound is exact after each."""
    engine = make(letters=3)
    writer = Writer(engine)
    writer.write(*(PutLetter(rows.letter(id, time=time)) for time, id in enumerate("abc")))
    writer.write(PutLetter(rows.letter("b", time=1)), DropLetters(("a", "nobody")))
    writer.write(SetAside("letter", "b", "why"))
    writer.write(*(PutLetter(rows.letter(id, time=9)) for id in "de"))
    assert [row.id for row in engine.letters(EVERY, None, 9).rows] == ["e", "d", "c"]
    writer.write(PutLetter(rows.letter("f", time=2_000)))
    assert [row.id for row in engine.letters(EVERY, None, 9).rows] == ["f", "e", "d"]
    tidy(engine, 1_010)
    writer.write(*(PutLetter(rows.letter(id, time=2_000)) for id in "gh"))
    assert [row.id for row in engine.letters(EVERY, None, 9).rows] == ["h", "g", "f"]


def test_a_store_may_keep_no_dead_letters(make: MakeEngine) -> None:
    """Then none is there, and nothing fails."""
    engine = make(letters=0)
    Writer(engine).write(PutLetter(rows.letter()), PutJournal(rows.message()))
    assert engine.count_letters(EVERY) == 0
    assert engine.last_message() == 1


def test_values_of_every_kind_come_back(engine: Engine) -> None:
    """Scripts, separators, quotes, absent values, the largest numbers."""
    writer = Writer(engine)
    text = "Ünïcode \x1f'\"|%_🚀"
    kept = rows.message(2**63 - 1, session=text, replay_of="", body=b"\x00\xff", time=2**62)
    planned = rows.schedule(every=0.1, until=2**62, extra={"deep": {"list": [1, None, 2.5, b"x"]}})
    record = {"name": "n", "retry": {"base": 0.1}, "list": [1, [2]], "none": None}
    writer.write(PutJournal(kept), PutSchedule(planned), PutSubscription("k\x1fk", record))
    assert engine.journal(0, 9, 9).rows == (kept,)
    assert engine.schedules(0, 9).rows == (planned,)
    assert engine.subscriptions(0, 9).rows == (record,)


def test_a_note_takes_the_place_of_the_former_until_it_expires(make: MakeEngine) -> None:
    """What is remembered under a name is what was written there last, and is gone in time."""
    engine = make()
    assert engine.note("costs") is None
    writer = Writer(engine)
    for body in (b"1", b"2"):
        writer.write(KeepNote("costs", body, 100))
        assert engine.note("costs") == body
    tidy(engine, 99)
    assert engine.note("costs") == b"2"
    tidy(engine, 100)
    assert engine.note("costs") is None
