"""From mailboxes to handlers and back: what is handed out, what came of it, who takes over."""

from __future__ import annotations

from typing import Any

from llmgine.actors.bus import wire
from llmgine.actors.bus.errors import ProtocolViolation
from llmgine.actors.bus.router.failure import Failure, Reason
from llmgine.actors.bus.router.mailbox import Mailbox
from llmgine.actors.bus.router.records import ClientState, Head, Record
from llmgine.actors.bus.router.state import RouterState
from llmgine.actors.bus.wire import failed_answer

# How many mailboxes without a shared message are passed over before a full parcel goes.
_MISSES = 32


class Deliveries:
    """Hands queued messages to their subscriptions' clients, and takes back what came of them."""

    def __init__(self, state: RouterState) -> None:
        self._state = state

    # Out

    def take(self, client: ClientState) -> list[Any] | None:
        """The next DELIVER for this client, bounded in messages and bytes; None when nothing can go."""
        parcel = _Parcel(shared=len(client.ready) > 1)
        misses = 0
        for mailbox in list(client.ready):
            if parcel.full and not (mailbox.queue and parcel.holds(mailbox.queue[0])):
                misses += 1
                if misses > _MISSES:
                    break
                continue
            del client.ready[mailbox]
            self._fill(mailbox, parcel)
            # At the end of the row: nobody waits for another's long queue.
            if len(mailbox.inflight) < mailbox.window or mailbox.urgent:
                self._state.mark_ready(mailbox)
        if not parcel.deliveries:
            return None
        return [wire.DELIVER, parcel.runs, parcel.deliveries]

    def _fill(self, mailbox: Mailbox, parcel: _Parcel) -> None:
        inflight = mailbox.inflight
        entry = mailbox.next_entry
        parcel.begin(mailbox.subscription.number)
        while mailbox.urgent and not parcel.full:
            record = mailbox.urgent.popleft()
            if self._may_go(mailbox, record):
                inflight[entry] = record
                parcel.add(record, entry, record in mailbox.suspect, True)
                mailbox.suspect.discard(record)
                entry += 1
        queue = mailbox.queue
        suspect = mailbox.suspect
        free = 0 if mailbox.retiring else mailbox.window - len(inflight)
        while queue and free > 0 and not (parcel.full and not parcel.holds(queue[0])):
            record = queue.popleft()
            if record.head.command and not self._may_go(mailbox, record):
                continue
            inflight[entry] = record
            if suspect and record in suspect:
                suspect.discard(record)
                parcel.add(record, entry, True, False)
            else:
                parcel.add(record, entry, record.head.again, False)
            entry += 1
            free -= 1
        mailbox.next_entry = entry

    def _may_go(self, mailbox: Mailbox, record: Record) -> bool:
        """Whether a command may be handed to this generation of its handler; if not, it has been answered."""
        head = record.head
        if not head.command:
            return True
        subscription = mailbox.subscription
        another = record.sent != 0 and record.sent != subscription.generation
        perhaps = record.sent == 0 and 0 < head.since < subscription.generation
        if subscription.idempotent or not (another or perhaps):
            record.sent = subscription.generation
            return True
        mailbox.suspect.discard(record)
        self.fail(
            mailbox,
            record,
            "outcome_unknown",
            "outcome_unknown",
            "its handler's process was replaced meanwhile",
        )
        return False

    # Back

    def done(self, client: ClientState, ranges: list[Any]) -> None:
        """Handled, in ranges of entries per subscription."""
        state = self._state
        for number, first, last in ranges:
            mailbox = self._mailbox(client, number)
            if mailbox is None:
                continue
            inflight = mailbox.inflight
            counters = mailbox.counters
            if not 0 < first <= last < mailbox.next_entry:
                raise ProtocolViolation(f"subscription {number} was never sent entries {first} to {last}")
            for entry in range(first, last + 1):
                record = inflight.pop(entry, None)
                if record is None:
                    continue
                counters.handled += 1
                record.open -= 1
                if record.stages is not None:
                    self._advance(mailbox, record)
                if record.open == 0:
                    state.settle(record)
            self._after(mailbox)

    def outcome(self, client: ClientState, number: int, entry: int, code: int, detail: Any) -> None:
        """One delivery's outcome where it is more than handled."""
        if code == wire.FAILED:
            client.notices.append([wire.RESUME, number, entry, wire.KEEP])
            self._state.touch(client)
        mailbox = self._mailbox(client, number)
        record = mailbox.inflight.pop(entry, None) if mailbox is not None else None
        if mailbox is None or record is None:
            return
        name = mailbox.subscription.name
        if code == wire.VALUE:
            if detail[0]:
                mailbox.counters.handled += 1
                self._state.resolve(record, detail)
                self.finish(mailbox, record)
            else:
                self._state.resolve(record, detail)
                self.fail(mailbox, record, _reason(detail[2]), detail[2], detail[3], attempts=detail[5])
        elif code == wire.HANDLED:
            mailbox.counters.handled += 1
            self.finish(mailbox, record, [name, True, "", "", "", detail[0], detail[1]])
        elif code == wire.DISCARDED and mailbox.retiring:
            mailbox.give_back(record)
        elif code == wire.DISCARDED:
            self.discard(mailbox, record)
        elif code == wire.FAILED:
            reason, kind, text, attempts, duration, retryable = detail
            self.fail(
                mailbox, record, reason, kind, text, attempts=attempts, duration=duration, retryable=retryable
            )
        else:
            raise ProtocolViolation(f"unknown outcome code {code!r}")
        self._after(mailbox)

    def _mailbox(self, client: ClientState, number: int) -> Mailbox | None:
        mailbox = self._state.mailboxes.get(number) or self._state.closing.get(number)
        # An answer from before a takeover speaks of entries that were handed to somebody else since.
        return mailbox if mailbox is not None and mailbox.client is client else None

    def _after(self, mailbox: Mailbox) -> None:
        """Places became free: let in what waits, hand out what is queued."""
        self.admit_waiting(mailbox)
        self._state.press(mailbox)
        if not mailbox.inflight and (mailbox.heir is not None or mailbox.closing or mailbox.retiring):
            self._hand_over(mailbox)
        self._state.mark_ready(mailbox)

    # Ends of one delivery

    def finish(self, mailbox: Mailbox, record: Record, outcome: list[Any] | None = None) -> None:
        """This mailbox is done with the message, whatever the counters say of how."""
        record.open -= 1
        if outcome is not None and record.head.wants_result and not record.head.command:
            if record.outcomes is None:
                record.outcomes = []
            record.outcomes.append(outcome)
        if record.stages is not None:
            self._advance(mailbox, record)
        if record.open == 0:
            self._state.settle(record)

    def fail(
        self,
        mailbox: Mailbox,
        record: Record,
        reason: Reason,
        kind: str,
        text: str,
        *,
        attempts: int = 0,
        duration: float = 0.0,
        retryable: bool = False,
    ) -> None:
        """An accepted delivery did not succeed: the one way from failure to what follows from it."""
        failure = self._failure(mailbox, record, reason, kind, text, attempts)
        self._state.failures.take(failure)
        record.failed = True
        mailbox.counters.failed += 1
        if record.head.command:
            answer = failed_answer(kind, text, retryable=retryable, attempts=attempts, duration=duration)
            self._state.resolve(record, answer)
        outcome = [mailbox.subscription.name, False, reason, kind, text, attempts, duration]
        self.finish(mailbox, record, outcome)

    def refuse(self, mailbox: Mailbox, record: Record, reason: Reason, text: str) -> None:
        """The mailbox did not take the message, or gave its place to another."""
        self._state.failures.take(self._failure(mailbox, record, reason, reason, text, 0))
        record.failed = True
        name = mailbox.subscription.name
        if reason == "overflow":
            record.refused = [*(record.refused or []), (name, reason)]
        if record.head.command:
            self._state.resolve(record, failed_answer(reason, f"{name}: {text}", retryable=True))
        self.finish(mailbox, record, [name, False, reason, reason, text, 0, 0.0])

    def discard(self, mailbox: Mailbox, record: Record) -> None:
        """The subscription went before its handler was called."""
        mailbox.counters.discarded += 1
        if record.head.command:
            text = f"the handler {mailbox.subscription.name!r} was removed before it was called"
            self._state.resolve(record, failed_answer("no_handler", text))
            record.failed = True
        self.finish(mailbox, record, [mailbox.subscription.name, False, "removed", "", "", 0, 0.0])

    def _failure(
        self, mailbox: Mailbox, record: Record, reason: Reason, kind: str, text: str, attempts: int
    ) -> Failure:
        head: Head = record.head
        return Failure(
            reason,
            record.id,
            head.lineage,
            head.line.session,
            mailbox.subscription.name,
            attempts,
            kind,
            text,
        )

    # Priorities

    def _advance(self, mailbox: Mailbox, record: Record) -> None:
        for stage in record.stages or ():
            if mailbox in stage:
                stage.remove(mailbox)
                break
        self._open_stages(record)

    def _open_stages(self, record: Record) -> None:
        """It is the next priority's turn where nobody of the present one is left."""
        stages = record.stages or []
        while record.stage + 1 < len(stages) and not stages[record.stage]:
            self.open_next(record)

    def open_next(self, record: Record) -> None:
        """The next priority's turn, whoever of the present one is left."""
        stages = record.stages
        if stages is None or record.stage + 1 >= len(stages):
            return
        record.stage += 1
        record.opened_at = self._state.now
        for mailbox in stages[record.stage]:
            if mailbox.release(record.head.line):
                self._state.mark_ready(mailbox)

    # Room

    def admit_waiting(self, mailbox: Mailbox) -> None:
        waiting = mailbox.waiting
        if not waiting:
            return
        running = mailbox.running if mailbox.client is not None else 0
        room = mailbox.subscription.capacity + running - mailbox.size
        while waiting and room > 0:
            record, _ = waiting.popleft()
            mailbox.enter(record)
            room -= 1
            self.entered(record)

    def entered(self, record: Record) -> None:
        """One mailbox less to wait for."""
        record.waiting -= 1
        if record.waiting == 0:
            self._state.admitted(record)

    # Who serves

    def attach(self, mailbox: Mailbox, client: ClientState) -> None:
        """This client serves the subscription from now, or once its former owner has nothing in hand."""
        former = mailbox.client
        if former is client:
            self._state.mark_ready(mailbox)
            return
        if former is not None and mailbox.inflight:
            mailbox.heir = client
            return
        mailbox.heir = client
        self._hand_over(mailbox)

    def detach(self, mailbox: Mailbox) -> None:
        """The serving client's link broke: what it had in hand will be handed out again."""
        client = mailbox.client
        if client is not None:
            client.ready.pop(mailbox, None)
            client.mailboxes.pop(mailbox.subscription.number, None)
        mailbox.client = None
        mailbox.retiring = False
        mailbox.requeue()
        if mailbox.closing:
            self.end(mailbox)
        elif mailbox.heir is not None:
            self._hand_over(mailbox)

    def _hand_over(self, mailbox: Mailbox) -> None:
        number = mailbox.subscription.number
        former, heir = mailbox.client, mailbox.heir
        if former is not None:
            former.ready.pop(mailbox, None)
            former.mailboxes.pop(number, None)
        mailbox.client, mailbox.heir = None, None
        mailbox.retiring = False
        if mailbox.closing:
            self.end(mailbox)
            return
        if heir is not None and heir.connected:
            mailbox.client = heir
            heir.mailboxes[number] = mailbox
            self.admit_waiting(mailbox)
            self._state.mark_ready(mailbox)

    def retire(self, mailbox: Mailbox) -> None:
        """Another client owns the subscription now; the former one ends what it has in hand."""
        client = mailbox.client
        if client is None:
            return
        client.lost.append(mailbox.subscription.number)
        client.ready.pop(mailbox, None)
        self._state.touch(client)
        mailbox.retiring, mailbox.returned = True, 0
        if not mailbox.inflight:
            self._hand_over(mailbox)

    def close(self, mailbox: Mailbox) -> None:
        """The subscription was removed: nothing more is handed out, what runs may end."""
        number = mailbox.subscription.number
        mailbox.closing = True
        mailbox.heir = None
        self._discard_all(mailbox)
        if mailbox.client is None or not mailbox.inflight:
            self._hand_over(mailbox)
            return
        self._state.closing[number] = mailbox
        mailbox.client.lost.append(number)
        self._state.touch(mailbox.client)

    def end(self, mailbox: Mailbox) -> None:
        """The last of a removed subscription's messages."""
        self._discard_all(mailbox)
        self._state.closing.pop(mailbox.subscription.number, None)
        self._state.stalled.pop(mailbox, None)

    def _discard_all(self, mailbox: Mailbox) -> None:
        accepted, waiting = mailbox.drain()
        for record in accepted:
            if record.head.command and record.sent:
                text = "its handler's process went away with the command in hand"
                self.fail(mailbox, record, "outcome_unknown", "outcome_unknown", text)
            else:
                self.discard(mailbox, record)
        for record in waiting:
            mailbox.counters.accepted += 1
            self.entered(record)
            self.discard(mailbox, record)
        self._state.press(mailbox)


_COMMAND_REASONS: dict[str, Reason] = {
    "deadline": "deadline",
    "cancelled": "cancelled",
    "undecodable": "undecodable",
    "no_handler": "no_handler",
    "outcome_unknown": "outcome_unknown",
}


def _reason(kind: str) -> Reason:
    return _COMMAND_REASONS.get(kind, "handler")


class _Parcel:
    """One DELIVER in the making: messages that several subscriptions of a client get travel once."""

    __slots__ = (
        "_count",
        "_delivery",
        "_head",
        "_index",
        "_next",
        "_number",
        "_run",
        "_size",
        "deliveries",
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
        self._delivery: list[Any] | None = None

    @property
    def full(self) -> bool:
        return self._count >= wire.BATCH_EVENTS or self._size >= wire.BATCH_BYTES

    def holds(self, record: Record) -> bool:
        """Whether it travels already, so that one more delivery of it costs nothing."""
        return self._index is not None and record in self._index

    def begin(self, number: int) -> None:
        self._number = number
        self._delivery = None

    def add(self, record: Record, entry: int, redelivered: bool, reentrant: bool) -> None:
        position = self._place(record)
        delivery = self._delivery
        if (
            delivery is not None
            and delivery[2] + delivery[3] == position
            and delivery[5] is redelivered
            and delivery[6] is reentrant
        ):
            delivery[3] += 1
            return
        self._delivery = [self._number, entry, position, 1, 1, redelivered, reentrant, 0]
        self.deliveries.append(self._delivery)

    def _place(self, record: Record) -> int:
        if self._index is not None:
            known = self._index.get(record)
            if known is not None:
                return known
            self._index[record] = self._count
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
                    line.floor,
                    head.depth,
                    head.flags,
                    head.extra,
                    self._run,
                ]
            )
            self._head = head
        self._next = record.sequence + 1
        self._size += len(body)
        position = self._count
        self._count += 1
        return position
