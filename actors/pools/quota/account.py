"""What one actor has and uses of one meter."""

from __future__ import annotations

from math import exp, inf
from typing import NamedTuple

from llmgine.actors.pools.quota.messages import State
from llmgine.actors.pools.quota.meters import (
    ARRIVAL,
    LEVELS,
    ON_ANSWER,
    ON_ARRIVAL,
    WHOLE,
    Limit,
    Meter,
    Need,
)
from llmgine.actors.pools.quota.tally import Tally

_TINY = 1e-6
# Where so many more calls may be made at once, nobody waits.
_AMPLE = 64.0


class Held(NamedTuple):
    """What a call took of one account, how much of that counts on arrival, and whether a lease gave it.

    It stays what it is when the limit changes meanwhile.
    """

    amount: float
    arriving: float
    leased: bool


class Account:
    """One meter in one actor. Without a limit it only counts."""

    def __init__(self, meter: Meter, limit: Limit | None, now: float) -> None:
        self.meter = meter
        self.limit = limit
        self.limited_at = now
        self.tally = Tally(60.0 if limit is None else limit.window)
        self.open = 0.0
        self.expires = 0.0
        self.answered = 0
        self.scarce = False
        self.free: float | None = None  # what nobody has, as far as it was told
        self.touched = now
        self._spare = 0.0
        self._flow = 0.0  # what was taken lately, fading

    def needs(self, need: Need) -> float:
        """What a call takes of it; never more than the whole limit."""
        amount = need.of(self.meter.of)
        return amount if self.limit is None or self.meter.of in WHOLE else min(amount, self.limit.amount)

    def spare(self, now: float) -> float:
        """What may be used of its lease."""
        return self._spare if now < self.expires else 0.0

    @property
    def is_ample(self) -> bool:
        """Whether so many more calls may be made at once that no other actor lacks what this one has."""
        return self.meter.of in LEVELS and self.free is not None and self.free >= _AMPLE

    def lacks(self, need: Need, now: float) -> bool:
        return self.limit is not None and self.spare(now) + _TINY < self.needs(need)

    def limited(self, limit: Limit | None, now: float) -> None:
        """Its limit is known from now on, or none is."""
        if limit is not None and limit.window != self.tally.window:
            self.tally = Tally(limit.window)
        if (limit is None) != (self.limit is None):
            self._spare = 0.0
        self.limit = limit
        self.limited_at = now

    def leased(self, amount: float, expires: float, free: float, *, scarce: bool) -> None:
        """It may use so much more, and all its lease until then."""
        self._spare = max(self._spare, 0.0) + amount
        self.expires, self.free, self.scarce = expires, free, scarce

    def keep(self, most: float, now: float) -> float:
        """Gives back what of its lease is more than that; what it keeps."""
        self._spare = max(0.0, min(self.spare(now), most))
        return self._spare

    # A call's way.

    def take(self, need: Need, now: float, horizon: float) -> Held:
        amount = self.needs(need)
        held = Held(amount, self._arriving(need, amount), self.limit is not None)
        self._flow = self.flow(now, horizon) + amount
        self.touched = now
        if held.leased:
            self._spare -= amount
        if held.arriving:
            self.tally.add(held.arriving, now + ARRIVAL)
        self.open += amount - held.arriving
        return held

    def answer(self, held: Held, taken: float, now: float, *, well: bool) -> None:
        """The provider has counted the call by now, which sets the time of what is counted on arrival."""
        if held.arriving and now < taken + ARRIVAL:
            self.tally.add(-held.arriving, taken + ARRIVAL)
            self.tally.add(held.arriving, now)
        if self.meter.of == "trial":
            self.open -= 1
            self.answered += well
            self._return(held, 1.0, now)

    def release(self, held: Held, taken: float, now: float) -> None:
        """Nothing was sent."""
        self.tally.add(-held.arriving, taken + ARRIVAL)
        self.open = max(0.0, self.open - (held.amount - held.arriving))
        self._return(held, held.amount, now)

    def settle(self, held: Held, used: Need, counted: float, now: float) -> None:
        """The call is over: what it used stands in place of what it was to need."""
        of = self.meter.of
        if of == "trial":
            return
        self.open = max(0.0, self.open - (held.amount - held.arriving))
        if of in LEVELS:
            self._return(held, 1.0, now)
            return
        arriving = used.input if of == "tokens" else used.of(of) if of in ON_ARRIVAL else 0.0
        answering = used.output if of in ON_ANSWER else 0.0
        self.tally.add(arriving - held.arriving, min(counted, now) if arriving > held.arriving else counted)
        if answering:
            self.tally.spread(answering, counted, max(counted, now))
        spent = used.dollars if of == "dollars" else 0.0
        self._return(held, held.amount - arriving - answering - spent, now)
        self.touched = now

    # What the owner is asked for.

    def flow(self, now: float, horizon: float) -> float:
        """About what was taken in the last `horizon` seconds."""
        return self._flow * exp((self.touched - now) / horizon) if now > self.touched else self._flow

    def ahead(self, now: float, horizon: float) -> float:
        """What is worth having before it is needed: as much again as was used lately, none after a rest."""
        if now - self.touched > 3 * horizon:
            return 0.0
        flow = self.flow(now, horizon)
        return min(flow, max(1.0, self.open / 4)) if self.meter.of in LEVELS else flow

    def is_idle(self, now: float) -> bool:
        """Whether nothing of it counts any more."""
        return not self.open and not self.spare(now) and not self.tally.total(now)

    def state(self, wants: float, least: float, waited: float, now: float) -> State:
        used = () if self.meter.of in LEVELS or self.meter.of == "dollars" else tuple(self.tally.aged(now))
        return State(
            self.meter, used, max(0.0, self.open), self.spare(now), wants, least, waited, self.answered
        )

    def _arriving(self, need: Need, amount: float) -> float:
        """What of a call's need is counted when it arrives."""
        if self.meter.of == "tokens":
            return min(need.input, amount)
        return amount if self.meter.of in ON_ARRIVAL else 0.0

    def _return(self, held: Held, amount: float, now: float) -> None:
        """What was leased and not used may be used by the next; what was used beyond is taken from it."""
        if self.limit is not None and now < self.expires and (held.leased or amount < 0):
            # A trial comes to allow more than its limit, which is what it began with.
            most = inf if self.meter.of == "trial" else self.limit.amount
            self._spare = max(0.0, min(self._spare + amount, most))
