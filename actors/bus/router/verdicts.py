"""What follows from a failed attempt: another one later, or a dead letter; and what is taken back meanwhile.

A session's lane waits while its failed message does: that one, then what its handler gave back, then
what comes after. A message without a lane waits alone.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from llmgine.actors.bus import wire
from llmgine.actors.bus.letters import Reason
from llmgine.actors.bus.router.breakers import Breakers
from llmgine.actors.bus.router.ends import Ends
from llmgine.actors.bus.router.letters import ERRORS
from llmgine.actors.bus.router.mailbox import Mailbox
from llmgine.actors.bus.router.records import Record
from llmgine.actors.bus.router.serving import Recall, Serving
from llmgine.actors.bus.router.state import RouterState
from llmgine.actors.bus.router.trouble import Hold, Tries, Trouble

# Of these another attempt would come to the same, or cannot be made.
_FINAL = frozenset(("undecodable", "invalid", "stuck", "cancelled"))
# These say nothing of the handler's health.
_NOT_ITS_FAULT = frozenset(("undecodable", "invalid", "cancelled", "batch"))


class Verdicts:
    """Judges every failed attempt, once."""

    def __init__(self, state: RouterState, ends: Ends, breakers: Breakers) -> None:
        self._state = state
        self._ends = ends
        self._breakers = breakers

    def failed(self, serving: Serving, entry: int, record: Record, detail: Any) -> None:
        """The attempt under this entry, which is not in flight any more."""
        reason, kind, text, attempt, duration, retryable = detail
        mailbox = serving.mailbox
        trouble = self._breakers.trouble(mailbox)
        opened = False
        if reason in _NOT_ITS_FAULT:
            self._breakers.released(serving, (entry,))
        else:
            slow_after = mailbox.subscription.slow_after
            slow = slow_after is not None and duration > slow_after
            opened = self._breakers.failed(serving, entry, slow=slow)
        self._remember(trouble, record, attempt, kind or reason, text)
        self._state.note("attempt failed", mailbox, record, f"{kind or reason}: {text}")
        delay = self._delay(mailbox, trouble, record, reason)
        recall = wire.KEEP
        if delay is None:
            mailbox.outstanding -= 1
            serving.released(record)
            self._ends.fail(
                mailbox, record, reason, kind, text, attempts=attempt, duration=duration, retryable=retryable
            )
        else:
            recall = self._again(serving, entry, record, delay)
        self._resume(serving, entry, wire.ALL if opened else recall, record)

    def _remember(self, trouble: Trouble, record: Record, attempt: int, kind: str, text: str) -> None:
        tries = trouble.tries.get(record)
        if tries is None:
            tries = trouble.tries[record] = Tries(ERRORS)
        # A handler may know of attempts that an earlier life of the router has seen.
        tries.attempts = max(tries.attempts + 1, attempt)
        tries.errors.append((kind, text, self._state.wall()))

    def _delay(self, mailbox: Mailbox, trouble: Trouble, record: Record, reason: Reason) -> float | None:
        """Seconds until the next attempt; None where this was the last one."""
        head = record.head
        if reason in _FINAL or mailbox.closing or record.resolved:
            return None
        if head.command and trouble.parked is not None:
            return None
        counters = mailbox.counters
        attempted = counters.handled + counters.failed + mailbox.outstanding
        if attempted > trouble.attempted:
            trouble.retry.first(attempted - trouble.attempted)
            trouble.attempted = attempted
        now = self._state.now
        delay = trouble.retry.delay(trouble.tries[record].attempts, now)
        if delay is None or now + delay >= head.until:
            return None
        return delay

    def _again(self, serving: Serving, entry: int, record: Record, delay: float) -> int:
        """The message waits for its next attempt; what its handler is to give back."""
        state, mailbox = self._state, serving.mailbox
        trouble = self._breakers.trouble(mailbox)
        state.counters["retries_total"] += 1
        mailbox.counters.retried += 1
        state.note("retry", mailbox, record, f"in {delay:.3g} s")
        if record.stages is not None:
            self._ends.advance(mailbox, record)
        at = state.now + delay
        # What came of that attempt is known, whoever makes the next one.
        record.sent = 0
        lane = mailbox.lane(record)
        if lane is None:
            serving.released(record)
            trouble.backoff[record] = state.timers.at(at, partial(self._due, mailbox, trouble, record))
            return wire.KEEP
        serving.aside[entry] = record
        hold = trouble.holds.get(lane)
        if hold is None:
            hold = trouble.holds[lane] = Hold()
            self._pull(mailbox, hold, lane)
        if at > hold.at:
            # A batch has failed: the lane goes on when the last of its messages may.
            hold.at, hold.due = at, False
            if hold.timer is not None:
                state.timers.cancel(hold.timer)
            hold.timer = state.timers.at(at, partial(self._lane_due, mailbox, trouble, lane))
        return wire.LANE

    def _pull(self, mailbox: Mailbox, hold: Hold, lane: str) -> None:
        """What members were to get of this lane waits behind its failed message."""
        for serving in mailbox.members.values():
            if serving.lanes is not None and lane in serving.lanes:
                taken = serving.pull(one for one in serving.queue if mailbox.lane(one) == lane)
                hold.records.extend(taken)
                mailbox.outstanding += len(taken)

    # Taking back

    def _resume(self, serving: Serving, entry: int, recall: int, record: Record) -> None:
        client, mailbox = serving.client, serving.mailbox
        self._state.verdict(client, mailbox.subscription.number, entry, recall)
        if recall == wire.KEEP:
            return
        if serving.retiring or mailbox.closing:
            # Everything comes back anyway, and is put in order when the last of it has.
            return
        lane = mailbox.lane(record) if entry in serving.aside else None
        self._expect(serving, entry, lane, everything=recall == wire.ALL)
        if recall == wire.ALL:
            self._recall_others(serving)

    def _recall_others(self, serving: Serving) -> None:
        """Other members do not know yet that the breaker has opened."""
        mailbox = serving.mailbox
        for other in mailbox.members.values():
            if other is serving or other.retiring or other.recalling or not other.client.connected:
                continue
            self._state.verdict(other.client, mailbox.subscription.number, 0, wire.ALL)
            self._expect(other, 0, None, everything=True)

    def _expect(self, serving: Serving, entry: int, lane: str | None, *, everything: bool) -> None:
        serving.recalls[entry] = Recall(lane, everything=everything)
        trouble = serving.mailbox.trouble
        if lane is not None and trouble is not None:
            trouble.holds[lane].recalls += 1

    def returned(self, serving: Serving, entry: int) -> None:
        """Given back before its handler was called, or the end of what a verdict takes back."""
        mailbox = serving.mailbox
        record = serving.inflight.pop(entry, None)
        if record is not None and record in mailbox.probing:
            # Not known there: the next one is asked, or it is a first attempt after all.
            self._breakers.released(serving, (entry,))
            record.sent = 0
            serving.released(record)
            mailbox.outstanding -= 1
            mailbox.put_back([record])
            self._state.mark_ready(mailbox)
            return
        if record is not None:
            self.give_back(serving, entry, record)
            if not serving.recalls and not serving.retiring:
                self._put_back(serving, serving.take_aside(None))
            return
        recall = serving.recalls.pop(entry, None)
        if recall is None:
            return
        self._put_back(serving, serving.take_aside(None if recall.everything else recall.lane))
        if recall.lane is not None:
            self._came_back(mailbox, recall.lane)
        self._state.mark_ready(mailbox)

    def give_back(self, serving: Serving, entry: int, record: Record) -> None:
        """Its handler was not called; it waits until all that comes back with it is here."""
        record.sent = 0
        serving.aside[entry] = record
        self._breakers.released(serving, (entry,))

    def _put_back(self, serving: Serving, records: list[Record]) -> None:
        """Before all that was to follow, at this client or in the mailbox."""
        mailbox, trouble = serving.mailbox, serving.mailbox.trouble
        shared = records
        if serving.lanes is not None:
            # What is a member's stays its own, but for what waits with a failed message.
            holds = trouble.holds if trouble is not None else {}
            shared = [record for record in records if mailbox.lane(record) in holds]
            serving.put_back([record for record in records if mailbox.lane(record) not in holds])
        mailbox.outstanding -= len(shared)
        for record in shared:
            serving.released(record)
        mailbox.put_back(shared)
        self._state.arrived(mailbox, records)

    def _came_back(self, mailbox: Mailbox, lane: str) -> None:
        trouble = mailbox.trouble
        hold = trouble.holds.get(lane) if trouble is not None else None
        if trouble is not None and hold is not None:
            hold.recalls -= 1
            self._go_on(mailbox, trouble, lane, hold)

    def abandoned(self, serving: Serving) -> None:
        """This client will not give anything back: what its verdicts waited for goes on."""
        recalls, serving.recalls = serving.recalls, {}
        for recall in recalls.values():
            if recall.lane is not None:
                self._came_back(serving.mailbox, recall.lane)

    # Going on

    def _due(self, mailbox: Mailbox, trouble: Trouble, record: Record) -> None:
        del trouble.backoff[record]
        mailbox.outstanding -= 1
        mailbox.put_back([record])
        self._state.arrived(mailbox, [record])
        self._state.mark_ready(mailbox)

    def _lane_due(self, mailbox: Mailbox, trouble: Trouble, lane: str) -> None:
        hold = trouble.holds[lane]
        hold.due, hold.timer = True, None
        self._go_on(mailbox, trouble, lane, hold)

    def _go_on(self, mailbox: Mailbox, trouble: Trouble, lane: str, hold: Hold) -> None:
        if not hold.due or hold.recalls:
            return
        del trouble.holds[lane]
        records = list(hold.records)
        mailbox.outstanding -= len(records)
        mailbox.put_back(records)
        self._state.arrived(mailbox, records)
        self._state.mark_ready(mailbox)

    def withdraw(self, mailbox: Mailbox, record: Record) -> bool:
        """Take a message out of its backoff; whether it was in one."""
        trouble = mailbox.trouble
        timer = trouble.backoff.pop(record, None) if trouble is not None else None
        if timer is None:
            return False
        self._state.timers.cancel(timer)
        mailbox.outstanding -= 1
        return True

    def empty(self, mailbox: Mailbox) -> list[Record]:
        """Everything that waits to be tried again, taken out: the subscription goes."""
        trouble = mailbox.trouble
        if trouble is None:
            return []
        records = list(trouble.held())
        for timer in (*trouble.backoff.values(), *(hold.timer for hold in trouble.holds.values())):
            if timer is not None:
                self._state.timers.cancel(timer)
        trouble.backoff.clear()
        trouble.holds.clear()
        mailbox.outstanding -= len(records)
        return records
