"""The bounded queue in front of one subscription, and where each of its messages is.

A message that was offered is accepted, waits for room, or is rejected. An accepted one is queued,
held back for its priority's turn, or on its way (`inflight`), until it is handled, failed, dropped
or discarded: the counters say so of every one. What a handler is running does not take room.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from llmgine.actors.bus.filtering import Compiled, compile_filter
from llmgine.actors.bus.messages import BUS
from llmgine.actors.bus.router.records import ClientState, ProducerLine, Record
from llmgine.actors.bus.router.serving import Serving
from llmgine.actors.bus.router.trouble import Trouble
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
    expired: int = 0
    cancelled: int = 0
    dropped: int = 0
    discarded: int = 0
    rejected: int = 0
    redelivered: int = 0
    pressure_on: int = 0
    pressure_off: int = 0


class Mailbox:
    """One subscription's messages in the router."""

    __slots__ = (
        "closing",
        "counters",
        "durable",
        "each",
        "filter",
        "heir",
        "held",
        "held_count",
        "high",
        "keeps",
        "low",
        "members",
        "missed",
        "next_entry",
        "outstanding",
        "plain",
        "pressed",
        "queue",
        "running",
        "sole",
        "strict",
        "subscription",
        "suspect",
        "trouble",
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
        # Accepted and in none of the queues here: handed out, given to a member, or waiting to be tried again.
        self.outstanding = 0
        # Who serves: of an ordinary subscription one client at most, which is also the `sole` one.
        self.members: dict[ClientState, Serving] = {}
        self.sole: Serving | None = None
        self.running = 0
        self.next_entry = 1
        # Who serves next: a subscription is handed over only when its former owner has nothing in hand.
        self.heir: ClientState | None = None
        # None until something has failed.
        self.trouble: Trouble | None = None
        self.pressed = False
        self.closing = False
        self.missed = 0
        self.filter: Compiled | None = None
        self.configure(subscription, prefetch=prefetch, high=high, low=low)

    def configure(self, subscription: SubscriptionRecord, *, prefetch: int, high: float, low: float) -> None:
        """Take the subscription's settings, now or at a takeover."""
        wanted = subscription.filter
        former = getattr(self, "subscription", None)
        if former is None or former.filter != wanted:
            self.filter = compile_filter(wanted) if wanted is not None else None
        self.subscription = subscription
        self.durable = subscription.durable
        event = subscription.kind == "event"
        self.strict = event and subscription.order == "strict"
        # Whose messages need no look of their own when they are done.
        self.plain = event and not (subscription.members or subscription.durable)
        # The events of one session run one after another.
        self.each = 1 if event and subscription.session != BUS else subscription.concurrency
        # What is on its way cannot be dropped any more, so policies that drop keep that short.
        self.keeps = subscription.overflow in ("block", "adaptive")
        self.window = max(prefetch, self.each) if self.keeps else self.each
        self.count_places()
        self.high = max(1, int(subscription.capacity * high))
        self.low = int(subscription.capacity * low)

    def count_places(self) -> None:
        """How many messages live handlers run at a time."""
        self.running = self.each * sum(one.client.connected for one in self.members.values())

    @property
    def size(self) -> int:
        """Accepted and not done."""
        return len(self.urgent) + len(self.queue) + self.held_count + self.outstanding

    @property
    def occupancy(self) -> int:
        """What takes room: all but as much as live handlers run at a time."""
        return max(0, self.size - self.running)

    def room(self) -> int:
        """How many more are accepted without waiting or dropping."""
        if self.waiting:
            return 0
        return self.subscription.capacity + self.running - self.size

    def lane(self, record: Record) -> str | None:
        """In whose order the message stands: its session, or None where it runs beside others."""
        head = record.head
        session = head.line.session
        if head.command or (session == BUS and not self.strict):
            return None
        return None if head.chain and self.reenters(record) else session

    def others(self) -> Iterator[Record]:
        """What `outstanding` counts."""
        for serving in self.members.values():
            yield from serving.inflight.values()
            yield from serving.aside.values()
            if serving.lanes is not None:
                yield from serving.urgent
                yield from serving.queue
        if self.trouble is not None:
            yield from self.trouble.held()

    def entry_of(self, record: Record) -> tuple[Serving, int] | None:
        """Who has it in hand, and under which entry."""
        for serving in self.members.values():
            for entry, one in serving.inflight.items():
                if one is record:
                    return serving, entry
        return None

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
        if chain and self.reenters(record):
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

    def release(self, line: ProducerLine) -> list[Record]:
        """Queue what has been held back for this producer and may go now; these messages."""
        held = self.held.get(line)
        moved: list[Record] = []
        while held and held[0].is_open_for(self):
            moved.append(held.popleft())
        if held is not None and not held:
            del self.held[line]
        self.held_count -= len(moved)
        self.queue.extend(moved)
        return moved

    def put_back(self, records: list[Record]) -> None:
        """These come before everything that is queued, in this order; a held lane's before what it holds."""
        holds = self.trouble.holds if self.trouble is not None else None
        for record in reversed(records):
            if record.head.chain and self.reenters(record):
                self.urgent.appendleft(record)
                continue
            lane = self.lane(record) if holds else None
            if holds and lane is not None and lane in holds:
                holds[lane].records.appendleft(record)
                self.outstanding += 1
            else:
                self.queue.appendleft(record)

    def reenters(self, record: Record) -> bool:
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
        done = counters.handled + counters.failed + counters.expired + counters.cancelled
        done += counters.dropped + counters.discarded
        name = self.subscription.name
        assert counters.accepted == done + self.size, (name, counters, self.size)
        assert self.held_count == sum(map(len, self.held.values())), name
        assert all(self.held.values()), name
        held = {id(record) for queue in self.held.values() for record in queue}
        everything = [id(record) for record in (*self.urgent, *self.queue, *self.others())]
        assert len(set(everything)) == len(everything), (name, "a message is here twice")
        assert not held.intersection(everything), name
        assert self.outstanding == sum(1 for _ in self.others()), (name, self.outstanding)
