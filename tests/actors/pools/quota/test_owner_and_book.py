"""Leases between one owner and single actors, step by step."""

from __future__ import annotations

import pytest

from llmgine.actors.pools.quota.book import LeaseBook
from llmgine.actors.pools.quota.learning import lessons
from llmgine.actors.pools.quota.line import Waiting
from llmgine.actors.pools.quota.meters import DAY, Limit, Meter, Need, Used
from llmgine.actors.pools.quota.owner import QuotaOwner
from llmgine.actors.pools.quota.plan import Plan
from llmgine.actors.pools.quota.spending import Cost
from llmgine.providers.catalogue.limits import KeyLimits
from llmgine.providers.contracts import RateLimit

CALL = Need(input=100.0, output=50.0, dollars=0.25)


def limits(**fields: object) -> Plan:
    return Plan({"a": KeyLimits.model_validate({"learn": "off", **fields}), "b": KeyLimits(learn="off")})


def book(plan: Plan, actor: str = "x", life: int = 1) -> LeaseBook:
    return LeaseBook(actor, life, plan)


def settle(owner: QuotaOwner, one: LeaseBook, now: float) -> None:
    one.granted(owner.ask(one.ask(now), now), now)


def wait(one: LeaseBook, now: float, *, keys: tuple[str, ...] = ("a",), need: Need = CALL) -> Waiting:
    waiting = Waiting(keys, "m", need, now, now + 60)
    one.wait(waiting)
    return waiting


def test_a_call_takes_from_a_lease_and_needs_no_grant_while_it_lasts() -> None:
    """Nothing is taken before it is leased, and nothing after its lease has ended."""
    plan = limits(requests_per_minute=60)
    owner, one = QuotaOwner(plan.settings, lease=8), book(plan)
    assert one.take(["a"], "m", CALL, 0) is None
    for _ in range(3):
        wait(one, 0)
    settle(owner, one, 0)
    assert len(one.serve(0)) == 3
    settle(owner, one, 0.1)
    assert one.take(["a"], "m", CALL, 1) is not None
    assert one.take(["a"], "m", CALL, 9) is None


def test_another_key_that_has_room_is_taken() -> None:
    """A key without limits, or with some left, serves the call that the first cannot."""
    one = book(limits(requests_per_minute=60))
    taken = one.take(["a", "b"], "m", CALL, 0)
    assert taken is not None
    assert taken.key == "b"


def test_an_answer_to_an_ask_that_was_given_up_changes_nothing() -> None:
    """What the owner granted to it is free again with the next ask."""
    plan = limits(requests_per_minute=4)
    owner, one = QuotaOwner(plan.settings), book(plan)
    for _ in range(4):
        wait(one, 0)
    late = owner.ask(one.ask(0), 0)
    one.unanswered(2)
    settle(owner, one, 2)
    one.granted(late, 3)
    assert len(one.serve(3)) == 4
    assert one.take(["a"], "m", CALL, 3) is None


def test_what_is_scarce_is_shared_by_demand_and_who_waits_longest_goes_first() -> None:
    """An actor with more calls gets more; the oldest call of all is not passed."""
    plan = limits(requests_per_minute=12)
    owner, many, few = QuotaOwner(plan.settings), book(plan, "many"), book(plan, "few")
    for _ in range(30):
        wait(many, 1)
    for _ in range(10):
        wait(few, 0)
    few_ask, many_ask = few.ask(1), many.ask(1)
    few.granted(owner.ask(few_ask, 1), 1)
    many.granted(owner.ask(many_ask, 1), 1)
    assert (len(few.serve(1)), len(many.serve(1))) == (10, 2)


def test_calls_at_once_come_back_when_they_end() -> None:
    """The place of a call that ended is free for the next, in this actor at once."""
    plan = limits(concurrency=2)
    owner, one = QuotaOwner(plan.settings), book(plan)
    for _ in range(3):
        wait(one, 0)
    settle(owner, one, 0)
    served = one.serve(0)
    assert len(served) == 2
    one.settle(served[0][1], Used(), 1)
    assert len(one.serve(1)) == 1
    assert owner.usable(1) == 2


def test_what_was_not_used_is_given_back() -> None:
    """A call that used less than it reserved leaves the rest to the next."""
    plan = limits(tokens_per_minute=300)
    owner, one = QuotaOwner(plan.settings), book(plan)
    wait(one, 0)
    wait(one, 0)
    settle(owner, one, 0)
    (first, second) = (booked for _, booked in one.serve(0))
    assert one.take(["a"], "m", CALL, 0) is None
    one.settle(first, Used(input=20, output=10), 1)
    one.settle(second, Used(input=20, output=10), 1)
    settle(owner, one, 1)
    assert owner.statistics(1)["limits"]["a"][""]["tokens"]["used"] == pytest.approx(60)


def test_a_call_larger_than_a_limit_is_known_as_such() -> None:
    """Its prompt counts; its answer may be shorter than expected."""
    one = book(limits(input_tokens_per_minute=50, output_tokens_per_minute=10))
    one.take(["a"], "m", CALL, 0)
    meter, limit = one.beyond("a", "m", CALL) or (None, None)
    assert meter == Meter("a", "", "input_tokens")
    assert limit == Limit(50)
    assert one.beyond("a", "m", Need(input=40, output=500)) is None


def test_dollars_are_spent_for_the_day_and_told_when_they_come_back() -> None:
    """Where the day's dollars are gone, waiting is in vain until midnight."""
    plan = limits(dollars_per_day=0.5)
    owner, one = QuotaOwner(plan.settings), book(plan)
    for _ in range(2):
        wait(one, 0)
        settle(owner, one, 0)
        one.settle(one.serve(0)[0][1], Used(dollars=0.25), 0)
    waiting = wait(one, 0.5)
    settle(owner, one, 1)
    assert one.serve(1) == []
    assert one.vain(1) == [waiting]
    assert one.seconds(waiting, 1) == pytest.approx(DAY - 1)
    settle(owner, one, DAY + 1)
    assert len(one.serve(DAY + 1)) == 1


def test_costs_count_once_however_often_they_are_told() -> None:
    """What was kept and what a life tells of the same day are one."""
    plan = limits(dollars_per_day=1)
    owner = QuotaOwner(plan.settings)
    owner.spending.restore([Cost(0, "a", "", "x", 1, 0.6), Cost(0, "a", "", "x", 0, 0.1)])
    owner.spending.told(Cost(0, "a", "", "x", 1, 0.6))
    owner.spending.told(Cost(0, "a", "", "x", 1, 0.5))
    assert owner.spending.total(Meter("a", "", "dollars")) == pytest.approx(0.7)
    owner.spending.begin(1)
    assert owner.spending.costs() == []


def test_a_trial_grows_with_each_good_answer_and_ends_with_a_limit() -> None:
    """Before anything is known few calls are unanswered at once; a limit that is told holds from then on."""
    plan = Plan({"a": KeyLimits()})
    owner, one = QuotaOwner(plan.settings, trial=2), book(plan)
    for _ in range(9):
        wait(one, 0)
    settle(owner, one, 0)
    served = one.serve(0)
    assert len(served) == 2
    for _, booked in served:
        one.answered(booked, 1)
    settle(owner, one, 1)
    assert len(one.serve(1)) == 4
    for lesson in lessons("a", "m", [RateLimit(of="requests", limit=7, remaining=1)]):
        one.learned(lesson, 2)
    settle(owner, one, 2)
    assert len(one.serve(2)) == 1
    assert one.limit_of(Meter("a", "m", "requests")) == Limit(7, source="provider")


def test_what_others_use_of_a_key_is_left_to_them() -> None:
    """A provider that says that less is left than we have used of the limit has other callers."""
    plan = Plan({"a": KeyLimits()})
    owner, one = QuotaOwner(plan.settings), book(plan)
    for lesson in lessons("a", "m", [RateLimit(of="requests", limit=10, remaining=3, resets_in=30)]):
        one.learned(lesson, 0)
    for _ in range(9):
        wait(one, 0)
    settle(owner, one, 0)
    assert len(one.serve(0)) == 3
    settle(owner, one, 31)
    assert len(one.serve(31)) > 3


def test_a_refusal_holds_for_all_actors_and_is_never_shortened() -> None:
    """Whoever uses the key waits as long as the provider asked one of them to."""
    plan = Plan({"a": KeyLimits(requests_per_minute=60)})
    owner, one, other = QuotaOwner(plan.settings), book(plan, "one"), book(plan, "other")
    one.refused("a", "m", 20.0, 0)
    one.refused("a", "m", 1.0, 0)
    settle(owner, one, 0)
    wait(other, 0)
    settle(owner, other, 1)
    assert other.serve(2) == []
    assert other.pause_of("a", "m", 2) == pytest.approx(18)
    assert other.wake(2) == pytest.approx(20)


@pytest.mark.parametrize(
    ("told", "window"),
    [
        (RateLimit(of="requests", limit=5), 60.0),
        (RateLimit(of="requests", limit=5, resets_in=30), 60.0),
        (RateLimit(of="requests", limit=5, resets_in=1_800), 3600.0),
        (RateLimit(of="requests", limit=5, resets_in=7_000), DAY),
        (RateLimit(of="requests", limit=5, resets_in=7_000, window=60), 60.0),
    ],
)
def test_the_window_of_a_limit_fits_with_what_is_told_of_it(told: RateLimit, window: float) -> None:
    """A minute, unless the provider says otherwise or it cannot be."""
    (lesson,) = lessons("a", "m", [told, RateLimit(of="things", limit=3), RateLimit(of="tokens")])
    assert lesson.limit == Limit(5, window, source="provider")


def test_models_share_the_limits_of_their_pattern() -> None:
    """What is set for a key holds for each of its models beside."""
    plan = limits(requests_per_minute=9, models={"big*": {"concurrency": 2}})
    assert plan.meters("a", "small") == (Meter("a", "", "requests"),)
    assert plan.meters("a", "big-2") == (Meter("a", "", "requests"), Meter("a", "big*", "concurrency"))
    assert plan.meters("b", "big-2") == ()
