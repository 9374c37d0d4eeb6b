"""The bounded queue in front of one subscription, and where each of its messages is.

A message that was offered is accepted, waits for room, or is rejected. An accepted one is queued,
held back for its priority's turn, or on its way (`inflight`), until it is handled, failed, dropped
or discarded: the counters say so of every one. What a handler is running does not take room.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

from llmgine.actors.bus.messages import BUS
from llmgine.actors.bus.router.records import ClientState, ProducerLine, Record
from llmgine.actors.bus.subscriptions import SubscriptionRecord


class Offer(Enum):
    ACCEPTED = "accepted"
    WAITING = "waiting"
    REJECTED = "rejected"


@dataclass(slots=True)
class MailboxCounters:
    """What became of every message that was offered; only ever counts up."""

    accepted: int = 0
    handled: int = 0
    failed: int = 0
    dropped: int = 0
    discarded: int = 0
    rejected: int = 0
    redelivered: int = 0
    pressure_on: int = 0
    pressure_off: int = 0


class Mailbox:
    """One subscription's messages in the router."""

    __slots__ = (
        "client",
        "closing",
        "counters",
        "heir",
        "held",
        "held_count",
        "high",
        "inflight",
        "low",
        "next_entry",
        "pressed",
        "queue",
        "retiring",
        "returned",
        "running",
        "subscription",
        "suspect",
        "urgent",
        "waiting",
        "window",
    )

    def __init__(self, subscription: SubscriptionRecord, *, prefetch: int, high: float, low: float) -> None:
        self.counters = MailboxCounters()
        self.queue: deque[Record] = deque()
        self.held: dict[ProducerLine, deque[Record]] = {}
        self.held_count = 0
        # Re-entries of handlers that wait for them: no window and no lane may hold them up.
        self.urgent: deque[Record] = deque()
        # What was on its way when a link broke: its handler may have seen it.
        self.suspect: set[Record] = set()
        # With the time at which waiting ends.
        self.waiting: deque[tuple[Record, float]] = deque()
        self.inflight: dict[int, Record] = {}
        self.next_entry = 1
        self.client: ClientState | None = None
        # Who serves next: a subscription is handed over only when its former owner has nothing in hand.
        self.heir: ClientState | None = None
        self.pressed = False
        self.closing = False
        # Its owner has changed, and the former one has messages in hand.
        self.retiring = False
        self.returned = 0
        self.configure(subscription, prefetch=prefetch, high=high, low=low)

    def configure(self, subscription: SubscriptionRecord, *, prefetch: int, high: float, low: float) -> None:
        """Take the subscription's settings, now or at a takeover."""
        self.subscription = subscription
        # The events of one session run one after another.
        lane = subscription.kind == "event" and subscription.session != BUS
        self.running = 1 if lane else subscription.concurrency
        # What is on its way cannot be dropped any more, so the other policies keep that short.
        self.window = max(prefetch, self.running) if subscription.overflow == "block" else self.running
        self.high = max(1, int(subscription.capacity * high))
        self.low = int(subscription.capacity * low)

    @property
    def size(self) -> int:
        """Accepted and not done."""
        return len(self.urgent) + len(self.queue) + self.held_count + len(self.inflight)

    @property
    def occupancy(self) -> int:
        """What takes room: all but as much as a live handler runs at a time."""
        return max(0, self.size - (self.running if self.client is not None else 0))

    def room(self) -> int:
        """How many more are accepted without waiting or dropping."""
        if self.waiting:
            return 0
        running = self.running if self.client is not None else 0
        return self.subscription.capacity + running - self.size

    def offer(self, record: Record, until: float) -> tuple[Offer, Record | None]:
        """Take one more message; the second value is an older one that had to make room."""
        if self.room() > 0:
            self.enter(record)
            return Offer.ACCEPTED, None
        policy = self.subscription.overflow
        if policy == "reject_new":
            self.counters.rejected += 1
            return Offer.REJECTED, None
        if policy == "drop_oldest":
            dropped = self._oldest()
            if dropped is None:
                self.counters.rejected += 1
                return Offer.REJECTED, None
            self.counters.dropped += 1
            self.enter(record)
            return Offer.ACCEPTED, dropped
        self.waiting.append((record, until))
        return Offer.WAITING, None

    def _oldest(self) -> Record | None:
        if self.queue:
            record = self.queue.popleft()
            self.suspect.discard(record)
            return record
        for line, held in self.held.items():
            record = held.popleft()
            self.held_count -= 1
            if not held:
                del self.held[line]
            return record
        return None

    def enter(self, record: Record) -> None:
        """Accept; behind what its producer has held back here, or until its priority's turn."""
        self.counters.accepted += 1
        line = record.head.line
        chain = record.head.chain
        if chain and self._reenters(record):
            self.urgent.append(record)
            return
        # What a suspended handler waits for must not stand behind what may wait for that handler.
        free = chain and record.head.wants_result
        if record.is_open_for(self) and (free or line not in self.held):
            self.queue.append(record)
        else:
            self.held.setdefault(line, deque()).append(record)
            self.held_count += 1

    def enter_all(self, records: list[Record]) -> None:
        """`enter` for messages of one priority only and one producer, where there is room for all."""
        if self.held and records[0].head.line in self.held:
            for record in records:
                self.enter(record)
            return
        self.counters.accepted += len(records)
        self.queue.extend(records)

    def release(self, line: ProducerLine) -> bool:
        """Queue what has been held back for this producer and may go now; whether any did."""
        held = self.held.get(line)
        if held is None:
            return False
        moved = False
        while held and held[0].is_open_for(self):
            self.queue.append(held.popleft())
            self.held_count -= 1
            moved = True
        if not held:
            del self.held[line]
        return moved

    def requeue(self) -> int:
        """What was on its way goes to the front again, in order; how many."""
        back = list(self.inflight.values())
        self.inflight.clear()
        self.suspect.update(back)
        self.queue.extendleft(reversed([record for record in back if not self._reenters(record)]))
        self.urgent.extendleft(reversed([record for record in back if self._reenters(record)]))
        self.counters.redelivered += len(back)
        return len(back)

    def give_back(self, record: Record) -> None:
        """The former owner had not called its handler yet: it comes before what has not been handed out."""
        self.queue.insert(self.returned, record)
        self.returned += 1
        record.sent = 0

    def _reenters(self, record: Record) -> bool:
        chain = record.head.chain
        return bool(chain) and (self.subscription.number, record.head.line.session) in chain

    def expired(self, now: float) -> list[Record]:
        """Take out what has waited for room for too long."""
        late = [record for record, until in self.waiting if until <= now]
        if late:
            self.waiting = deque(pair for pair in self.waiting if pair[1] > now)
        return late

    def withdraw(self, record: Record) -> bool:
        """Take out one that waits for room; whether it did."""
        for position, (waiting, _) in enumerate(self.waiting):
            if waiting is record:
                del self.waiting[position]
                return True
        return False

    def unqueue(self, record: Record) -> bool:
        """Take out one that is queued; whether it was."""
        for queue in (self.queue, self.urgent):
            for position, queued in enumerate(queue):
                if queued is record:
                    del queue[position]
                    self.suspect.discard(record)
                    return True
        return False

    def drain(self) -> tuple[list[Record], list[Record]]:
        """Empty it: what was accepted and not on its way, and what was waiting for room."""
        accepted = [*self.urgent, *self.queue, *(record for held in self.held.values() for record in held)]
        waiting = [record for record, _ in self.waiting]
        self.urgent.clear()
        self.queue.clear()
        self.suspect.clear()
        self.held.clear()
        self.held_count = 0
        self.waiting.clear()
        return accepted, waiting

    def press(self) -> bool | None:
        """True when pressure has just turned on, False when off, None when nothing changed."""
        occupancy = self.occupancy
        if not self.pressed and occupancy >= self.high:
            self.pressed = True
            self.counters.pressure_on += 1
            return True
        if self.pressed and occupancy <= self.low:
            self.pressed = False
            self.counters.pressure_off += 1
            return False
        return None

    def validate(self) -> None:
        """Every accepted message is somewhere, exactly once."""
        counters = self.counters
        done = counters.handled + counters.failed + counters.dropped + counters.discarded
        name = self.subscription.name
        assert counters.accepted == done + self.size, (name, counters, self.size)
        assert self.held_count == sum(map(len, self.held.values())), name
        assert all(self.held.values()), name
        held = {id(record) for queue in self.held.values() for record in queue}
        everything = [id(record) for record in (*self.urgent, *self.queue, *self.inflight.values())]
        assert len(set(everything)) == len(everything), (name, "a message is here twice")
        assert not held.intersection(everything), name
        assert self.suspect <= {*self.urgent, *self.queue}, name
        assert len(self.inflight) <= self.window or any(
            record.head.chain for record in self.inflight.values()
        ), name
