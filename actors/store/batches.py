"""Group commit: batches gather while a commit runs, and make up the next one in their order. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from llmgine.actors.store.coding import size_of
from llmgine.actors.store.errors import StoreError
from llmgine.actors.store.operations import Operation

V = TypeVar("V")


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Operations that are committed whole or not at all.

    `writer` numbers its batches by `ticket`, rising: one whose ticket is not above the last committed of
    that writer was committed before. `source` is whoever waits for the outcome.
    """

    writer: str
    ticket: int
    operations: Sequence[Operation]
    size: int
    source: Any = None

    @classmethod
    def of(cls, writer: str, ticket: int, operations: Sequence[Operation], source: Any = None) -> Batch:
        return cls(writer, ticket, operations, sum(map(size_of, operations)), source)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A batch that can never be committed."""

    batch: Batch
    error: StoreError


class Batcher:
    """What waits for its commit, bounded: while `is_full`, nothing more should be read.

    One group is under way at a time, from `next_group` to `committed` or `failed`.
    """

    def __init__(self, max_operations: int, max_bytes: int) -> None:
        self.arrived = 0  # batches ever added, and the place of the latest
        self._max_operations = max_operations
        self._max_bytes = max_bytes
        self._waiting: deque[tuple[int, Batch]] = deque()
        self._group: list[tuple[int, Batch]] = []
        self._operations = 0
        self._bytes = 0

    @property
    def is_full(self) -> bool:
        """As much is waiting as two groups can hold."""
        return self._operations >= 2 * self._max_operations or self._bytes >= 2 * self._max_bytes

    @property
    def is_empty(self) -> bool:
        return not self._waiting and not self._group

    def is_past(self, place: int) -> bool:
        """Whether nothing waits that arrived at this place or before."""
        oldest = self._group or self._waiting
        return not oldest or oldest[0][0] > place

    def add(self, batch: Batch) -> None:
        self.arrived += 1
        self._waiting.append((self.arrived, batch))
        self._operations += len(batch.operations)
        self._bytes += batch.size

    def next_group(self) -> list[Batch]:
        """The batches of the next commit, at least one where any waits; none while a group is under way."""
        if self._group:
            return []
        operations = size = 0
        while self._waiting:
            batch = self._waiting[0][1]
            operations += len(batch.operations)
            size += batch.size
            if self._group and (operations > self._max_operations or size > self._max_bytes):
                break
            self._group.append(self._waiting.popleft())
        return [batch for _, batch in self._group]

    def committed(self) -> list[Batch]:
        """The group's outcome is known; these were in it."""
        group, self._group = self._group, []
        return self._forget(group)

    def failed(self) -> None:
        """The group could not be committed now: its batches wait again, before all others."""
        self._waiting.extendleft(reversed(self._group))
        self._group = []

    def discard(self, unwanted: Callable[[Batch], bool]) -> None:
        """Forget such batches that wait; those of the group under way stay in it."""
        gone = [entry for entry in self._waiting if unwanted(entry[1])]
        if gone:
            self._waiting = deque(entry for entry in self._waiting if not unwanted(entry[1]))
            self._forget(gone)

    def give_up(self) -> list[Batch]:
        """Everything that waits, and the group under way, will never be committed."""
        self.failed()
        gone = list(self._waiting)
        self._waiting.clear()
        return self._forget(gone)

    def _forget(self, entries: Sequence[tuple[int, Batch]]) -> list[Batch]:
        batches = [batch for _, batch in entries]
        self._operations -= sum(len(batch.operations) for batch in batches)
        self._bytes -= sum(batch.size for batch in batches)
        return batches


class Latest(Generic[V]):
    """The latest value of each name; the names that were longest not heard of are forgotten."""

    def __init__(self, most: int = 4_096) -> None:
        self._most = most
        self._values: OrderedDict[str, V] = OrderedDict()

    def get(self, name: str) -> V | None:
        return self._values.get(name)

    def put(self, name: str, value: V) -> None:
        self._values[name] = value
        self._values.move_to_end(name)
        if len(self._values) > self._most:
            self._values.popitem(last=False)

    def clear(self) -> None:
        self._values.clear()
