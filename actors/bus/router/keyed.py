"""The latest message per key: what a newer one of the same key replaces while it is queued. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator

from llmgine.actors.bus.router.records import Record

Key = tuple[str, str, str]


class KeyedQueue:
    """A queue of records that also gives up one from its middle at once."""

    __slots__ = ("_latest", "_records", "_worth_it")

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._records: OrderedDict[Record, None] = OrderedDict.fromkeys(records)
        # The last one of each key; it may have left the queue.
        self._latest: dict[Key, Record] = {}
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
        self._latest.clear()

    def supersede(self, key: Key, record: Record) -> Record | None:
        """`record` is the latest of its key; the one before it, wherever it is now."""
        older = self._latest.get(key)
        self._latest[key] = record
        return older

    def forget(self, but: Callable[[], Collection[Record]]) -> None:
        """Let go of keys whose latest is none of these, once that is worth looking for them."""
        if len(self._latest) > self._worth_it:
            kept = but()
            self._latest = {key: one for key, one in self._latest.items() if one in kept}
            self._worth_it = 2 * len(self._latest) + 64
