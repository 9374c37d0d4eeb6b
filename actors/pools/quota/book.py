"""What one actor may use of each key, and which of its calls wait for more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from llmgine.actors.pools.quota.account import Account, Held
from llmgine.actors.pools.quota.learning import Lesson
from llmgine.actors.pools.quota.line import Line, Waiting
from llmgine.actors.pools.quota.messages import Ask, Grant, Refused, Share, State, Told
from llmgine.actors.pools.quota.meters import ARRIVAL, DAY, RATES, Limit, Meter, Need, Source, Used, day_of
from llmgine.actors.pools.quota.plan import Plan

# Between two asks, in seconds: at least, while somebody waits for what this actor may free, and else.
_GAP, _SCARCE_GAP = 0.05, 0.25
# Dollars are told that soon after they were spent, in seconds, for they are to be remembered.
_SPENT_GAP = 0.5
# What the provider said of what is left is told while it is as fresh as this, in seconds.
_FRESH = 2.0
# Accounts of what is not used are forgotten after so long, in seconds.
_FORGOTTEN = 900.0
_FIRST_LEASE = 8.0
# What is suggested where nothing says when there will be room, in seconds.
_SOON = 1.0
_UNKNOWN = Limit(0.0, source="trial")


@dataclass(eq=False, slots=True)
class Reservation:
    """What a call may use of one key; it is answered, then settled, each once at most."""

    key: str
    model: str
    need: Need
    taken: float
    held: tuple[tuple[Meter, Held], ...]
    counted: float
    answered: bool = False
    settled: bool = False


@dataclass(slots=True)
class _Fresh:
    """What the provider said lately of one limit."""

    limit: Limit
    heard: float
    remaining: float | None
    resets_in: float | None


@dataclass(slots=True)
class _Asked:
    """The ask that has no answer yet."""

    number: int
    at: float
    refusals: int
    meters: frozenset[Meter] = field(default_factory=frozenset)


class LeaseBook:
    """The leases of one life of an actor.

    A call takes what it needs without a round trip as long as a lease covers it; `ask` renews leases before
    they end. What is not leased is not used: while the owner is away, calls go on with what is there and
    then wait.
    """

    def __init__(self, actor: str, life: int, plan: Plan, *, epoch: float = 0.0) -> None:
        self.spent: dict[tuple[int, str, str], float] = {}
        self._actor, self._life, self._plan, self._epoch = actor, life, plan, epoch
        self.accounts: dict[Meter, Account] = {}
        self._line = Line()
        self._pauses: dict[tuple[str, str], float] = {}
        self._heard: dict[Meter, _Fresh] = {}
        self._refused: list[tuple[int, str, str, float, float | None]] = []
        self._refusals = 0
        self._others: tuple[float, tuple[Share, ...]] = (0.0, ())
        self._lease = _FIRST_LEASE
        self._number = 0
        self._asked: _Asked | None = None
        self._asked_at = float("-inf")
        self._again = 0.0
        self._news = False
        self._running = 0
        self._unsaid = False  # dollars were spent since the last ask

    # A call's way.

    def take(self, keys: Sequence[str], model: str, need: Need, now: float) -> Reservation | None:
        """What the call needs, of the first of the keys that has it; None where it must wait."""
        for key in keys:
            if self._hindrance(key, model, need, self._line.blocked, now) is None:
                return self._reserve(key, model, need, now)
        return None

    def wait(self, waiting: Waiting) -> None:
        """The call stands in line, behind those that came before and before those that can wait."""
        self._line.add(waiting)
        for key in waiting.keys:
            lacking = self._hindrance(key, waiting.model, waiting.need, set(), waiting.since)
            account = None if lacking is None else self.accounts.get(lacking)
            # The owner was not asked for it yet, or had more than enough: it is asked at once.
            self._news |= account is not None and (account.free is None or account.is_ample)

    def leave(self, waiting: Waiting) -> None:
        """The call waits no more."""
        self._line.remove(waiting)

    def serve(self, now: float) -> list[tuple[Waiting, Reservation]]:
        """Those of the line that need wait no more."""
        served: list[tuple[Waiting, Reservation]] = []

        def attempt(waiting: Waiting, key: str, blocked: set[Meter]) -> Meter | None:
            hindrance = self._hindrance(key, waiting.model, waiting.need, blocked, now)
            if hindrance is None:
                served.append((waiting, self._reserve(key, waiting.model, waiting.need, now)))
            return hindrance

        if len(self._line):
            self._line.serve(attempt)
        return served

    def release(self, reservation: Reservation, now: float) -> None:
        """Nothing was sent."""
        if not reservation.settled:
            reservation.settled = reservation.answered = True
            self._running -= 1
            for account, held in self._of(reservation):
                account.release(held, reservation.taken, now)

    def answered(self, reservation: Reservation, now: float, *, well: bool = True) -> None:
        """The answer has begun, or the call was refused."""
        if reservation.answered:
            return
        reservation.answered = True
        reservation.counted = min(now, reservation.taken + ARRIVAL)
        for account, held in self._of(reservation):
            account.answer(held, reservation.taken, now, well=well)
            self._news |= account.meter.of == "trial" and bool(self._line or not account.is_ample)

    def settle(self, reservation: Reservation, used: Used, now: float) -> None:
        """The call is over, and has used that."""
        if reservation.settled:
            return
        self.answered(reservation, now, well=False)
        reservation.settled = True
        self._running -= 1
        need = used.instead_of(reservation.need)
        for account, held in self._of(reservation):
            account.settle(held, need, reservation.counted, now)
            if account.meter.of == "dollars" and need.dollars:
                self._unsaid = True
                place = (day_of(now, self._epoch), account.meter.key, account.meter.group)
                self.spent[place] = self.spent.get(place, 0.0) + need.dollars

    # What the provider says.

    def learned(self, lesson: Lesson, now: float) -> None:
        """The provider told of a limit: from now on it holds. Its window never gets shorter by a new word."""
        meter, limit, remaining, resets_in = lesson
        before = self._heard.get(meter)
        if before is not None and before.limit.amount == limit.amount:
            limit = replace(limit, window=max(limit.window, before.limit.window))
        self._heard[meter] = _Fresh(limit, now, remaining, resets_in)
        account = self._account(meter, now)
        if account.limit != limit and meter not in self._plan.settings:
            account.limited(limit, now)
            self._news = True
        self.accounts.pop(Meter(meter.key, meter.group, "trial"), None)

    def refused(self, key: str, model: str, retry_after: float | None, now: float) -> None:
        """The provider refused a call as one too many."""
        group = self._plan.group(key, model)
        self._refusals += 1
        self._refused = [*self._refused[-31:], (self._refusals, key, group, now, retry_after)]
        self._pause(key, group, now + (1.0 if retry_after is None else retry_after))
        self._news = True

    def paused(self, key: str, model: str, now: float) -> bool:
        return bool(self._pauses) and any(
            self._pauses.get((key, group), 0.0) > now for group in ("", self._plan.group(key, model))
        )

    # What the owner is asked, and answers.

    def due(self, now: float) -> float | None:
        """When the owner is to be asked next; None where there is nothing to ask."""
        if self._asked is not None:
            return None
        earliest = self._asked_at + _GAP
        if self._news:
            return earliest
        moments = [self._asked_at + self._again] if len(self._line) else []
        if self._unsaid:
            moments.append(self._asked_at + _SPENT_GAP)
        horizon = self._horizon
        for account in self.accounts.values():
            if account.limit is None:
                continue
            spare = account.spare(now)
            if account.ahead(now, horizon) > 2 * spare:
                moments.append(self._asked_at + max(self._again, _SCARCE_GAP))
            elif account.scarce and (spare or account.open):
                moments.append(self._asked_at + _SCARCE_GAP)
            elif spare or account.open:
                moments.append(self._asked_at + self._lease / 2)
        return max(earliest, min(moments)) if moments else None

    def wake(self, now: float) -> float | None:
        """When a pause ends for which a call waits, the first of them; None where none does."""
        if not self._pauses:
            return None
        ends = [
            now + self.pause_of(key, waiting.model, now)
            for waiting in self._line
            for key in waiting.keys
            if self.paused(key, waiting.model, now)
        ]
        return min(ends, default=None)

    def ask(self, now: float) -> Ask:
        """All that the owner must know, and what this actor wants; leases are given back as far as they
        are not needed here and may be elsewhere.
        """
        self._number += 1
        states = self._states(now)
        self._asked = _Asked(self._number, now, self._refusals, frozenset(one.meter for one in states))
        self._asked_at, self._news, self._unsaid = now, False, False
        return self._told(states, now)

    def report(self, now: float) -> Ask:
        """As `ask`, without wanting anything: what an owner that begins anew must know."""
        return self._told([account.state(0.0, 0.0, 0.0, now) for account in self._counting(now)], now)

    def granted(self, grant: Grant, now: float) -> None:
        """The answer to the latest ask; one to an earlier ask comes too late and changes nothing."""
        asked = self._asked
        if asked is None or grant.number != asked.number:
            return
        self._asked = None
        self._lease, self._again = grant.lease, grant.again
        self._refused = [one for one in self._refused if one[0] > asked.refusals]
        self._others = (now, grant.others)
        for key, group, seconds in grant.pauses:
            self._pause(key, group, now + seconds)
        limited = {one.meter for one in grant.granted}
        for one in grant.granted:
            account = self._account(one.meter, now)
            if account.limit != one.limit and account.limited_at <= asked.at:
                account.limited(one.limit, asked.at)
            account.leased(one.amount, asked.at + grant.lease, one.free, scarce=one.scarce)
        for meter in asked.meters - limited:
            self._unlimited(meter, asked.at)

    def unanswered(self, now: float) -> None:
        """The ask was lost, or the owner is away."""
        self._asked = None
        self._again = max(self._again, _SCARCE_GAP)

    # Statistics, and reasons.

    @property
    def waits(self) -> int:
        """How many calls wait."""
        return len(self._line)

    def limit_of(self, meter: Meter) -> Limit | None:
        account = self.accounts.get(meter)
        return None if account is None else account.limit

    def pause_of(self, key: str, model: str, now: float) -> float:
        """Seconds for which nothing is sent with this key to this model."""
        groups = ("", self._plan.group(key, model))
        return max(0.0, *(self._pauses.get((key, group), 0.0) - now for group in groups))

    def beyond(self, key: str, model: str, need: Need) -> tuple[Meter, Limit] | None:
        """A limit that is smaller than what the one call needs; its answer can be shorter than expected."""
        asked = Need(need.input, 0.0, need.dollars)
        for meter in self._plan.meters(key, model):
            limit = self.limit_of(meter)
            if limit is not None and meter.of in RATES - {"requests"} and asked.of(meter.of) > limit.amount:
                return meter, limit
        return None

    def vain(self, now: float) -> list[Waiting]:
        """The calls that wait for what will not be there before they give up."""
        return [one for one in self._line if one.since < now and now + self._soonest(one, now) >= one.until]

    def seconds(self, waiting: Waiting, now: float) -> float:
        """After which time it is worth to try again, as far as that is known."""
        return max(self._soonest(waiting, now), self._again, _SOON)

    def _soonest(self, waiting: Waiting, now: float) -> float:
        """Seconds for which no key can be used: after a refusal, or as the day's dollars are spent."""
        return min(
            max(self.pause_of(key, waiting.model, now), self._until_tomorrow(key, waiting, now))
            for key in waiting.keys
        )

    def _until_tomorrow(self, key: str, waiting: Waiting, now: float) -> float:
        for meter in self._plan.meters(key, waiting.model):
            account = self.accounts.get(meter) if meter.of == "dollars" else None
            if account is not None and account.free is not None:
                left = account.free + account.open + account.spare(now)
                if left < account.needs(waiting.need):
                    return DAY - (now + self._epoch) % DAY
        return 0.0

    def statistics(self, now: float) -> dict[str, object]:
        """Plain values."""
        return {
            "running": self._running,
            "waiting": len(self._line),
            "limits": {
                f"{meter.key} {meter.group} {meter.of}".replace("  ", " "): {
                    "limit": None if account.limit is None else account.limit.amount,
                    "leased": account.spare(now),
                    "open": account.open,
                    "used": account.tally.total(now),
                }
                for meter, account in sorted(self.accounts.items())
                if account.limit is not None
            },
        }

    # The parts of it.

    @property
    def _horizon(self) -> float:
        return self._lease / 4

    def _hindrance(self, key: str, model: str, need: Need, blocked: set[Meter], now: float) -> Meter | None:
        """What keeps a call from being sent; a refusal that is waited out stands for all requests."""
        for meter in self._meters(key, model):
            if meter in blocked or self._account(meter, now).lacks(need, now):
                return meter
        if self.paused(key, model, now):
            return Meter(key, self._plan.group(key, model), "requests")
        return None

    def _meters(self, key: str, model: str) -> list[Meter]:
        """What a call runs past by now: a trial ends when a limit is known."""
        meters = self._plan.meters(key, model)
        return [meter for meter in meters if meter.of != "trial" or not self._is_known(meter)]

    def _reserve(self, key: str, model: str, need: Need, now: float) -> Reservation:
        held = tuple(
            (meter, self._account(meter, now).take(need, now, self._horizon))
            for meter in self._meters(key, model)
        )
        self._running += 1
        return Reservation(key, model, need, now, held, now + ARRIVAL)

    def _is_known(self, trial: Meter) -> bool:
        """Whether any rate of that key and group has a limit."""
        return any(
            (account := self.accounts.get(Meter(trial.key, trial.group, of))) is not None
            and account.limit is not None
            for of in RATES
        )

    def _account(self, meter: Meter, now: float) -> Account:
        account = self.accounts.get(meter)
        if account is None:
            limit = self._plan.settings.get(meter, _UNKNOWN if meter.of == "trial" else None)
            account = self.accounts[meter] = Account(meter, limit, now)
        return account

    def _of(self, reservation: Reservation) -> Iterable[tuple[Account, Held]]:
        return [(self.accounts[meter], held) for meter, held in reservation.held if meter in self.accounts]

    def _pause(self, key: str, group: str, until: float) -> None:
        self._pauses[key, group] = max(self._pauses.get((key, group), 0.0), until)

    def _unlimited(self, meter: Meter, asked: float) -> None:
        account = self.accounts.get(meter)
        if account is None or account.limited_at > asked or meter in self._plan.settings:
            return
        if meter.of == "trial":
            del self.accounts[meter]
        elif account.limit is not None:
            account.limited(None, asked)

    def _counting(self, now: float) -> list[Account]:
        """The accounts of which anything counts; those long out of use are forgotten."""
        counting = []
        for meter, account in list(self.accounts.items()):
            if not account.is_idle(now):
                counting.append(account)
            elif now - account.touched > _FORGOTTEN:
                del self.accounts[meter]
                self._heard.pop(meter, None)
        return counting

    def _states(self, now: float) -> list[State]:
        demand = self._line.demand(lambda key, model, need: self._needs(key, model, need, now))
        states = []
        accounts = {one.meter: one for one in self._counting(now)}
        accounts.update({meter: self._account(meter, now) for meter in demand})
        for account in accounts.values():
            needed, head, since = demand.get(account.meter, (0.0, 0.0, now))
            if account.limit is None:
                states.append(account.state(0.0, 0.0, 0.0, now))
                continue
            wanted = needed + account.ahead(now, self._horizon)
            kept = account.spare(now) if account.is_ample else account.keep(wanted, now)
            least = head if head > kept else 0.0
            states.append(account.state(max(0.0, wanted - kept, least), least, now - since, now))
        return states

    def _needs(self, key: str, model: str, need: Need, now: float) -> list[tuple[Meter, float]]:
        return [(meter, self._account(meter, now).needs(need)) for meter in self._meters(key, model)]

    def _told(self, states: Sequence[State], now: float) -> Ask:
        told = []
        for meter, fresh in self._heard.items():
            is_fresh = now - fresh.heard <= _FRESH
            told.append(
                Told(
                    meter,
                    fresh.limit.amount,
                    fresh.limit.window,
                    now - fresh.heard,
                    fresh.remaining if is_fresh else None,
                    fresh.resets_in if is_fresh else None,
                )
            )
        for meter, account in self.accounts.items():
            limit = account.limit
            provider: Source = "provider"
            if limit is not None and limit.source == provider and meter not in self._heard:
                told.append(Told(meter, limit.amount, limit.window, now - account.limited_at))
        at, others = self._others
        today = day_of(now, self._epoch)
        self.spent = {place: spent for place, spent in self.spent.items() if place[0] >= today - 1}
        return Ask(
            self._actor,
            self._life,
            self._number,
            tuple(states),
            tuple(told),
            tuple(
                Refused(number, key, group, now - when, retry_after)
                for number, key, group, when, retry_after in self._refused
            ),
            tuple((*place, spent) for place, spent in sorted(self.spent.items())),
            tuple(replace(one, age=now - at + one.age) for one in others),
            self._running,
        )
