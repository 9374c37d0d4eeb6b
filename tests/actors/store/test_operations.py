"""Operations on their way, and what they mean."""

from __future__ import annotations

import pickle

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.actors.store import errors
from llmgine.actors.store.coding import from_wire, to_wire
from llmgine.actors.store.errors import StoreError, error_of
from llmgine.actors.store.ledger import MAX_ASIDE, Ledger
from llmgine.actors.store.operations import (
    DropJournal,
    DropLetters,
    DropSchedule,
    DropSubscription,
    HandlerDone,
    KeepResponse,
    MarkHanded,
    Operation,
    PutJournal,
    PutLetter,
    PutSchedule,
    PutSubscription,
    SetAside,
)
from llmgine.actors.store.plan import Run, runs_of
from tests.actors.store import rows

ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, StoreError)]


@given(rows.operations)
def test_an_operation_comes_out_of_the_wire_as_it_went_in(operation: Operation) -> None:
    """Rows, tuples and absent values are the same on the other side."""
    assert from_wire(msgpack.unpackb(msgpack.packb(to_wire(operation)))) == operation


@pytest.mark.parametrize(
    "wire", [["paint", [1]], ["journal", [1, 2]], ["done", ["only one"]], 7, ["done", 7]]
)
def test_what_is_no_operation_is_a_plain_error(wire: object) -> None:
    """Whoever decodes has two errors to expect."""
    with pytest.raises((TypeError, ValueError)):
        from_wire(wire)  # type: ignore[arg-type]  # as it may come


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_survives_pickling_and_the_wire(kind: type[StoreError]) -> None:
    """Class and text are the same after pickling, and after a code and a text on a link."""
    error = kind("the disk is full")
    for copy in (pickle.loads(pickle.dumps(error)), error_of(kind.code, str(error))):
        assert type(copy) is kind
        assert str(copy) == "the disk is full"


@given(st.lists(rows.operations, max_size=30))
def test_gathered_operations_lead_to_the_same_state(operations: list[Operation]) -> None:
    """Runs, each in the order of its kinds, do what the operations do one after the other."""
    one_by_one, gathered = Ledger(), Ledger()
    one_by_one.apply(operations)
    for run in runs_of(operations):
        gathered.apply(in_order_of_kinds(run))
    for name in ("journal", "letters", "schedules", "subscriptions", "aside"):
        assert dict(getattr(one_by_one, name)) == dict(getattr(gathered, name))
    assert list(one_by_one.responses.rows.values()) == list(gathered.responses.rows.values())
    assert set(one_by_one.notes.values()) == set(gathered.notes.values())


def in_order_of_kinds(run: Run) -> list[Operation]:
    """A run as operations again."""
    return [
        *map(PutJournal, run.journal),
        *map(MarkHanded, run.handed),
        *(HandlerDone(message, key) for message, key in run.done),
        *map(DropJournal, run.journal_gone),
        *map(PutLetter, run.letters),
        DropLetters(tuple(run.letters_gone)),
        *map(PutSchedule, run.schedules),
        *map(DropSchedule, run.schedules_gone),
        *(PutSubscription(key, record) for key, record in run.subscriptions),
        *map(DropSubscription, run.subscriptions_gone),
        *map(KeepResponse, run.responses.values()),
        *run.notes.values(),
        *([run.last] if run.last else []),
    ]


@given(st.lists(rows.operations, max_size=30))
def test_operations_that_come_twice_change_nothing(operations: list[Operation]) -> None:
    """Each of them, done again at once, leaves the state as it is."""
    once, twice = Ledger(), Ledger()
    for operation in operations:
        once.apply([operation])
        twice.apply([operation, operation])
    assert list(once.journal.values()) == list(twice.journal.values())
    assert list(once.letters.values()) == list(twice.letters.values())
    assert dict(once.schedules) == dict(twice.schedules)


def test_a_message_is_kept_until_its_last_handler_is_done() -> None:
    """Handlers may be done in any order, and twice."""
    ledger = Ledger()
    kept = rows.message(pending=("a", "b"))
    ledger.apply(
        [PutJournal(kept), HandlerDone(kept.id, "b"), HandlerDone(kept.id, "b"), MarkHanded(kept.id)]
    )
    assert ledger.journal[kept.id].pending == ("a",)
    assert ledger.journal[kept.id].handed
    ledger.apply([PutJournal(kept)])
    assert ledger.journal[kept.id].pending == ("a",)
    ledger.apply([HandlerDone(kept.id, "a"), HandlerDone("unknown", "a")])
    assert not ledger.journal


def test_a_message_that_nobody_shall_get_is_dropped_with_all_its_handlers() -> None:
    """Also where none of them is done."""
    ledger = Ledger()
    kept = rows.message(pending=("a", "b"))
    ledger.apply([PutJournal(kept), DropJournal(kept.id), DropJournal(kept.id)])
    assert not ledger.journal


def test_the_newest_dead_letters_are_kept_and_a_known_one_keeps_its_place() -> None:
    """A letter that is put again with more attempts is as old as before."""
    ledger = Ledger(max_letters=2)
    for id in "abc":
        ledger.apply([PutLetter(rows.letter(id))])
    ledger.apply([PutLetter(rows.letter("b", attempts=9))])
    assert [(row.id, row.attempts) for row in ledger.letters.values()] == [("b", 9), ("c", 2)]
    ledger.apply([PutLetter(rows.letter("d"))])
    assert list(ledger.letters) == ["c", "d"]


def test_what_is_set_aside_is_bounded() -> None:
    """The latest of it can be looked at."""
    ledger = Ledger()
    for number in range(MAX_ASIDE + 5):
        row = rows.message(number)
        ledger.apply([PutJournal(row), SetAside("journal", row.id, "why")])
    assert len(ledger.aside) == MAX_ASIDE
    assert not ledger.journal
