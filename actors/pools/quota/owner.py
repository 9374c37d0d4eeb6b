"""Who shares out the limits of all keys between the actors that use them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from llmgine.actors.pools.quota.ledger import Ledger, Who
from llmgine.actors.pools.quota.messages import Ask, Grant, Granted, Refused, Share, Told
from llmgine.actors.pools.quota.meters import LEVELS, MINUTE, RATES, Limit, Meter, day_of
from llmgine.actors.pools.quota.spending import Cost, Spending

# A refusal without a hint keeps a key from being used for so long, in seconds.
_PAUSE = 1.0
# How long it is known of an actor that it is dead, in seconds.
_REMEMBERED = 600.0
# A limit that is guessed from refusals: this part of what was used before, and its growth in the first
# window in which it holds, which doubles with each further one, up to the last figure.
_GUESS, _GROWTH, _FASTEST = 0.9, 0.05, 0.5
# So few calls in a window tell nothing of a limit: the provider may just have been busy.
_FEW = 8.0


class _Guess(NamedTuple):
    """When a guess was made or moved, and by what part it grows next."""

    since: float
    growth: float


class QuotaOwner:
    """Leases slices of each limit, so that all actors together keep it in every window.

    What is leased counts as used from the grant on, until a window after it was used, or its lease ran
    out. So a known limit holds whoever dies, and whatever is lost on the way. `epoch` is the time of day,
    in seconds since 1970, at which the clock stood at 0.
    """

    def __init__(
        self,
        settings: Mapping[Meter, Limit],
        *,
        lease: float = 8.0,
        trial: float = 8.0,
        epoch: float = 0.0,
    ) -> None:
        self.spending = Spending()
        self._settings = dict(settings)
        self._lease = lease
        self._trial = trial
        self._epoch = epoch
        self._told: dict[Meter, tuple[Limit, float]] = {}  # and when
        self._guessed: dict[Meter, _Guess] = {}
        self.ledgers: dict[Meter, Ledger] = {}
        self._pauses: dict[tuple[str, str], float] = {}
        self._lives: dict[str, tuple[int, int, int]] = {}  # life, number of its last ask, and last refusal
        self._running: dict[str, int] = {}
        self._dead: dict[str, tuple[int, float]] = {}  # the life that ended, and when

    def change(self, settings: Mapping[Meter, Limit], *, lease: float, trial: float) -> None:
        """Other limits are set from now on; what was learned, leased and used stays."""
        self._settings = dict(settings)
        self._lease = lease
        self._trial = trial

    # What actors tell.

    def ask(self, ask: Ask, now: float) -> Grant:
        """What the actor may use from now on. An ask that was overtaken by a later one gets nothing."""
        if not self._hear(ask, now):
            return Grant(ask.number, self._lease, 1.0)
        who = (ask.actor, ask.life)
        granted: list[Granted] = []
        again, others = 1.0, list[Share]()
        for state in ask.states:
            meter = state.meter
            ledger = self.ledgers[meter]
            if ledger.limit is None or (meter.of == "trial" and self._is_known(meter)):
                continue
            amount = 0.0 if self._paused(meter, now) else ledger.grant(who, now + self._lease, now)
            free, scarce = ledger.free(now), ledger.is_scarce(now)
            granted.append(Granted(meter, amount, ledger.limit, free, scarce))
            if state.wants > amount:
                again = min(again, ledger.again(who, now))
            if meter.of in RATES:
                others += ledger.shares(who, now)
        keys = {state.meter.key for state in ask.states}
        pauses = [
            (key, group, until - now)
            for (key, group), until in self._pauses.items()
            if key in keys and until > now
        ]
        return Grant(ask.number, self._lease, again, tuple(granted), tuple(pauses), tuple(others))

    def restore(self, asks: Iterable[Ask], now: float) -> None:
        """What the living actors tell after this owner's restart, and what they know of dead ones."""
        told = list(asks)
        for ask in told:
            self._hear(ask, now)
        heard = {(ask.actor, ask.life) for ask in told}
        newest: dict[tuple[Meter, str, int], Share] = {}
        for share in (share for ask in told for share in ask.others):
            name = (share.meter, share.actor, share.life)
            if name not in newest or share.age < newest[name].age:
                newest[name] = share
        for share in newest.values():
            if (share.actor, share.life) not in heard:
                ledger = self._ledger(share.meter, now)
                ledger.absent((share.actor, share.life), share.amount, now - share.age + share.after)
        for ledger in self.ledgers.values():
            ledger.begin_anew(now)

    def gone(self, actor: str, now: float) -> None:
        """The actor will not come back under any life that was heard of; it is heard no more."""
        self._running.pop(actor, None)
        known = self._lives.pop(actor, None)
        if known is not None:
            self._end((actor, known[0]), now)
            self._dead = {name: dead for name, dead in self._dead.items() if now - dead[1] < _REMEMBERED}
            self._dead[actor] = (known[0], now)

    # What others ask.

    def usable(self, now: float) -> float | None:
        """How many calls at once the limits allow; more actors would only wait. None is any number."""
        allowed = [
            ledger.amount
            for meter, ledger in self.ledgers.items()
            if meter.of == "concurrency" and meter.group == "" and ledger.limit is not None
        ]
        if any(
            meter.of not in LEVELS and ledger.limit is not None and ledger.is_scarce(now)
            for meter, ledger in self.ledgers.items()
        ):
            allowed.append(float(sum(self._running.values())))
        return min(allowed, default=None)

    def statistics(self, now: float) -> dict[str, Any]:
        """Each limit by key, group and what it limits; plain values."""
        limits: dict[str, Any] = {}
        for meter, ledger in sorted(self.ledgers.items()):
            if ledger.limit is not None:
                ledger.tidy(now)
                groups = limits.setdefault(meter.key, {})
                groups.setdefault(meter.group, {})[meter.of] = ledger.statistics(now)
        pauses = {
            f"{key} {group}".strip(): until - now
            for (key, group), until in self._pauses.items()
            if until > now
        }
        return {"limits": limits, "pauses": pauses}

    # The parts of it.

    def _hear(self, ask: Ask, now: float) -> bool:
        """Whether this is the newest word of the newest life."""
        life, number, refusal = self._lives.get(ask.actor, (ask.life, -1, 0))
        if ask.life < life or (ask.life == life and ask.number <= number):
            return False
        if ask.life <= self._dead.get(ask.actor, (-1, 0.0))[0]:
            return False
        if ask.life > life:
            self._end((ask.actor, life), now)
            refusal = 0
        last = max((one.number for one in ask.refused), default=0)
        self._lives[ask.actor] = (ask.life, ask.number, max(refusal, last))
        self._running[ask.actor] = ask.running
        self.spending.begin(day_of(now, self._epoch))
        for day, key, group, dollars in ask.spent:
            self.spending.told(Cost(day, key, group, ask.actor, ask.life, dollars))
        for state in ask.states:
            self._ledger(state.meter, now).told((ask.actor, ask.life), state, now)
        for told in ask.told:
            self._learn(told, now)
        for refused in ask.refused:
            if refused.number > refusal:
                self._refuse(refused, now)
        return True

    def _ledger(self, meter: Meter, now: float) -> Ledger:
        ledger = self.ledgers.get(meter)
        if ledger is None:
            ledger = self.ledgers[meter] = Ledger(meter, now)
        ledger.limit = self._limit(meter, now)
        if meter.of == "dollars":
            ledger.spent = self.spending.total(meter)
        return ledger

    def _limit(self, meter: Meter, now: float) -> Limit | None:
        limits = [self._settings[meter]] if meter in self._settings else []
        if meter in self._told:
            limits.append(self._told[meter][0])
        if meter in self._guessed and meter in self.ledgers:
            limits.append(self._grown(meter, now))
        if meter.of == "trial":
            limits.append(Limit(self._trial, source="trial"))
        strictest = limits[0] if limits else None
        for limit in limits[1:]:
            assert strictest is not None
            strictest = strictest.narrowed(limit)
        return strictest

    def _is_known(self, meter: Meter) -> bool:
        """Whether any rate of this key and group is known, of whatever source."""
        return any(
            (one := Meter(meter.key, meter.group, of)) in self._settings
            or one in self._told
            or one in self._guessed
            for of in RATES
        )

    def _learn(self, told: Told, now: float) -> None:
        heard = now - told.age
        if told.meter in self._told and self._told[told.meter][1] > heard:
            return
        self._told[told.meter] = (Limit(told.amount, told.window, source="provider"), heard)
        self._guessed.pop(told.meter, None)
        ledger = self._ledger(told.meter, now)
        if told.remaining is not None:
            ledger.remaining(told.remaining, told.resets_in, told.age, now)

    def _refuse(self, refused: Refused, now: float) -> None:
        place = (refused.key, refused.group)
        pause = _PAUSE if refused.retry_after is None else refused.retry_after
        self._pauses[place] = max(self._pauses.get(place, 0.0), now - refused.age + pause)
        meter = Meter(refused.key, refused.group, "requests")
        if pause > MINUTE or (meter not in self._guessed and self._is_known(meter)):
            return
        ledger = self._ledger(meter, now)
        if ledger.used(now) < _FEW:
            return
        used, limit = _GUESS * ledger.used(now), ledger.limit
        if limit is None:
            limit = Limit(used, source="refusals")
        elif used < limit.amount:
            limit = replace(limit, amount=used)
        ledger.limit = limit
        self._guessed[meter] = _Guess(now, _GROWTH)

    def _grown(self, meter: Meter, now: float) -> Limit:
        """A guess that has held for a whole window while somebody waited is tried higher."""
        ledger = self.ledgers[meter]
        limit = ledger.limit or Limit(1.0, source="refusals")
        guess = self._guessed[meter]
        if now - guess.since >= limit.window and ledger.is_scarce(now):
            self._guessed[meter] = _Guess(now, min(2 * guess.growth, _FASTEST))
            limit = replace(limit, amount=limit.amount * (1 + guess.growth) + 1.0)
        return limit

    def _paused(self, meter: Meter, now: float) -> bool:
        return any(
            until > now
            for (key, group), until in self._pauses.items()
            if key == meter.key and group in ("", meter.group)
        )

    def _end(self, who: Who, now: float) -> None:
        for meter, ledger in self.ledgers.items():
            untold = ledger.gone(who, now)
            if untold and meter.of == "dollars":
                day = day_of(now, self._epoch)
                self.spending.add(Cost(day, meter.key, meter.group, *who, untold))
                ledger.spent = self.spending.total(meter)
