"""Group commit against a plain queue."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from llmgine.actors.store.batches import Batch, Batcher, Latest
from llmgine.actors.store.operations import MarkHanded

OPERATIONS = 10


class Groups(RuleBasedStateMachine):
    """Batches in a list, of which a group is a beginning."""

    def __init__(self) -> None:
        super().__init__()
        self.batcher = Batcher(OPERATIONS, 1 << 20)
        self.waiting: list[Batch] = []
        self.group: list[Batch] = []
        self.arrived: list[Batch] = []

    @precondition(lambda self: not self.batcher.is_full)
    @rule(writer=st.sampled_from("ab"), operations=st.integers(0, 15))
    def add(self, writer: str, operations: int) -> None:
        batch = Batch.of(writer, len(self.arrived) + 1, [MarkHanded("m")] * operations)
        self.batcher.add(batch)
        self.arrived.append(batch)
        self.waiting.append(batch)

    @rule()
    def take_group(self) -> None:
        taken = self.batcher.next_group()
        if self.group:
            assert not taken  # one at a time
            return
        assert taken == self.waiting[: len(taken)]
        assert bool(taken) == bool(self.waiting)
        assert len(taken) <= 1 or sum(len(batch.operations) for batch in taken) <= OPERATIONS
        self.group, self.waiting = taken, self.waiting[len(taken) :]

    @rule()
    def committed(self) -> None:
        assert self.batcher.committed() == self.group
        self.group = []

    @rule()
    def failed(self) -> None:
        self.batcher.failed()
        self.waiting, self.group = self.group + self.waiting, []

    @rule(writer=st.sampled_from("ab"))
    def discard(self, writer: str) -> None:
        self.batcher.discard(lambda batch: batch.writer == writer)
        self.waiting = [batch for batch in self.waiting if batch.writer != writer]

    @rule()
    def give_up(self) -> None:
        assert self.batcher.give_up() == self.group + self.waiting
        self.waiting, self.group = [], []

    @invariant()
    def knows_what_waits(self) -> None:
        left = self.group + self.waiting
        assert self.batcher.is_empty == (not left)
        for place, batch in enumerate(self.arrived, 1):
            older = [one for one in left if one.ticket <= batch.ticket]
            assert self.batcher.is_past(place) == (not older)

    @invariant()
    def is_bounded(self) -> None:
        """One batch may go beyond what two groups hold."""
        held = sum(len(batch.operations) for batch in self.group + self.waiting)
        assert self.batcher.is_full == (held >= 2 * OPERATIONS)
        assert held < 2 * OPERATIONS + 15


TestGroups: Any = Groups.TestCase
TestGroups.settings = settings(max_examples=150, stateful_step_count=40)


def test_a_group_is_bounded_in_bytes_but_takes_one_batch_of_any_size() -> None:
    """A batch is never cut."""
    batcher = Batcher(100, 1_000)
    sizes = [400, 400, 400, 5_000, 1]
    for ticket, size in enumerate(sizes, 1):
        batcher.add(Batch("a", ticket, [], size))
    groups = []
    while group := batcher.next_group():
        groups.append([batch.size for batch in group])
        batcher.committed()
    assert groups == [[400, 400], [400], [5_000], [1]]


def test_only_so_many_names_are_remembered() -> None:
    """Those that were not heard of for longest go first."""
    latest: Latest[int] = Latest(2)
    for name, number in (("a", 1), ("b", 1), ("a", 2), ("c", 1)):
        latest.put(name, number)
    assert [latest.get(name) for name in "abc"] == [2, None, 1]
