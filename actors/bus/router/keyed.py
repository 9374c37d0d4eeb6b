"""The latest message per key: what a newer one of the same key replaces while it is queued. Pure."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator

from llmgine.actors.bus.router.records import Record

Key = tuple[str, str, str]


class KeyedQueue:
    """A queue of records that also gives up one from its middle at once."""

    __slots__ = ("_keyed", "_records", "_worth_it")

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._records: OrderedDict[Record, None] = OrderedDict.fromkeys(records)
        # What came of each key, as far as it may be queued yet.
        self._keyed: dict[Key, deque[Record]] = {}
        self._worth_it = 64

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self._records)

    def __getitem__(self, index: int) -> Record:
        """Only the first one can be looked at."""
        if index != 0 or not self._records:
            raise IndexError(index)
        return next(iter(self._records))

    def append(self, record: Record) -> None:
        self._records[record] = None

    def extend(self, records: Iterable[Record]) -> None:
        for record in records:
            self._records[record] = None

    def appendleft(self, record: Record) -> None:
        self._records[record] = None
        self._records.move_to_end(record, last=False)

    def insert(self, index: int, record: Record) -> None:
        """Only near the front."""
        ahead = [self.popleft() for _ in range(index)]
        for one in (record, *reversed(ahead)):
            self.appendleft(one)

    def popleft(self) -> Record:
        return self._records.popitem(last=False)[0]

    def remove(self, record: Record) -> None:
        """Raises ValueError where it is not there, as other queues do."""
        if record not in self._records:
            raise ValueError("it is not queued")
        del self._records[record]

    def clear(self) -> None:
        self._records.clear()
        self._keyed.clear()

    def came_in(self, key: Key, record: Record) -> None:
        """It is the latest of its key."""
        self._keyed.setdefault(key, deque()).append(record)

    def came_back(self, key: Key, record: Record) -> None:
        """It is queued again, before all others of its key."""
        keyed = self._keyed.setdefault(key, deque())
        if record not in keyed:
            keyed.appendleft(record)

    def take_latest(self, key: Key, remove: Callable[[Record], bool]) -> Record | None:
        """Take out the latest of this key that is still queued: `remove` does, and says whether it was."""
        keyed = self._keyed.get(key)
        while keyed:
            record = keyed.pop()
            if remove(record):
                return record
        return None

    def forget(self, but: Callable[[], Collection[Record]]) -> None:
        """Let go of keys of which none of these is, once that is worth looking for them."""
        if len(self._keyed) > self._worth_it:
            kept = but()
            self._keyed = {key: row for key, row in self._keyed.items() if any(one in kept for one in row)}
            self._worth_it = 2 * len(self._keyed) + 64
