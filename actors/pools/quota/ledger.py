"""What of one meter is taken, by whom, and who waits for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import floor

from llmgine.actors.pools.quota.messages import Share, State
from llmgine.actors.pools.quota.meters import ARRIVAL, RATES, WHOLE, Limit, Meter

Who = tuple[str, int]

# An actor that has not asked for so long, in seconds, waits for nothing.
_PATIENCE = 3.0
# While somebody waits, so many seconds' worth may be given at once: what was saved up is for bursts.
_PACED = 2.0
# Faster than the limit itself, so that what was given and not used is caught up.
_CATCHING_UP = 1.05
_SOONEST, _LATEST = 0.1, 1.0
_TINY = 1e-6


@dataclass(slots=True)
class Holder:
    """What one life of an actor has: used amounts with when they are free again, and its lease."""

    used: list[tuple[float, float]] = field(default_factory=list)
    open: float = 0.0
    lease: float = 0.0
    expires: float = 0.0
    wants: float = 0.0
    least: float = 0.0
    since: float = 0.0
    seen: float = 0.0
    answered: int = 0

    def taken(self, now: float) -> float:
        return self.open + self.lease + sum(amount for free, amount in self.used if free > now)

    def is_hungry(self, now: float) -> bool:
        return self.wants > _TINY and now - self.seen < _PATIENCE


class Ledger:
    """One meter. Whatever is granted counts as used from then on, until its holder tells better."""

    def __init__(self, meter: Meter, now: float) -> None:
        self.meter = meter
        self.limit: Limit | None = None
        self.spent = 0.0  # dollars of today
        self._is_rate = meter.of in RATES
        self._holders: dict[Who, Holder] = {}
        self._answered = 0
        self._foreign = (0.0, 0.0)  # what others than we have used, and until when that counts
        self._credit: float | None = None
        self._credited = now

    # What is heard.

    def told(self, who: Who, state: State, now: float) -> None:
        """All that the holder has now, in place of what was known of it."""
        holder = self._holders.setdefault(who, Holder())
        before = holder.taken(now)
        window = self.window
        holder.used = [(now - age + window, amount) for age, amount in state.used]
        holder.open, holder.lease = state.open, state.spare
        holder.wants, holder.least = state.wants, state.least
        holder.since, holder.seen = now - state.waited, now
        holder.answered = max(holder.answered, state.answered)
        if self._credit is not None:
            self._credit += max(0.0, before - holder.taken(now))

    def begin_anew(self, now: float) -> None:
        """Nothing is saved up: nobody knows what was used at once a moment ago."""
        self._credit, self._credited = 0.0, now

    def absent(self, who: Who, amount: float, until: float) -> None:
        """Somebody who cannot be asked any more had so much."""
        if who not in self._holders:
            self._holders[who] = Holder(used=[(until, amount)])

    def gone(self, who: Who, now: float) -> float:
        """The holder is dead: it may have used all it had until now; how much of that it had not told."""
        holder = self._holders.get(who)
        if holder is None:
            return 0.0
        untold = holder.open + holder.lease
        if self._is_rate:
            holder.used.append((now + self.window + ARRIVAL, untold))
        holder.open = holder.lease = holder.wants = 0.0
        self.tidy(now)
        return untold

    def remaining(self, amount: float, resets_in: float | None, age: float, now: float) -> None:
        """The provider says what is left; what is missing beyond our own use, somebody else has used."""
        if self.limit is None:
            return
        ours = sum(holder.taken(now) for holder in self._holders.values())
        foreign = max(0.0, self.limit.amount - amount - ours)
        until = now - age + min(self.window, self.window if resets_in is None else resets_in)
        self._foreign = (foreign, until)

    def tidy(self, now: float) -> None:
        """Leases that ran out count as used; what counts no more is forgotten."""
        for who, holder in list(self._holders.items()):
            if holder.lease and holder.expires <= now and self.meter.of != "dollars":
                if self._is_rate:
                    holder.used.append((holder.expires + self.window + ARRIVAL, holder.lease))
                holder.lease = 0.0
            holder.used = [(free, amount) for free, amount in holder.used if free > now]
            if not (holder.used or holder.open or holder.lease) and not holder.is_hungry(now):
                self._answered += holder.answered
                del self._holders[who]

    # What is decided.

    @property
    def window(self) -> float:
        return 60.0 if self.limit is None else self.limit.window

    @property
    def amount(self) -> float:
        """What the limit allows by now: a trial allows one more for each call that was answered well."""
        if self.limit is None:
            return 0.0
        if self.meter.of != "trial":
            return self.limit.amount
        answered = self._answered + sum(holder.answered for holder in self._holders.values())
        return self.limit.amount + answered

    def free(self, now: float) -> float:
        """What nobody has."""
        foreign, until = self._foreign
        taken = sum(holder.taken(now) for holder in self._holders.values())
        return self.amount - taken - self.spent - (foreign if until > now else 0.0)

    def grant(self, who: Who, expires: float, now: float) -> float:
        """Gives the holder its part of what is free: all that it wants where nobody else waits, else by
        demand, and to whom has waited longest before all others.
        """
        self.tidy(now)
        holder = self._holders.setdefault(who, Holder(seen=now))
        room = min(self.free(now), self._credited_by(now))
        others = [one for one in self._holders.values() if one is not holder and one.is_hungry(now)]
        room -= sum(one.least for one in others if one.since < holder.since)
        wants = holder.wants
        share = room * wants / (wants + sum(one.wants for one in others)) if wants else 0.0
        amount = min(wants, max(share, holder.least))
        if self.meter.of in WHOLE:
            amount = floor(amount + _TINY)
        if amount > room + _TINY or amount < max(holder.least, _TINY):
            amount = 0.0
        holder.wants -= amount
        holder.least = 0.0 if amount else holder.least
        holder.lease += amount
        holder.expires = expires
        if self._credit is not None:
            self._credit -= amount
        return amount

    def is_scarce(self, now: float) -> bool:
        """Whether somebody waits for it."""
        return any(holder.is_hungry(now) and holder.least > 0 for holder in self._holders.values())

    def again(self, who: Who, now: float) -> float:
        """In how many seconds it is worth to ask again for what was not granted."""
        holder = self._holders.get(who)
        if holder is None or not holder.wants:
            return _LATEST
        lacking = holder.least - self.free(now)
        if not self._is_rate or lacking <= 0:
            return 2 * _SOONEST
        for free, amount in sorted(one for holder in self._holders.values() for one in holder.used):
            lacking -= amount
            if lacking <= _TINY:
                return min(max(free - now, _SOONEST), _LATEST)
        return _LATEST

    def shares(self, but: Who, now: float) -> list[Share]:
        """What each other holder has, and after how long that is free, whatever becomes of the holder."""
        shares = []
        for (actor, life), holder in self._holders.items():
            amount = holder.taken(now)
            if (actor, life) != but and amount > _TINY:
                after = max((free - now for free, _ in holder.used), default=0.0)
                if holder.open or holder.lease:
                    after = max(holder.expires - now, 0.0) + self.window + ARRIVAL
                shares.append(Share(self.meter, actor, life, amount, after))
        return shares

    def known(self, who: Who, now: float) -> tuple[float, float]:
        """What a holder has, and until when it may use its lease."""
        holder = self._holders.get(who, Holder())
        return holder.taken(now), holder.expires

    def used(self, now: float) -> float:
        """What was used in the window that ends now, as far as it was told."""
        return sum(amount for holder in self._holders.values() for free, amount in holder.used if free > now)

    def statistics(self, now: float) -> dict[str, float | str | None]:
        foreign, until = self._foreign
        holders = self._holders.values()
        return {
            "limit": self.amount,
            "window": self.window,
            "source": None if self.limit is None else self.limit.source,
            "used": self.used(now) + self.spent,
            "open": sum(holder.open for holder in holders),
            "leased": sum(holder.lease for holder in holders),
            "by_others": foreign if until > now else 0.0,
            "wanted": sum(holder.wants for holder in holders if holder.is_hungry(now)),
        }

    def _credited_by(self, now: float) -> float:
        """What may be given at once.

        It is saved up to the burst while nobody waits. Whoever waits gets it at the limit's own pace, so
        that a crowd is not served in one heap each window.
        """
        if self.limit is None or not self._is_rate:
            return float("inf")
        burst = max(self.amount * self.limit.burst, 1.0)
        passed, self._credited = now - self._credited, now
        if self._credit is None:
            self._credit = burst
        least = max((holder.least for holder in self._holders.values()), default=0.0)
        pace = max(self.amount * _PACED / self.window, least, 1.0)
        ceiling = max(pace, self._credit) if self.is_scarce(now) else burst
        gained = passed * self.amount / self.window * _CATCHING_UP
        self._credit = min(self._credit + gained, max(ceiling, least), max(burst, least))
        return self._credit
