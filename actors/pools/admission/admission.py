"""Which calls an actor runs, which wait, and which it refuses. Pure.

Times are seconds of one monotonic clock, given in. What was decided about calls that waited lies in
`settled` until the shell takes it from there.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from llmgine.actors.pools.admission.limit import ConcurrencyLimit
from llmgine.actors.pools.admission.options import AdmissionOptions
from llmgine.actors.pools.admission.pace import Pace
from llmgine.actors.pools.admission.queue import FairQueue
from llmgine.providers.contracts import Priority

# Bounds of what a refused caller is told to wait, in seconds, and what it is told before anything is known.
_SOONEST, _LATEST, _UNKNOWN = 0.1, 60.0, 1.0


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a call was not let in, and when it may be: None where never here.

    `reason` is "full" where the queue is, "busy" where the call would not wait, "shed" where it had to go
    for one worth more, "draining" where nothing is taken any more.
    """

    reason: str
    retry_after: float | None


@dataclass(slots=True, eq=False)
class Ticket:
    """One call from `enter` until `leave`: it waits, runs once `tried` is a time, or `refused` says why not.

    `tried` is when its present try at the provider began.
    """

    session: str
    priority: Priority
    expires: float
    tried: float | None = None
    refused: Refused | None = None
    is_last: bool = False  # it took the last place, so the limit is what binds


class Admission:
    """Never lets more than its limit run at once."""

    def __init__(self, options: AdmissionOptions, max_in_flight: int) -> None:
        self.limit = ConcurrencyLimit(max_in_flight, options.backoff if options.adaptive else None)
        self.in_flight = 0
        self.settled: list[Ticket] = []
        self._queue: FairQueue[Ticket] = FairQueue(options.waiting, options.batch_every)
        self._pace = Pace()
        self._counts: Counter[str] = Counter()
        self._closed = False

    @property
    def load(self) -> int:
        """Calls that run or wait."""
        return self.in_flight + len(self._queue)

    def enter(
        self, session: str, priority: Priority, now: float, expires: float, *, queue: bool = True
    ) -> Ticket | Refused:
        """A ticket that runs at once, or waits until `expires`, which it does not without `queue`; or why
        the call cannot be taken."""
        if self._closed:
            return self._refused("draining", now)
        ticket = Ticket(session, priority, expires)
        if not self._queue and self.in_flight < self.limit.value:
            self._admit(ticket, now)
            return ticket
        if expires <= now or not queue:
            return self._refused("busy", now)
        displaced = self._queue.put(ticket)
        if displaced is ticket:
            return self._refused("full", now)
        self._counts["queued"] += 1
        if displaced is not None:
            displaced.refused = self._refused("shed", now)
            self.settled.append(displaced)
        self._fill(now)
        return ticket

    def leave(self, ticket: Ticket, now: float) -> None:
        """The call is over, or gives up waiting."""
        if ticket.tried is not None:
            self.in_flight -= 1
            self._pace.ended(now)
            self._fill(now)
        elif self._queue.remove(ticket):
            self._counts["expired" if ticket.expires <= now else "given_up"] += 1

    def answered(self, ticket: Ticket, now: float) -> None:
        """The provider has begun to answer."""
        if ticket.is_last:
            self.limit.answered()
            self._fill(now)

    def overloaded(self, ticket: Ticket, now: float) -> None:
        """The provider could not bear the ticket's present try; a next one would begin now."""
        assert ticket.tried is not None
        self.limit.overloaded(ticket.tried, now)
        ticket.tried = now

    def close(self, now: float) -> None:
        """Nothing is taken any more; what waits is refused, and what runs goes on."""
        self._closed = True
        for ticket in self._queue.clear():
            ticket.refused = self._refused("draining", now)
            self.settled.append(ticket)

    def retry_after(self, now: float) -> float:
        """Seconds in which what waits now will have been worked off, as fast as calls end lately."""
        rate = self._pace.rate(now)
        return min(max((len(self._queue) + 1) / rate, _SOONEST), _LATEST) if rate else _UNKNOWN

    def statistics(self, now: float) -> dict[str, Any]:
        """How it stands, and what became of all calls so far."""
        waiting = {priority: self._queue.waiting(priority) for priority in ("interactive", "batch")}
        return {
            "limit": self.limit.value,
            "max_in_flight": self.limit.ceiling,
            "in_flight": self.in_flight,
            "waiting": waiting,
            "ended_per_second": self._pace.rate(now),
            "decreases": self.limit.decreases,
            **{name: self._counts[name] for name in _COUNTED},
        }

    def _admit(self, ticket: Ticket, now: float) -> None:
        self.in_flight += 1
        ticket.tried = now
        ticket.is_last = self.in_flight >= self.limit.value
        self._counts["admitted"] += 1

    def _fill(self, now: float) -> None:
        while self._queue and self.in_flight < self.limit.value:
            ticket, expired = self._queue.take(now)
            self._counts["expired"] += len(expired)
            if ticket is not None:
                self._admit(ticket, now)
                self.settled.append(ticket)

    def _refused(self, reason: str, now: float) -> Refused:
        self._counts[reason] += 1
        return Refused(reason, None if reason == "draining" else self.retry_after(now))


_COUNTED = ("admitted", "queued", "full", "busy", "shed", "expired", "given_up", "draining")
