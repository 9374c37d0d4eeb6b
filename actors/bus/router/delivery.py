"""From mailboxes to handlers and back: what is handed out, and what came of it."""

from __future__ import annotations

from typing import Any

from llmgine.actors.bus import wire
from llmgine.actors.bus.errors import ProtocolViolation
from llmgine.actors.bus.letters import Reason
from llmgine.actors.bus.messages import BUS
from llmgine.actors.bus.router.breakers import Breakers
from llmgine.actors.bus.router.ends import Ends
from llmgine.actors.bus.router.handover import Handover
from llmgine.actors.bus.router.mailbox import Mailbox
from llmgine.actors.bus.router.parcel import Parcel
from llmgine.actors.bus.router.records import ClientState, Record
from llmgine.actors.bus.router.serving import Serving
from llmgine.actors.bus.router.state import RouterState
from llmgine.actors.bus.router.verdicts import Verdicts
from llmgine.actors.bus.wire import failed_answer

# How many mailboxes without a shared message are passed over before a full parcel goes.
_MISSES = 32


class Deliveries:
    """Hands queued messages to their subscriptions' clients, and takes back what came of them."""

    def __init__(
        self, state: RouterState, ends: Ends, breakers: Breakers, verdicts: Verdicts, handover: Handover
    ) -> None:
        self._state = state
        self._ends = ends
        self._breakers = breakers
        self._verdicts = verdicts
        self._handover = handover

    # Out

    def take(self, client: ClientState) -> list[Any] | None:
        """The next DELIVER for this client, bounded in messages and bytes; None when nothing can go."""
        parcel = Parcel(shared=len(client.ready) > 1)
        misses = 0
        for serving in list(client.ready):
            if parcel.full and not (serving.queue and parcel.holds(serving.queue[0])):
                misses += 1
                if misses > _MISSES:
                    break
                continue
            if serving not in client.ready:
                # What came of a command that may not go has ended this one.
                continue
            del client.ready[serving]
            self._fill(serving, parcel)
        if not parcel.deliveries:
            return None
        return [wire.DELIVER, parcel.runs, parcel.deliveries]

    def _fill(self, serving: Serving, parcel: Parcel) -> None:
        mailbox = serving.mailbox
        first = serving.next_entry
        parcel.begin(mailbox.subscription.number, mailbox.missed)
        trouble = mailbox.trouble
        if mailbox.subscription.kind == "event" and (
            trouble is None or (trouble.quiet and not serving.recalls)
        ):
            if serving.urgent:
                self._fill_urgent(serving, parcel)
            self._fill_plainly(serving, parcel)
        else:
            self._fill_carefully(serving, parcel)
        handed = serving.next_entry - first
        if handed:
            mailbox.missed = 0
            if mailbox.next_entry < serving.next_entry:
                mailbox.next_entry = serving.next_entry
            if serving.lanes is None:
                mailbox.outstanding += handed

    def _fill_urgent(self, serving: Serving, parcel: Parcel) -> None:
        urgent = serving.urgent
        while urgent and not parcel.full:
            record = urgent.popleft()
            if self._may_go(serving, record):
                self._hand_out(serving, record, parcel, reentrant=True)
        if urgent:
            # At the end of the row: nobody waits for another's long queue.
            serving.client.ready[serving] = None

    def _fill_plainly(self, serving: Serving, parcel: Parcel) -> None:
        """Nothing has failed lately: no message needs a look of its own."""
        mailbox = serving.mailbox
        inflight, queue, suspect = serving.inflight, serving.queue, mailbox.suspect
        entry = serving.next_entry
        free = 0 if serving.retiring else mailbox.window - len(inflight)
        whole = serving.lanes is None
        while free > 0 and (queue or (whole and mailbox.refill())):
            if parcel.full and not parcel.holds(queue[0]):
                break
            record = queue.popleft()
            inflight[entry] = record
            entry += 1
            free -= 1
            if suspect:
                parcel.add(record, entry - 1, record.head.again or record in suspect, False)
                suspect.discard(record)
            else:
                parcel.add(record, entry - 1, record.head.again, False)
                taken = parcel.follow(queue, inflight, entry, free)
                entry += taken
                free -= taken
        serving.next_entry = entry
        if queue and free > 0:
            serving.client.ready[serving] = None

    def _fill_carefully(self, serving: Serving, parcel: Parcel) -> None:
        """Message by message: commands, and what breaker and waiting lanes let through."""
        mailbox, queue = serving.mailbox, serving.queue
        trouble = mailbox.trouble
        if serving.retiring or serving.recalling:
            return
        permits = self._breakers.permits(mailbox)
        if permits or trouble is None or trouble.breaker.state != "open":
            self._fill_urgent(serving, parcel)
        free = min(permits, mailbox.window - len(serving.inflight))
        holds = trouble.holds if trouble is not None else None
        if holds and mailbox.subscription.session != BUS:
            # All of it is the lane that waits, and stays where its mailbox' policy can reach it.
            free = 0
        whole = serving.lanes is None
        while free > 0 and (queue or (whole and mailbox.refill())):
            if parcel.full and not parcel.holds(queue[0]):
                break
            record = queue.popleft()
            lane = mailbox.lane(record) if holds and whole else None
            if holds and lane is not None and lane in holds:
                holds[lane].records.append(record)
                mailbox.outstanding += 1
            elif self._may_go(serving, record):
                if trouble is not None:
                    trouble.breaker.take(1)
                self._hand_out(serving, record, parcel, reentrant=False)
                free -= 1
        if queue and free > 0:
            serving.client.ready[serving] = None

    def _hand_out(self, serving: Serving, record: Record, parcel: Parcel, *, reentrant: bool) -> None:
        mailbox = serving.mailbox
        trouble, suspect = mailbox.trouble, mailbox.suspect
        entry = serving.next_entry
        serving.next_entry = entry + 1
        serving.inflight[entry] = record
        attempt, redelivered = 1, record.head.again
        if trouble is not None:
            if record in trouble.tries:
                attempt, redelivered = trouble.attempt(record), False
            if trouble.parked is not None:
                trouble.parked.pop(record, None)
                if reentrant:
                    serving.untried.add(entry)
        if record in suspect:
            suspect.discard(record)
            redelivered = True
        if record in mailbox.probing:
            attempt = self._probe(serving, record, attempt)
        parcel.add(record, entry, redelivered, reentrant, attempt)

    def _probe(self, serving: Serving, record: Record, attempt: int) -> int:
        """A member is asked first; whoever gets it when all of them were is to run it."""
        asked = serving.mailbox.probing[record]
        if serving.client in asked:
            del serving.mailbox.probing[record]
            return attempt
        asked.add(serving.client)
        return 0

    def _may_go(self, serving: Serving, record: Record) -> bool:
        """Whether a command may be handed to this generation of its handler; if not, it is dealt with."""
        head = record.head
        if not head.command:
            return True
        mailbox = serving.mailbox
        subscription = mailbox.subscription
        if not subscription.idempotent:
            another = record.sent not in (0, subscription.generation) and not subscription.members
            # Sent to an earlier life of the router; what has failed in this one is no riddle.
            tried = mailbox.trouble is not None and record in mailbox.trouble.tries
            perhaps = record.sent == 0 and 0 < head.since < subscription.generation and not tried
            if subscription.members:
                # They are asked first; that none of them knows it says nothing where others were there.
                perhaps = self._is_riddle(serving, record, perhaps)
            if another or perhaps:
                self._not_handed(serving, record)
                text = "its handler's process was replaced meanwhile"
                self._ends.fail(mailbox, record, "outcome_unknown", "outcome_unknown", text)
                return False
            if record.kept is not None and not record.kept.marked:
                self._not_handed(serving, record)
                self._state.journal.mark(mailbox, record)
                return False
        record.sent = subscription.generation
        return True

    def _is_riddle(self, serving: Serving, record: Record, changed: bool) -> bool:
        """Whether all members were asked in vain, and a former or an absent one may have run it."""
        mailbox = serving.mailbox
        asked = mailbox.probing.get(record)
        if asked is None or serving.client not in asked:
            return False
        return changed or not mailbox.subscription.lives.items() <= {client.owner for client in asked}

    def _not_handed(self, serving: Serving, record: Record) -> None:
        """It leaves the queue of whom it was meant for without having been handed out."""
        serving.mailbox.suspect.discard(record)
        if serving.lanes is not None:
            serving.mailbox.outstanding -= 1
            serving.released(record)

    # Back

    def done(self, client: ClientState, ranges: list[Any]) -> None:
        """Handled, in ranges of entries per subscription."""
        # Whose places became free: told once all are counted.
        eased: dict[Serving, None] = {}
        try:
            self._handled(client, ranges, eased)
        finally:
            for serving in eased:
                self._after(serving)

    def _handled(self, client: ClientState, ranges: list[Any], eased: dict[Serving, None]) -> None:
        for number, first, last in ranges:
            serving = client.servings.get(number)
            if serving is None:
                continue
            if not 0 < first <= last < serving.next_entry:
                raise ProtocolViolation(f"subscription {number} was never sent entries {first} to {last}")
            eased[serving] = None
            mailbox = serving.mailbox
            trouble = mailbox.trouble
            if not mailbox.plain or (trouble is not None and not trouble.quiet):
                self._done_one_by_one(serving, first, last)
                continue
            inflight = serving.inflight
            before = len(inflight)
            settled = []
            for entry in range(first, last + 1):
                record = inflight.pop(entry, None)
                if record is None:
                    continue
                record.open -= 1
                if record.stages is not None:
                    self._ends.advance(mailbox, record)
                if record.open == 0:
                    settled.append(record)
            self._state.settle_all(settled)
            handled = before - len(inflight)
            mailbox.counters.handled += handled
            mailbox.outstanding -= handled
            if trouble is not None:
                self._breakers.succeeded(serving, range(first, last + 1))

    def _done_one_by_one(self, serving: Serving, first: int, last: int) -> None:
        entries = [entry for entry in range(first, last + 1) if entry in serving.inflight]
        for entry in entries:
            record = self._out_of_hand(serving, entry)
            if record is not None:
                serving.mailbox.counters.handled += 1
                self._ends.finish(serving.mailbox, record)
        self._breakers.succeeded(serving, entries)

    def _out_of_hand(self, serving: Serving, entry: int) -> Record | None:
        record = serving.inflight.pop(entry, None)
        if record is not None:
            serving.mailbox.outstanding -= 1
            serving.released(record)
        return record

    def outcome(self, client: ClientState, number: int, entry: int, code: int, detail: Any) -> None:
        """One delivery's outcome where it is more than handled."""
        serving = client.servings.get(number)
        if code == wire.FAILED:
            self._failed(client, serving, number, entry, detail)
        elif serving is None:
            # From before a takeover, or of a subscription that was removed.
            return
        elif code == wire.RETURNED:
            self._verdicts.returned(serving, entry)
        elif code == wire.DISCARDED:
            self._discarded(serving, entry)
        elif code in (wire.VALUE, wire.HANDLED):
            self._answered(serving, entry, code, detail)
        else:
            raise ProtocolViolation(f"unknown outcome code {code!r}")
        if serving is not None:
            self._after(serving)

    def _failed(
        self, client: ClientState, serving: Serving | None, number: int, entry: int, detail: Any
    ) -> None:
        record = serving.inflight.pop(entry, None) if serving is not None else None
        if serving is None or record is None:
            # Its handler waits for a verdict all the same.
            self._state.verdict(client, number, entry, wire.KEEP)
        else:
            self._verdicts.failed(serving, entry, record, detail)

    def _discarded(self, serving: Serving, entry: int) -> None:
        mailbox = serving.mailbox
        if not (serving.retiring or mailbox.subscription.members):
            record = self._out_of_hand(serving, entry)
            if record is not None:
                self._breakers.released(serving, (entry,))
                self._ends.discard(mailbox, record)
        elif entry in serving.inflight:
            self._verdicts.returned(serving, entry)

    def _answered(self, serving: Serving, entry: int, code: int, detail: Any) -> None:
        record = self._out_of_hand(serving, entry)
        if record is None:
            return
        mailbox = serving.mailbox
        name = mailbox.subscription.name
        if code == wire.VALUE and not detail[0]:
            # No attempt was made: its handler does not know any more what came of it.
            self._breakers.released(serving, (entry,))
            _, _, kind, text, retryable, attempts, duration = detail
            self._ends.fail(
                mailbox,
                record,
                "outcome_unknown" if kind == "outcome_unknown" else "handler",
                kind,
                text,
                attempts=attempts,
                duration=duration,
                retryable=retryable,
            )
            return
        duration = detail[-1]
        slow_after = mailbox.subscription.slow_after
        mailbox.counters.handled += 1
        if code == wire.VALUE:
            self._state.resolve(record, detail)
            self._ends.finish(mailbox, record)
        else:
            self._ends.finish(mailbox, record, [name, True, "", "", "", detail[0], duration])
        slow = slow_after is not None and duration > slow_after
        self._breakers.succeeded(serving, (entry,), slow=slow)

    def _after(self, serving: Serving) -> None:
        """Places became free: let in what waits, hand out what is queued."""
        mailbox = serving.mailbox
        self._ends.admit_waiting(mailbox)
        self._state.press(mailbox)
        if not serving.inflight and (mailbox.heir is not None or mailbox.closing or serving.retiring):
            self._handover.hand_over(mailbox, serving)
        self._state.mark_ready(mailbox)

    # Cancelled

    def cancel(self, client: ClientState, session: str, sequence: int) -> None:
        """Its caller's deadline has passed: answer what is known of this command."""
        line = client.lines.get(session)
        record = line.unsettled.get(sequence) if line is not None else None
        mailbox = record.home if record is not None else None
        if record is None or record.resolved or mailbox is None:
            return
        if mailbox.withdraw(record):
            self._ends.turn_away(mailbox, record, "its mailbox was full until the deadline")
        elif self._state.journal.cancel(record):
            return
        elif mailbox.unqueue(record) or self._verdicts.withdraw(mailbox, record):
            self._ends.fail(mailbox, record, *_late(mailbox, record))
            self._ends.admit_waiting(mailbox)
            self._state.press(mailbox)
        else:
            self._abort(mailbox, record)

    def _abort(self, mailbox: Mailbox, record: Record) -> None:
        state = self._state
        text = f"the deadline passed while {mailbox.subscription.name!r} ran; it was cancelled"
        attempts = mailbox.trouble.attempt(record) if mailbox.trouble is not None else 1
        state.resolve(record, failed_answer("deadline", text, attempts=attempts))
        found = mailbox.entry_of(record)
        if found is not None:
            serving, entry = found
            serving.client.aborts.append((mailbox.subscription.number, entry))
            state.touch(serving.client)


def _late(mailbox: Mailbox, record: Record) -> tuple[Reason, str, str]:
    name = mailbox.subscription.name
    if mailbox.trouble is not None and record in mailbox.trouble.tries:
        kind, text, _ = mailbox.trouble.tries[record].errors[-1]
        return "handler", kind, text
    if record.sent:
        return (
            "outcome_unknown",
            "outcome_unknown",
            f"the process of {name!r} went away with the command in hand",
        )
    if not any(one.connected for one in mailbox.members):
        return "expired", "deadline", f"the process of {name!r} was away until the deadline"
    return "expired", "deadline", f"the deadline passed before {name!r} was called"
