"""One DELIVER in the making: messages that several subscriptions of a client get travel once."""

from __future__ import annotations

from collections import deque
from typing import Any

from llmgine.actors.bus import wire
from llmgine.actors.bus.router.keyed import KeyedQueue
from llmgine.actors.bus.router.records import Head, Record


class Parcel:
    """Runs of messages, and which of them go to which subscription; bounded in messages and bytes."""

    __slots__ = (
        "_count",
        "_delivery",
        "_head",
        "_index",
        "_missed",
        "_next",
        "_number",
        "_run",
        "_size",
        "deliveries",
        "full",
        "runs",
    )

    def __init__(self, *, shared: bool) -> None:
        self.runs: list[list[Any]] = []
        self.deliveries: list[list[Any]] = []
        self._index: dict[Record, int] | None = {} if shared else None
        self._run: list[bytes] = []
        self._head: Head | None = None
        self._next = 0
        self._size = 0
        self._count = 0
        self._number = 0
        self._missed = 0
        self._delivery: list[Any] | None = None
        # Nothing more is to be put in but further deliveries of what it holds.
        self.full = False

    def holds(self, record: Record) -> bool:
        """Whether it travels already, so that one more delivery of it costs nothing."""
        return self._index is not None and record in self._index

    def begin(self, number: int, missed: int) -> None:
        """What is added from here goes to this subscription, which has lost `missed` messages before it."""
        self._number = number
        self._missed = missed
        self._delivery = None

    def add(self, record: Record, entry: int, redelivered: bool, reentrant: bool, attempt: int = 1) -> None:
        index = self._index
        position = index.get(record) if index is not None else None
        if position is None:
            position = self._place(record)
        delivery = self._delivery
        if (
            delivery is not None
            and delivery[2] + delivery[3] == position
            and delivery[4] == attempt
            and delivery[5] is redelivered
            and delivery[6] is reentrant
        ):
            delivery[3] += 1
            return
        self._delivery = [
            self._number,
            entry,
            position,
            1,
            attempt,
            redelivered,
            reentrant,
            self._missed,
        ]
        self._missed = 0
        self.deliveries.append(self._delivery)

    def follow(
        self, queue: deque[Record] | KeyedQueue, handed: dict[int, Record], entry: int, most: int
    ) -> int:
        """Move in what goes on with the run just begun, as `add` would one by one; returns how many."""
        delivery = self._delivery
        if self._index is not None or delivery is None:
            return 0
        head, sequence, size, append = self._head, self._next, self._size, self._run.append
        first, last = entry, entry + min(most, wire.BATCH_EVENTS - self._count)
        while entry < last and queue and size < wire.BATCH_BYTES:
            record = queue[0]
            if record.head is not head or record.sequence != sequence:
                break
            handed[entry] = queue.popleft()
            body = record.body
            append(body)
            size += len(body)
            sequence += 1
            entry += 1
        count = entry - first
        delivery[3] += count
        self._next = sequence
        self._grown(count, size)
        return count

    def _place(self, record: Record) -> int:
        position = self._count
        if self._index is not None:
            self._index[record] = position
        head, body = record.head, record.body
        if head is self._head and record.sequence == self._next:
            self._run.append(body)
        else:
            line = head.line
            self._run = [body]
            self.runs.append(
                [
                    line.client.name,
                    line.client.epoch,
                    line.session,
                    head.lineage,
                    record.sequence,
                    line.floor if line.stored is None else line.open_floor,
                    head.depth,
                    head.flags,
                    head.extra,
                    self._run,
                ]
            )
            self._head = head
        self._next = record.sequence + 1
        self._grown(1, self._size + len(body))
        return position

    def _grown(self, count: int, size: int) -> None:
        self._count += count
        self._size = size
        if self._count >= wire.BATCH_EVENTS or size >= wire.BATCH_BYTES:
            self.full = True
