"""The breakers of all handlers at work: what they let through, what they park, when they change.

Results count for the state in which their attempt was handed out: each change draws a boundary through
the entries of everybody who serves the subscription.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import takewhile
from sys import float_info

from llmgine.actors.breaking.breaker import UNLIMITED, Breaker
from llmgine.actors.bus.policies import BreakerPolicy, RetryPolicy
from llmgine.actors.bus.router.ends import Ends
from llmgine.actors.bus.router.mailbox import Mailbox
from llmgine.actors.bus.router.records import Record
from llmgine.actors.bus.router.retry import Retry
from llmgine.actors.bus.router.serving import Serving
from llmgine.actors.bus.router.state import RouterState
from llmgine.actors.bus.router.trouble import Trouble

_OLDER = -1


class Breakers:
    """One breaker per mailbox, from its first failure on, or from its first message where shares count."""

    def __init__(self, state: RouterState, ends: Ends) -> None:
        self._state = state
        self._ends = ends

    def configure(self, mailbox: Mailbox) -> None:
        """The subscription is new or has changed hands; with other policies its breaker begins anew."""
        trouble = mailbox.trouble
        subscription = mailbox.subscription
        if trouble is not None and trouble.policies != (subscription.breaker, subscription.retry):
            was_shut = trouble.parked is not None
            trouble.breaker, trouble.retry = self._made(mailbox)
            trouble.policies = (subscription.breaker, subscription.retry)
            if was_shut:
                self._changed(mailbox, trouble)
        policy = self._breaker_policy(mailbox)
        if trouble is None and policy.enabled and (policy.kind == "rate" or policy.slow_after is not None):
            self.trouble(mailbox)

    def trouble(self, mailbox: Mailbox) -> Trouble:
        """What there is of it, made where there was none."""
        if mailbox.trouble is None:
            subscription = mailbox.subscription
            breaker, retry = self._made(mailbox)
            mailbox.trouble = Trouble(breaker, retry, (subscription.breaker, subscription.retry))
        return mailbox.trouble

    def _made(self, mailbox: Mailbox) -> tuple[Breaker, Retry]:
        random = self._state.random
        wanted = mailbox.subscription.retry
        retry = RetryPolicy.model_validate(wanted) if wanted else self._state.options.retry
        return Breaker(self._breaker_policy(mailbox), random), Retry(retry, random)

    def _breaker_policy(self, mailbox: Mailbox) -> BreakerPolicy:
        wanted = mailbox.subscription.breaker
        policy = BreakerPolicy.model_validate(wanted) if wanted else self._state.options.breaker
        shards = self._state.shards
        if shards > 1:
            policy = policy.model_copy(update={"permits": max(1, policy.permits // shards)})
        return policy

    # What may go

    def permits(self, mailbox: Mailbox) -> int:
        """How many more attempts may be handed out now."""
        trouble = mailbox.trouble
        if trouble is None:
            return UNLIMITED
        generation = trouble.breaker.generation
        count = trouble.breaker.permits(self._state.now)
        if trouble.breaker.generation != generation:
            self._changed(mailbox, trouble)
        return count

    def arrived(self, mailbox: Mailbox, records: Iterable[Record]) -> None:
        """These have just come in: where the breaker is not closed, they are parked or refused."""
        trouble = mailbox.trouble
        if trouble is None or trouble.parked is None:
            return
        if mailbox.subscription.kind == "command":
            self._refuse_commands(mailbox)
            return
        now = self._state.now
        for record in records:
            if mailbox.held.holds(record):
                # It is not its turn yet; it arrives when that comes.
                continue
            trouble.parked.setdefault(record, now)
            if record.stages is not None:
                self._ends.advance(mailbox, record)
        if trouble.parked and trouble.expiry is None:
            self._watch_parked(mailbox, trouble)

    def _refuse_commands(self, mailbox: Mailbox) -> None:
        """Commands do not wait for a breaker: only as many stay as may be tried."""
        text = f"the breaker of {mailbox.subscription.name!r} is open"
        for record in list(mailbox.queued())[self.permits(mailbox) :]:
            if mailbox.unqueue(record):
                self._ends.fail(mailbox, record, "breaker", "breaker_open", text, retryable=True)

    # What came of it

    def succeeded(self, serving: Serving, entries: Sequence[int], *, slow: bool = False) -> None:
        """These attempts succeeded; `entries` in rising order."""
        trouble = serving.mailbox.trouble
        if trouble is None:
            return
        breaker = trouble.breaker
        boundary, untried = serving.boundary, serving.untried
        if untried:
            count = sum(entry >= boundary and entry not in untried for entry in entries)
            untried.difference_update(entries)
        else:
            count = len(entries) - bisect_left(entries, boundary)
        if count and breaker.succeeded(breaker.generation, self._state.now, count, slow):
            self._changed(serving.mailbox, trouble)

    def failed(self, serving: Serving, entry: int, *, slow: bool) -> bool:
        """Whether the breaker has opened by it."""
        trouble = self.trouble(serving.mailbox)
        breaker = trouble.breaker
        if not breaker.failed(self._generation(serving, entry), self._state.now, slow):
            return False
        self._changed(serving.mailbox, trouble)
        return breaker.state == "open"

    def released(self, serving: Serving, entries: Iterable[int]) -> None:
        """These attempts ended without a result that counts."""
        trouble = serving.mailbox.trouble
        if trouble is None or trouble.parked is None:
            return
        count = sum(self._generation(serving, entry) != _OLDER for entry in entries)
        if count:
            trouble.breaker.released(trouble.breaker.generation, count)
            self._state.mark_ready(serving.mailbox)

    def _generation(self, serving: Serving, entry: int) -> int:
        trouble = serving.mailbox.trouble
        if trouble is None or entry < serving.boundary:
            return _OLDER
        if entry in serving.untried:
            serving.untried.discard(entry)
            return _OLDER
        return trouble.breaker.generation

    # Changes

    def _changed(self, mailbox: Mailbox, trouble: Trouble) -> None:
        state, breaker = self._state, trouble.breaker
        for serving in mailbox.members.values():
            serving.boundary = serving.next_entry
            serving.untried.clear()
        if trouble.wake is not None:
            state.timers.cancel(trouble.wake)
            trouble.wake = None
        if breaker.state == "closed":
            self._closed(mailbox, trouble)
        elif breaker.state == "open":
            self._opened(mailbox, trouble)
        else:
            state.note("breaker half-open", mailbox)
            state.mark_ready(mailbox)

    def _closed(self, mailbox: Mailbox, trouble: Trouble) -> None:
        trouble.parked = None
        if trouble.expiry is not None:
            self._state.timers.cancel(trouble.expiry)
            trouble.expiry = None
        self._state.note("breaker closed", mailbox)
        self._state.mark_ready(mailbox)

    def _opened(self, mailbox: Mailbox, trouble: Trouble) -> None:
        state = self._state
        state.counters["breakers_opened_total"] += 1
        at = trouble.breaker.half_open_at
        assert at is not None
        state.note("breaker opened", mailbox, text=f"for {at - state.now:.3g} s")
        trouble.wake = state.timers.at(at, partial(self._try_again, mailbox, trouble))
        if trouble.parked is None:
            trouble.parked = {}
        self.arrived(mailbox, list(mailbox.queued()))
        text = "its mailbox is full, and its breaker has opened"
        for record in mailbox.expired(float_info.max):
            self._ends.turn_away(mailbox, record, text)

    def _try_again(self, mailbox: Mailbox, trouble: Trouble) -> None:
        trouble.wake = None
        if not mailbox.closing:
            self.permits(mailbox)

    # Parked

    def _watch_parked(self, mailbox: Mailbox, trouble: Trouble) -> None:
        """What is parked first goes first, for it is parked for as long as any other."""
        parked = trouble.parked
        if parked:
            at = next(iter(parked.values())) + self._breaker_policy(mailbox).park_for
            trouble.expiry = self._state.timers.at(at, partial(self._expire, mailbox, trouble))

    def _expire(self, mailbox: Mailbox, trouble: Trouble) -> None:
        trouble.expiry = None
        parked = trouble.parked
        if parked is None or mailbox.closing:
            return
        limit, now = self._breaker_policy(mailbox).park_for, self._state.now
        late = list(takewhile(lambda record: parked[record] + limit <= now, parked))
        text = f"its breaker did not close within {limit:g} s (breaker policy park_for)"
        for record in late:
            parked.pop(record, None)
            if mailbox.unqueue(record):
                self._ends.fail(mailbox, record, "breaker", "breaker_open", text)
        if late:
            self._ends.admit_waiting(mailbox)
            self._state.press(mailbox)
        self._watch_parked(mailbox, trouble)
