"""What one actor may use, where limits become known while calls are under way."""

from __future__ import annotations

import pytest

from llmgine.actors.pools.quota.book import LeaseBook, Reservation
from llmgine.actors.pools.quota.learning import Lesson
from llmgine.actors.pools.quota.line import Waiting
from llmgine.actors.pools.quota.meters import Limit, Meter, Need, Used
from llmgine.actors.pools.quota.owner import QuotaOwner
from llmgine.actors.pools.quota.plan import Plan
from llmgine.providers.catalogue.limits import KeyLimits

OUTPUT = Meter("main", "m", "output_tokens")
LONG, SHORT = Need(100.0, 16_000.0), Need(100.0, 1_000.0)


class Sharing:
    """One actor's book, and the owner."""

    def __init__(self) -> None:
        self.owner = QuotaOwner({})
        self.book = LeaseBook("provider-house-0", 1, Plan({"main": KeyLimits()}))

    def sent(self, need: Need, now: float) -> Reservation | None:
        """A call that waits for one word of the owner at most."""
        waiting = Waiting(("main",), "m", need, now)
        self.book.wait(waiting)
        self.book.granted(self.owner.ask(self.book.ask(now), now), now)
        served = self.book.serve(now)
        self.book.leave(waiting)
        return served[0][1] if served else None

    def is_refused(self, reservation: Reservation, now: float) -> None:
        self.book.refused("main", "m", 1.0, now)
        self.book.settle(reservation, Used(0.0, 0.0, 0.0), now)

    def learns(self, tokens: float, now: float) -> None:
        self.book.learned(Lesson(OUTPUT, Limit(tokens, source="provider"), None, None), now)


@pytest.mark.parametrize("end", ["settled", "released"])
def test_a_call_that_was_to_need_more_than_a_limit_learned_meanwhile_leaves_nothing_behind(end: str) -> None:
    """What it had reserved before the limit was known is free again, all of it, and no lease grows by it."""
    sharing = Sharing()
    book = sharing.book
    long = sharing.sent(LONG, 0.0)
    assert long is not None
    sharing.learns(8_000.0, 0.5)
    if end == "settled":
        book.answered(long, 0.5)
        book.settle(long, Used(100.0, 300.0), 1.0)
    else:
        book.release(long, 1.0)
    account = book.accounts[OUTPUT]
    assert (account.open, account.spare(1.0)) == (0.0, 0.0)
    assert sharing.sent(SHORT, 2.0) is not None


def test_a_limit_that_shrinks_under_a_call_bounds_what_the_call_gives_back() -> None:
    """No lease is ever more than the limit."""
    sharing = Sharing()
    sharing.learns(8_000.0, 0.0)
    long = sharing.sent(LONG, 0.0)
    assert long is not None
    sharing.learns(500.0, 0.5)
    sharing.book.settle(long, Used(100.0, 300.0), 1.0)
    account = sharing.book.accounts[OUTPUT]
    assert account.open == 0.0
    assert account.spare(1.0) <= 500.0


def test_a_refusal_of_one_of_few_calls_is_taken_for_no_limit() -> None:
    """The pause that the provider asks for is kept; after it calls go on, however many."""
    sharing = Sharing()
    first = sharing.sent(SHORT, 0.0)
    assert first is not None
    sharing.is_refused(first, 0.5)
    assert sharing.sent(SHORT, 1.0) is None
    assert all(sharing.sent(SHORT, 2.0 + number) is not None for number in range(6))


def test_a_refusal_of_one_of_many_calls_tells_of_a_limit() -> None:
    """As many as were taken before are made from then on."""
    sharing = Sharing()
    for number in range(20):
        sent = sharing.sent(SHORT, float(number))
        assert sent is not None
        sharing.book.answered(sent, float(number))
        sharing.book.settle(sent, Used(100.0, 300.0), float(number))
    refused = sharing.sent(SHORT, 20.0)
    assert refused is not None
    sharing.is_refused(refused, 20.5)
    assert sharing.sent(SHORT, 30.0) is None
    limit = sharing.book.limit_of(Meter("main", "m", "requests"))
    assert limit is not None
    assert limit.source == "refusals"
    assert limit.amount == pytest.approx(18.9)
