"""Retries: their delays and their budget."""

from __future__ import annotations

from random import Random
from statistics import mean, stdev

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from llmgine.actors.bus.pacing import full_jitter
from llmgine.actors.bus.policies import RetryPolicy
from llmgine.actors.bus.router.retry import REMEMBERED, RESERVE_PER_SECOND, Retry


class Budget(RuleBasedStateMachine):
    """A handler with many messages, against sums over all that happened."""

    @initialize(
        ratio=st.sampled_from([0, 0.25, 0.5, 2]), reserve=st.integers(0, 5), retries=st.integers(0, 4)
    )
    def begin(self, ratio: float, reserve: int, retries: int) -> None:
        self.policy = RetryPolicy(retries=retries, base=1, cap=4, budget_ratio=ratio, budget_reserve=reserve)
        self.retry = Retry(self.policy, lambda: 1.0)
        self.now = 0.0
        self.spent = 0
        self.firsts = 0
        self.earned, self.reserve = 0.0, float(reserve)

    @rule(eighths=st.integers(0, 8))
    def time_passes(self, eighths: int) -> None:
        seconds = eighths / 8
        self.now += seconds
        self.reserve = min(self.policy.budget_reserve, self.reserve + seconds * RESERVE_PER_SECOND)

    @rule(count=st.integers(1, 2_000))
    def first_attempts(self, count: int) -> None:
        self.retry.first(count)
        self.firsts += count
        ratio = self.policy.budget_ratio
        self.earned = min(REMEMBERED * ratio, self.earned + count * ratio)

    def may_retry(self) -> bool:
        if self.earned >= 1:
            self.earned -= 1
            return True
        if self.reserve >= 1:
            self.reserve -= 1
            return True
        return False

    @rule(attempt=st.integers(1, 5), times=st.integers(1, 8))
    def fail(self, attempt: int, times: int) -> None:
        for _ in range(times):
            allowed = attempt <= self.policy.retries and self.may_retry()
            delay = self.retry.delay(attempt, self.now)
            assert delay == (min(4, 2 ** (attempt - 1)) if allowed else None)
            self.spent += allowed

    @precondition(lambda self: self.spent)
    @rule()
    def never_more_than_the_sum(self) -> None:
        most = self.policy.budget_reserve + self.policy.budget_ratio * self.firsts
        assert self.spent <= most + RESERVE_PER_SECOND * self.now


TestBudget = Budget.TestCase


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.integers(1, 10**9), st.floats(0, 1))
def test_a_delay_lies_between_zero_and_its_doubling_base(
    base: float, cap: float, retry: int, chance: float
) -> None:
    """Whatever chance says, and however often it was tried."""
    longest = cap if retry > 40 else min(cap, base * 2 ** (retry - 1))
    assert 0 <= full_jitter(base, cap, retry, lambda: chance) <= longest


def test_delays_vary_over_their_whole_range() -> None:
    """Of 4,000 delays mean and deviation are those of an even spread, for each of the first retries."""
    random = Random(7).random
    for retry, longest in ((1, 0.1), (2, 0.2), (3, 0.4), (4, 0.8), (9, 10.0)):
        delays = [full_jitter(0.1, 10.0, retry, random) for _ in range(4_000)]
        assert abs(mean(delays) - longest / 2) < longest * 0.02
        assert abs(stdev(delays) - longest / 12**0.5) < longest * 0.02
        assert len(set(delays)) > 3_900


def test_the_default_retries_three_times() -> None:
    """After the fourth attempt there is none."""
    retry = Retry(RetryPolicy(), lambda: 1.0)
    assert [retry.delay(attempt, 0.0) for attempt in (1, 2, 3, 4)] == [0.1, 0.2, 0.4, None]


def test_the_reserve_is_earned_back_at_ten_a_second() -> None:
    """With nothing else earned, an emptied reserve gives ten retries a second, up to itself."""
    retry = Retry(RetryPolicy(budget_reserve=25), lambda: 1.0)
    assert sum(retry.delay(1, 0.0) is not None for _ in range(50)) == 25
    assert sum(retry.delay(1, 1.0) is not None for _ in range(50)) == 10
    assert sum(retry.delay(1, 100.0) is not None for _ in range(50)) == 25


def test_no_more_is_earned_than_by_the_latest_thousand() -> None:
    """A million messages that went well do not pay for a storm of retries."""
    retry = Retry(RetryPolicy(budget_ratio=0.25, budget_reserve=0), lambda: 1.0)
    retry.first(1_000_000)
    assert sum(retry.delay(1, 0.0) is not None for _ in range(2_000)) == 0.25 * REMEMBERED


def test_first_attempts_earn_their_ratio() -> None:
    """Of 100 messages that all fail, a ratio of 0.2 without a reserve lets 20 be tried again."""
    retry = Retry(RetryPolicy(budget_ratio=0.2, budget_reserve=0), lambda: 1.0)
    for _ in range(100):
        retry.first()
    assert sum(retry.delay(1, 0.0) is not None for _ in range(100)) in (19, 20)
