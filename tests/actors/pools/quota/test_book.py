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


def test_of_a_trial_that_has_much_left_the_owner_hears_now_and_then() -> None:
    """No answer is news to it then, and what was leased for calls at once is there for the next ones."""
    sharing = Sharing()
    sharing.owner = QuotaOwner({}, trial=1_000)
    book = sharing.book
    waiting = [Waiting(("main",), "m", SHORT, 0.0) for _ in range(16)]
    for one in waiting:
        book.wait(one)
    assert book.due(0.0) is not None
    book.granted(sharing.owner.ask(book.ask(0.0), 0.0), 0.0)
    for one, reservation in book.serve(0.0):
        waiting.remove(one)
        book.answered(reservation, 1.0)
        book.settle(reservation, Used(100.0, 300.0), 1.0)
    assert waiting == []
    due = book.due(1.0)
    assert due is not None
    assert due > 3.0
    book.granted(sharing.owner.ask(book.ask(1.0), 1.0), 1.0)
    assert all(book.take(("main",), "m", SHORT, 1.0) for _ in range(16))


def test_the_owner_is_asked_at_once_for_what_it_had_enough_of() -> None:
    """A call of a model that was not called before does not wait for the next time to ask."""
    sharing = Sharing()
    book = sharing.book
    assert sharing.sent(SHORT, 0.0) is not None
    book.wait(Waiting(("main",), "another", SHORT, 0.1))
    due = book.due(0.1)
    assert due is not None
    assert due <= 0.1
