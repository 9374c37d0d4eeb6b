"""Books and owners with one mistake each, which the checks must find."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from llmgine.actors.pools.quota.book import LeaseBook, Reservation
from llmgine.actors.pools.quota.messages import Ask, Grant
from llmgine.actors.pools.quota.meters import Need, Used
from llmgine.actors.pools.quota.owner import QuotaOwner


class LeasesForEver(LeaseBook):
    """What was leased is used however long ago that was."""

    def granted(self, grant: Grant, now: float) -> None:
        super().granted(replace(grant, lease=1e9), now)


class KeepsWhatItGaveBack(LeaseBook):
    """An ask gives back what is not needed, and it is used all the same."""

    def ask(self, now: float) -> Ask:
        spare = {meter: account.spare(now) for meter, account in self.accounts.items()}
        ask = super().ask(now)
        for meter, account in self.accounts.items():
            account._spare = max(account._spare, spare.get(meter, 0.0))
        return ask


class TakesEveryGrant(LeaseBook):
    """The answer to an ask that was given up is taken as well."""

    def granted(self, grant: Grant, now: float) -> None:
        if self._asked is not None:
            super().granted(replace(grant, number=self._asked.number), now)


class TellsNoUse(LeaseBook):
    """What was used is not told."""

    def ask(self, now: float) -> Ask:
        ask = super().ask(now)
        return replace(ask, states=tuple(replace(one, used=()) for one in ask.states))


class SettlesNothing(LeaseBook):
    """What a call did not use is never given back."""

    def settle(self, reservation: Reservation, used: Used, now: float) -> None:
        self.answered(reservation, now)


class EstimatesNothing(LeaseBook):
    """A call takes no tokens before they are told."""

    def take(self, keys: Iterable[str], model: str, need: Need, now: float) -> Reservation | None:
        return super().take(list(keys), model, Need(), now)


class ForgetsLeases(QuotaOwner):
    """What was leased counts only once its use is told."""

    def ask(self, ask: Ask, now: float) -> Grant:
        grant = super().ask(ask, now)
        for ledger in self.ledgers.values():
            for holder in ledger._holders.values():
                holder.lease = 0.0
        return grant


class ForgetsTheDead(QuotaOwner):
    """What a dead actor had is free at once."""

    def _end(self, who: tuple[str, int], now: float) -> None:
        for ledger in self.ledgers.values():
            ledger._holders.pop(who, None)


class ForgetsItself(QuotaOwner):
    """A restarted owner begins with everything free."""

    def restore(self, asks: Iterable[Ask], now: float) -> None:
        pass


class HearsLateAsks(QuotaOwner):
    """An ask that was overtaken counts as the latest."""

    def ask(self, ask: Ask, now: float) -> Grant:
        self._lives.pop(ask.actor, None)
        return super().ask(ask, now)


class CountsTooShort(QuotaOwner):
    """What was used is free again a little early."""

    def _hear(self, ask: Ask, now: float) -> bool:
        early = (
            replace(one, used=tuple((age + 6.0, amount) for age, amount in one.used)) for one in ask.states
        )
        return super()._hear(replace(ask, states=tuple(early)), now)


BOOKS = (
    LeasesForEver,
    KeepsWhatItGaveBack,
    TakesEveryGrant,
    TellsNoUse,
    SettlesNothing,
    EstimatesNothing,
)
OWNERS = (ForgetsLeases, ForgetsTheDead, ForgetsItself, HearsLateAsks, CountsTooShort)
