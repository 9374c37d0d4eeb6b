"""The bounded queue in front of one subscription, and where each of its messages is.

A message that was offered is accepted, waits for room, or is rejected. An accepted one is queued,
held back for its priority's turn, or on its way, until it is handled, a dead letter, dropped,
replaced by a newer one or discarded: the counters say so of every one. What a handler is running does
not take room. Where more than one session waits, sessions take turns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from math import inf

from llmgine.actors.bus.filtering import Compiled, compile_filter
from llmgine.actors.bus.messages import BUS
from llmgine.actors.bus.options import BusOptions
from llmgine.actors.bus.router.backlog import Backlog
from llmgine.actors.bus.router.bodies import metadata_of
from llmgine.actors.bus.router.counters import MailboxCounters, Offer
from llmgine.actors.bus.router.held import Held
from llmgine.actors.bus.router.keyed import Key
from llmgine.actors.bus.router.records import ClientState, ProducerLine, Record
from llmgine.actors.bus.router.serving import Serving
from llmgine.actors.bus.router.trouble import Trouble
from llmgine.actors.bus.router.waiting import Waiting
from llmgine.actors.bus.subscriptions import SubscriptionRecord


class Mailbox:
    """One subscription's messages in the router."""

    __slots__ = (
        "_nested",
        "_options",
        "_outer",
        "_weight",
        "backlog",
        "closing",
        "counters",
        "durable",
        "each",
        "filter",
        "heir",
        "held",
        "high",
        "keeps",
        "low",
        "marking",
        "members",
        "missed",
        "next_entry",
        "outstanding",
        "plain",
        "pressed",
        "probing",
        "queue",
        "running",
        "sole",
        "strict",
        "subscription",
        "suspect",
        "takes_events",
        "trouble",
        "urgent",
        "waiting",
        "window",
    )

    def __init__(self, subscription: SubscriptionRecord, options: BusOptions) -> None:
        self._options = options
        self.counters = MailboxCounters()
        self.backlog = Backlog(keyed=subscription.overflow == "coalesce")
        # Its front: what goes next.
        self.queue = self.backlog.front
        self.held = Held(lambda record: record.is_open_for(self), options.max_unsettled)
        # Re-entries of handlers that wait for them: no window and no lane may hold them up.
        self.urgent: deque[Record] = deque()
        # What was on its way when a link broke: its handler may have seen it.
        self.suspect: set[Record] = set()
        # Commands of which the journal is told first that they go out.
        self.marking: dict[Record, None] = {}
        self.waiting = Waiting()
        # At least the bytes of all that is here.
        self._weight = 0
        # Handlers publish to it, so that a part of it is kept for them.
        self._nested = False
        # Accepted and in none of the queues here: handed out, given to a member, or to be tried again.
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
        # Commands sent again of which members are asked one by one whether they know them; who was asked.
        self.probing: dict[Record, set[ClientState]] = {}
        self.pressed = False
        self.closing = False
        self.missed = 0
        self.filter: Compiled | None = None
        self.configure(subscription)

    def configure(self, subscription: SubscriptionRecord) -> None:
        """Take the subscription's settings, now or at a takeover."""
        wanted = subscription.filter
        former = getattr(self, "subscription", None)
        if former is None or former.filter != wanted:
            self.filter = compile_filter(wanted) if wanted is not None else None
        self.subscription = subscription
        self.durable = subscription.durable
        self._set_queue(keyed=subscription.overflow == "coalesce")
        event = self.takes_events = subscription.kind == "event"
        self.strict = event and subscription.order == "strict"
        # Whose messages need no look of their own when they are done.
        self.plain = event and not (subscription.members or subscription.durable)
        # The events of one session run one after another.
        self.each = 1 if event and subscription.session != BUS else subscription.concurrency
        # What is on its way cannot be dropped any more, so policies that drop keep that short.
        self.keeps = subscription.overflow in ("block", "adaptive")
        self.window = max(self._options.prefetch, self.each) if self.keeps else self.each
        self.count_places()
        self._set_limits()

    def _set_queue(self, *, keyed: bool) -> None:
        if keyed == self.backlog.keyed:
            return
        everything = self.backlog.clear()
        self.backlog = Backlog(keyed=keyed)
        self.queue = self.backlog.front
        self.queue.extend(everything)
        for serving in self.members.values():
            if serving.lanes is None:
                serving.queue = self.queue

    def _set_limits(self) -> None:
        capacity, options = self.subscription.capacity, self._options
        kept = int(capacity * options.reserve) if self.keeps and self._nested else 0
        self._outer = capacity - kept
        # Pressure is on before anybody has to wait.
        self.high = max(1, min(int(capacity * options.high_mark), self._outer))
        self.low = min(int(capacity * options.low_mark), self.high - 1)

    def count_places(self) -> None:
        """How many messages live handlers run at a time."""
        self.running = self.each * sum(one.client.connected for one in self.members.values())

    @property
    def size(self) -> int:
        """Accepted and not done."""
        queued = len(self.urgent) + len(self.backlog) + len(self.marking)
        return queued + self.held.count + self.outstanding

    @property
    def occupancy(self) -> int:
        """What takes room: all but as much as live handlers run at a time."""
        return max(0, self.size - self.running)

    def rest(self) -> Iterator[Record]:
        """What is queued behind `queue`, or on its way into it."""
        yield from self.backlog.behind()
        yield from self.marking

    def everything(self) -> Iterator[Record]:
        """What was accepted and is not done."""
        yield from self.urgent
        yield from self.queue
        yield from self.rest()
        yield from self.held
        yield from self.others()

    # Room

    def has_room(self, count: int, size: int, *, nested: bool) -> bool:
        """Whether so many messages of so many bytes enter without waiting, dropping or slowing anybody."""
        if self.waiting or not self._fits(count, size, nested=nested):
            return False
        policy = self.subscription.overflow
        if policy == "coalesce":
            return False
        return policy != "adaptive" or nested or self.occupancy + count <= self.low

    def _fits(self, count: int, size: int, *, nested: bool) -> bool:
        if nested and not self._nested:
            self._nested = True
            self._set_limits()
        capacity = self.subscription.capacity if nested else self._outer
        here = self.size
        if capacity + self.running - here < count:
            return False
        return self._weight + size <= self._options.mailbox_bytes or here == 0 or self._is_light(size)

    def _is_light(self, size: int) -> bool:
        # The weight is not taken off as messages go, which would cost at each: so it may be too high.
        self._weight = sum(len(record.body) for record in self.everything())
        return self._weight + size <= self._options.mailbox_bytes

    def delay(self) -> float:
        """How long an adaptive mailbox holds back the answer to who has just published to it."""
        if self.subscription.overflow != "adaptive":
            return 0.0
        share = (self.occupancy - self.low) / max(1, self.high - self.low)
        return min(1.0, max(0.0, share)) * self._options.adaptive_delay

    def lane(self, record: Record) -> str | None:
        """In whose order the message stands: its session, or None where it runs beside others."""
        head = record.head
        session = head.line.session
        if head.command or (session == BUS and not self.strict):
            return None
        return None if head.chain and self.reenters(record) else session

    def queued(self) -> Iterator[Record]:
        """What may go as soon as there is somebody to take it; a member's part included."""
        yield from self.urgent
        yield from self.backlog
        for serving in self.members.values():
            if serving.lanes is not None:
                yield from serving.urgent
                yield from serving.queue

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

    def offer(self, record: Record, until: float) -> tuple[Offer, Sequence[Record]]:
        """Take one more message; then those that it has taken the place of, already counted.

        Nobody waits for room behind an open breaker: nothing will leave for a while.
        """
        nested = record.head.depth > 0
        lost: list[Record] = []
        policy = self.subscription.overflow
        shut = self.trouble is not None and self.trouble.parked is not None
        if shut and self.waiting:
            self._reject()
            return Offer.REJECTED, lost
        if policy == "coalesce":
            self._replace_older(record, lost)
        room = not (self.waiting and (not nested or self.waiting.blocks(record)))
        size = len(record.body)
        if policy == "drop_oldest":
            while not self._fits(1, size, nested=True) and (oldest := self._oldest()) is not None:
                self._weight -= len(oldest.body)
                self.counters.dropped += 1
                self.missed += 1
                lost.append(oldest)
        if room and self._fits(1, size, nested=nested):
            self.enter(record)
            return Offer.ACCEPTED, lost
        if shut or policy in ("reject_new", "drop_oldest"):
            self._reject()
            return Offer.REJECTED, lost
        self.waiting.add(record, until, nested=nested)
        return Offer.WAITING, lost

    def _reject(self) -> None:
        self.counters.rejected += 1
        self.missed += 1

    def _replace_older(self, record: Record, lost: list[Record]) -> None:
        """Of what is queued only the latest of each key stays; it stands where it came."""
        older = self.backlog.take_latest(self._key(record)) if self.backlog.keyed else None
        if older is not None:
            self.suspect.discard(older)
            self.counters.coalesced += 1
            self.missed += 1
            lost.append(older)

    def _key(self, record: Record) -> Key:
        head, by = record.head, self.subscription.coalesce_by
        value = repr(metadata_of(record.body).get(by)) if by is not None else ""
        return head.line.session, head.lineage, value

    def _oldest(self) -> Record | None:
        """Take out what has to make room."""
        record = self.backlog.oldest()
        if record is not None:
            self.suspect.discard(record)
            return record
        taken = self.held.oldest()
        if taken is None:
            return None
        record, released = taken
        self._queue(released, record.head.line.session)
        return record

    def let_in(self) -> tuple[list[Record], list[Record]]:
        """What has waited and finds room now, and what it takes the place of."""
        entered: list[Record] = []
        lost: list[Record] = []
        while self.waiting:
            record = self.waiting.next(reserve=not self._fits(1, 0, nested=False))
            if record is None or not self._fits(1, len(record.body), nested=record.head.depth > 0):
                break
            self.waiting.take()
            if self.subscription.overflow == "coalesce":
                self._replace_older(record, lost)
            self.enter(record)
            entered.append(record)
        return entered, lost

    def wait(self, record: Record) -> bool:
        """Enter whatever the policy, as soon as there is room; whether it had to wait."""
        if not self.waiting and self._fits(1, len(record.body), nested=True):
            self.enter(record)
            return False
        self.waiting.add(record, inf, nested=True)
        return True

    # In

    def enter(self, record: Record) -> None:
        """Accept; behind what its producer has held back here, or until its priority's turn."""
        self.counters.accepted += 1
        self._weight += len(record.body)
        if self.backlog.keyed:
            self.backlog.came_in(self._key(record), record)
        line = record.head.line
        chain = record.head.chain
        if self.durable and record.kept is not None and self in record.kept.pending:
            self.held.begun(record)
        if chain and self.reenters(record):
            self.urgent.append(record)
            return
        if self.held.may_go(record) and (_is_awaited(record) or line not in self.held):
            self._queue([record], line.session)
        else:
            self.held.add(record)

    def enter_all(self, records: list[Record], size: int) -> None:
        """`enter` for messages of one priority only and one producer, where there is room for all."""
        line = records[0].head.line
        if self.held and line in self.held:
            for record in records:
                self.enter(record)
            return
        self.counters.accepted += len(records)
        self._weight += size
        self.backlog.add(records, line.session, self.window - self.outstanding)

    def _queue(self, records: list[Record], session: str) -> None:
        if records:
            self.backlog.add(records, session, self.window - self.outstanding)

    def refill(self) -> bool:
        """More into `queue`, which is empty; whether there was any."""
        return self.backlog.refill(self.window - self.outstanding)

    def finished(self, record: Record) -> list[Record]:
        """A durable message is done here; those that may be queued after that, and now are."""
        return self.release(record.head.line) if self.held.done(record) else []

    def release(self, line: ProducerLine) -> list[Record]:
        """Queue what has been held back for this producer and may go now; these messages."""
        released = self.held.release(line)
        self._queue(released, line.session)
        return released

    def come_up(self, record: Record) -> list[Record]:
        """Its priority's turn has come: queue what may go now; these messages."""
        released = self.release(record.head.line)
        if _is_awaited(record) and self.held.take(record):
            self._queue([record], record.head.line.session)
            released.append(record)
        return released

    def marked(self, record: Record) -> bool:
        """The journal knows that this command goes out: it comes first, behind others like it."""
        if record not in self.marking:
            return False
        del self.marking[record]
        ahead = 0
        for one in self.queue:
            if one.kept is None or not one.kept.marked:
                break
            ahead += 1
        self.queue.insert(ahead, record)
        return True

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
                if self.backlog.keyed:
                    self.backlog.came_back(self._key(record), record)

    def reenters(self, record: Record) -> bool:
        chain = record.head.chain
        return bool(chain) and (self.subscription.number, record.head.line.session) in chain

    # Out

    def expired(self, now: float) -> list[Record]:
        """Take out what has waited for room for too long; counted as rejected."""
        late = self.waiting.expired(now)
        for _ in late:
            self._reject()
        return late

    def withdraw(self, record: Record) -> bool:
        """Take out one that waits for room; whether it did."""
        found = self.waiting.withdraw(record)
        if found:
            self._reject()
        return found

    def unqueue(self, record: Record) -> bool:
        """Take out one that is queued; whether it was."""
        if record in self.urgent:
            self.urgent.remove(record)
            self.suspect.discard(record)
            return True
        if self.marking.pop(record, record) is None or self.backlog.remove(record):
            self.suspect.discard(record)
            return True
        for serving in self.members.values():
            if serving.lanes is not None and serving.pull([record]):
                self.suspect.discard(record)
                return True
        return False

    def drain(self) -> tuple[list[Record], list[Record]]:
        """Empty it: what was accepted and not on its way, and what was waiting for room."""
        accepted = [*self.urgent, *self.marking, *self.backlog.clear(), *self.held.clear()]
        self.urgent.clear()
        self.marking.clear()
        self.suspect.clear()
        waiting = self.waiting.clear()
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
        name = self.subscription.name
        assert counters.accepted == counters.ended + self.size, (name, counters, self.size)
        everything = list(self.everything())
        assert len(set(everything)) == len(everything) == self.size, (name, "a message is here twice")
        assert self.suspect <= set(everything), (name, "a suspect is not here")
        assert sum(len(record.body) for record in everything) <= self._weight, name
        self.held.validate(name, set(everything))
        assert self.outstanding == sum(1 for _ in self.others()), (name, self.outstanding)


def _is_awaited(record: Record) -> bool:
    """A suspended handler waits for it: it must not stand behind what may wait for that handler."""
    return bool(record.head.chain) and record.head.wants_result
