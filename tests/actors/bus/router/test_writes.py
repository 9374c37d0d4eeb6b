"""The buffer in front of the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llmgine.actors.bus.router.writes import BATCH_BYTES, BATCH_OPERATIONS, WAITING_LETTERS, Writes
from llmgine.actors.store.operations import (
    DropJournal,
    DropSchedule,
    HandlerDone,
    Operation,
    PutJournal,
    PutLetter,
    PutSchedule,
)
from llmgine.actors.store.rows import JournalRow, LetterRow, ScheduleRow

PATIENCE = 5.0


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def writes(clock: Clock) -> Writes:
    return Writes(clock, PATIENCE)


def journal(sequence: int, size: int = 10) -> PutJournal:
    return PutJournal(JournalRow("p", 1, "s", sequence, "E", 0, 0, bytes(size), ("a", "b"), time=sequence))


def letter(number: int) -> PutLetter:
    row = LetterRow(
        str(number), f"m{number}", "E", "s", "h", "k", False, "handler", 1, (), number, number, None, b""
    )
    return PutLetter(row)


def move(id_: str, at: int) -> PutSchedule:
    return PutSchedule(ScheduleRow(id_, "s", "E", b"", at))


def taken(writes: Writes) -> tuple[int, Sequence[Operation]]:
    batch = writes.take()
    assert batch is not None
    return batch


def test_batches_keep_the_order_and_one_is_on_its_way_at_a_time(writes: Writes) -> None:
    """Operations go in the order in which they came, a batch once the one before it is committed."""
    done: list[int] = []
    for number in range(BATCH_OPERATIONS + 2):
        writes.add(HandlerDone(str(number), "k"), lambda number=number: done.append(number))  # type: ignore[misc]  # a default is bound
    ticket, first = taken(writes)
    assert len(first) == BATCH_OPERATIONS
    assert writes.take() is None
    assert done == []
    writes.written(ticket)
    assert done == list(range(BATCH_OPERATIONS))
    assert [one.message for one in taken(writes)[1] if isinstance(one, HandlerDone)] == ["1024", "1025"]
    writes.validate()


def test_a_batch_is_bounded_in_bytes(writes: Writes) -> None:
    """Large bodies make small batches, and one that is larger than a batch goes alone."""
    for number in range(3):
        writes.add(journal(number, BATCH_BYTES // 2))
    writes.add(journal(4, 3 * BATCH_BYTES))
    sizes = []
    while (batch := writes.take()) is not None:
        sizes.append(len(batch[1]))
        writes.written(batch[0])
    assert sizes == [2, 2]


def test_a_failed_batch_goes_again_before_anything_newer(writes: Writes) -> None:
    """Whoever writes need not know that the first way to the store was cut."""
    writes.add(journal(1))
    ticket, first = taken(writes)
    writes.add(journal(2))
    writes.write_failed(ticket, "the link broke")
    again, second = taken(writes)
    assert again != ticket
    assert second == [*first, journal(2)]
    writes.written(ticket)
    assert writes.take() is None, "an answer to the first way is not one to the second"
    assert len(writes) == 2


def test_what_waits_too_long_is_given_up_and_never_written(writes: Writes, clock: Clock) -> None:
    """A write that somebody waits for fails after the journal's patience, and says what mends it."""
    failed: list[str] = []
    writes.add(journal(1), None, failed.append)
    writes.add(HandlerDone("m", "k"))
    assert writes.next_time() == PATIENCE
    clock.now = PATIENCE
    writes.tick(clock.now)
    assert len(failed) == 1
    assert "journal_timeout" in failed[0]
    assert taken(writes)[1] == [HandlerDone("m", "k")]
    assert writes.next_time() is None


def test_what_is_given_up_on_its_way_is_undone(writes: Writes, clock: Clock) -> None:
    """A row that may have arrived though it was refused is taken out again, before anything newer."""
    failed: list[str] = []
    done: list[int] = []
    writes.add(journal(1), lambda: done.append(1), failed.append)
    ticket, _ = taken(writes)
    clock.now = PATIENCE
    writes.tick(clock.now)
    writes.add(journal(2))
    assert len(failed) == 1
    writes.written(ticket)
    assert done == []
    assert taken(writes)[1] == [DropJournal("p:1:s:1"), journal(2)]


def test_of_dead_letters_the_latest_wait_and_the_loss_is_counted(writes: Writes) -> None:
    """A store that is away makes no memory grow: older letters are lost, and that is known."""
    writes.add(HandlerDone("m", "k"))
    for number in range(3 * WAITING_LETTERS):
        writes.add(letter(number))
    writes.validate()
    assert writes.lost_letters == 2 * WAITING_LETTERS
    assert len(writes) == WAITING_LETTERS + 1
    ticket, batch = taken(writes)
    assert batch[:2] == [HandlerDone("m", "k"), letter(2 * WAITING_LETTERS)]
    writes.write_failed(ticket, "away")
    writes.validate()


def test_a_schedule_that_moves_while_the_store_is_away_is_one_write(writes: Writes) -> None:
    """Only the last place of a schedule is written, and never one from before it was dropped."""
    for at in range(5):
        writes.add(move("s", at))
    writes.add(DropSchedule("s"))
    writes.add(move("s", 9))
    writes.add(move("s", 10))
    assert taken(writes)[1] == [move("s", 4), DropSchedule("s"), move("s", 10)]
    writes.add(move("s", 11))
    assert len(writes) == 4, "what is on its way is not changed any more"
    writes.validate()


def test_what_the_store_refuses_is_found_and_the_others_are_written(writes: Writes) -> None:
    """One operation that can never be written takes nothing else with it."""
    failed: list[str] = []
    done: list[int] = []
    for number in (1, 2, 3):
        writes.add(journal(number), lambda number=number: done.append(number), failed.append)  # type: ignore[misc]  # a default is bound
    writes.write_refused(taken(writes)[0], "too large")
    while (batch := writes.take()) is not None:
        ticket, operations = batch
        if journal(2) in operations:
            writes.write_refused(ticket, "too large")
        else:
            writes.written(ticket)
    assert done == [1, 3]
    assert failed == ["the store refused it: too large"]
    writes.validate()


def test_without_a_store_whoever_needs_one_is_told_at_once(writes: Writes) -> None:
    """What needs no store is not held up, and what does fails with the reason."""
    failed: list[str] = []
    writes.add(journal(1), None, failed.append)
    writes.refuse("there is no store")
    writes.add(journal(2), None, failed.append)
    writes.add(HandlerDone("m", "k"))
    writes.add(letter(1))
    assert failed == ["there is no store"] * 2
    assert writes.take() is None
    assert writes.lost_letters == 1


class WritesAgainstALog(RuleBasedStateMachine):
    """Whatever the store does, what it was told is in order, and each write ends in exactly one way."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.writes = Writes(self.clock, PATIENCE)
        self.log: list[int] = []
        self.kept: set[int] = set()
        self.done: list[int] = []
        self.failed: list[int] = []
        self.added = 0
        self.waits: list[int] = []
        self.way: tuple[int, list[Operation]] | None = None

    @rule(waits=st.booleans())
    def add(self, waits: bool) -> None:
        self.added += 1
        number = self.added
        operation = journal(number)
        if waits:
            self.waits.append(number)
            self.writes.add(operation, lambda: self.done.append(number), lambda _: self.failed.append(number))
        else:
            self.writes.add(operation, lambda: self.done.append(number))

    @precondition(lambda self: self.way is None)
    @rule()
    def take(self) -> None:
        batch = self.writes.take()
        self.way = None if batch is None else (batch[0], list(batch[1]))

    @precondition(lambda self: self.way is not None)
    @rule(arrives=st.booleans(), answered=st.booleans())
    def end(self, arrives: bool, answered: bool) -> None:
        assert self.way is not None
        ticket, operations = self.way
        self.way = None
        if arrives or answered:
            for operation in operations:
                self.apply(operation)
        if answered:
            self.writes.written(ticket)
        else:
            self.writes.write_failed(ticket, "away")

    def apply(self, operation: Any) -> None:
        if isinstance(operation, PutJournal):
            number = operation.row.sequence
            self.kept.add(number)
            if number not in self.log:
                assert not self.log or self.log[-1] < number
                self.log.append(number)
        else:
            self.kept.discard(int(operation.message.rpartition(":")[2]))

    @rule(seconds=st.sampled_from([1.0, PATIENCE]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds
        self.writes.tick(self.clock.now)

    @invariant()
    def each_write_ends_once(self) -> None:
        self.writes.validate()
        ends = self.done + self.failed
        assert len(set(ends)) == len(ends)
        assert set(self.failed) <= set(self.waits)

    def teardown(self) -> None:
        if self.way is not None:
            self.end(arrives=True, answered=True)
        while (batch := self.writes.take()) is not None:
            for operation in batch[1]:
                self.apply(operation)
            self.writes.written(batch[0])
        assert sorted(self.done + self.failed) == list(range(1, self.added + 1))
        assert sorted(self.kept) == sorted(self.done), "in the store is what its writer believes to be there"
        assert len(self.writes) == 0


WritesAgainstALog.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestWritesAgainstALog = WritesAgainstALog.TestCase
