"""The circuit breaker against a slow and plain model of what it promises."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pydantic import ValidationError

from llmgine.actors.breaking import Breaker, BreakerPolicy
from llmgine.actors.breaking.breaker import UNLIMITED


class Plain:
    """One result at a time, every list kept and counted anew.

    While closed it is resilience4j's count-based sliding window: no rate before the minimum number of
    calls, `>=` its threshold opens, slow calls have a rate of their own, and a call counts for the
    state in which it got its permission. Half-open, ours is stricter: any failure opens it again.
    """

    def __init__(self, policy: BreakerPolicy) -> None:
        self.policy = policy
        self.row = 0
        self.generation = 0
        self.enter("closed")

    def enter(self, state: str, now: float = 0.0) -> None:
        self.state = state
        self.results: list[tuple[bool, bool]] = []
        self.failures: list[float] = []
        if state == "closed":
            self.row = 0
        elif state == "open":
            policy = self.policy
            self.until = now + min(policy.open_cap, policy.open_for * policy.growth**self.row)
            self.row += 1

    def change(self, state: str, now: float) -> None:
        self.generation += 1
        self.enter(state, now)

    def tick(self, now: float) -> None:
        if self.state == "open" and now >= self.until:
            self.change("half_open", now)

    def result(self, generation: int, failed: bool, slow: bool, now: float) -> None:
        if generation != self.generation or self.state == "open" or not self.policy.enabled:
            return
        self.results.append((failed, slow and self.policy.slow_after is not None))
        if failed:
            self.failures.append(now)
        if self.state == "half_open":
            self.judge_trials(failed, now)
        elif self.too_many_failures(now) or self.share_exceeded():
            self.change("open", now)

    def judge_trials(self, failed: bool, now: float) -> None:
        if failed:
            self.change("open", now)
        elif len(self.results) == self.policy.successes:
            slow = sum(slow for _, slow in self.results) / len(self.results)
            self.change("open" if slow >= self.policy.slow_rate else "closed", now)

    def too_many_failures(self, now: float) -> bool:
        young = [time for time in self.failures if now - time <= self.policy.window]
        return self.policy.kind == "window" and len(young) >= self.policy.failures

    def share_exceeded(self) -> bool:
        policy = self.policy
        latest = self.results[-policy.calls :]
        if len(latest) < policy.minimum_calls:
            return False
        failed = sum(failed for failed, _ in latest) / len(latest)
        slow = sum(slow for _, slow in latest) / len(latest)
        return (policy.kind == "rate" and failed >= policy.failure_rate) or slow >= policy.slow_rate


@st.composite
def policies(draw: st.DrawFn) -> BreakerPolicy:
    calls = draw(st.integers(1, 8))
    open_for = draw(st.integers(1, 8))
    return BreakerPolicy(
        enabled=draw(st.sampled_from([True, True, True, False])),
        kind=draw(st.sampled_from(["window", "rate"])),
        failures=draw(st.integers(1, 4)),
        window=draw(st.integers(1, 10)),
        calls=calls,
        minimum_calls=draw(st.integers(1, calls)),
        failure_rate=draw(st.sampled_from([0.07, 0.25, 0.5, 1.0])),
        slow_rate=draw(st.sampled_from([0.25, 0.5, 1.0])),
        slow_after=draw(st.sampled_from([None, 1.0])),
        open_for=open_for,
        growth=draw(st.sampled_from([1, 2, 3])),
        open_cap=open_for * draw(st.integers(1, 5)),
        jitter=0,
        permits=draw(st.integers(1, 4)),
        successes=draw(st.integers(1, 4)),
    )


class Breakers(RuleBasedStateMachine):
    """Attempts are handed out as permitted and end in any order, late ones included."""

    @initialize(policy=policies())
    def begin(self, policy: BreakerPolicy) -> None:
        self.policy = policy
        self.breaker = Breaker(policy, lambda: 0.5)
        self.plain = Plain(policy)
        self.now = 0.0
        self.running: Counter[int] = Counter()

    @rule(seconds=st.integers(0, 12))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @precondition(lambda self: self.breaker.state == "open")
    @rule(missing=st.sampled_from([0, 0, 0, 0.5]))
    def the_open_time_passes(self, missing: float) -> None:
        assert self.breaker.half_open_at is not None
        self.now = max(self.now, self.breaker.half_open_at - missing)
        self.hand_out(12)

    @rule(count=st.integers(1, 12))
    def hand_out(self, count: int) -> None:
        count = min(count, self.breaker.permits(self.now))
        self.plain.tick(self.now)
        self.breaker.take(count)
        self.running[self.breaker.generation] += count

    def end(self, data: st.DataObject, most: int) -> tuple[int, int]:
        self.running += Counter()
        generation = data.draw(st.sampled_from(sorted(self.running)))
        count = data.draw(st.integers(1, min(most, self.running[generation])))
        self.running[generation] -= count
        return generation, count

    @precondition(lambda self: self.running.total())
    @rule(data=st.data(), slow=st.booleans())
    def succeed(self, data: st.DataObject, slow: bool) -> None:
        generation, count = self.end(data, 12)
        changed = self.breaker.succeeded(generation, self.now, count, slow)
        before = self.plain.generation
        for _ in range(count):
            self.plain.result(generation, False, slow, self.now)
        assert changed is (self.plain.generation != before)

    @precondition(lambda self: self.running.total())
    @rule(data=st.data(), slow=st.booleans())
    def fail(self, data: st.DataObject, slow: bool) -> None:
        generation, _ = self.end(data, 1)
        before = self.plain.generation
        self.plain.result(generation, True, slow, self.now)
        assert self.breaker.failed(generation, self.now, slow) is (self.plain.generation != before)

    @precondition(lambda self: self.running.total())
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        self.breaker.released(*self.end(data, 12))

    @rule(failed=st.booleans(), slow=st.booleans(), behind=st.integers(1, 3))
    def stray(self, failed: bool, slow: bool, behind: int) -> None:
        """A report of an older state, or of one that was handed out against an open breaker."""
        generation = self.breaker.generation - (0 if self.breaker.state == "open" else behind)
        report = self.breaker.failed if failed else self.breaker.succeeded
        assert report(generation, self.now, slow=slow) is False

    @invariant()
    def both_agree(self) -> None:
        assert (self.breaker.state, self.breaker.generation) == (self.plain.state, self.plain.generation)
        until = self.plain.until if self.plain.state == "open" else None
        assert self.breaker.half_open_at == until

    @invariant()
    def no_more_run_than_permitted(self) -> None:
        if self.breaker.state != "half_open":
            assert self.breaker.taken == 0
        else:
            assert self.breaker.taken == self.running[self.breaker.generation] <= self.policy.permits


TestBreakers = Breakers.TestCase


def opened(policy: BreakerPolicy, random: float = 0.0, now: float = 0.0) -> Breaker:
    breaker = Breaker(policy, lambda: random)
    for _ in range(policy.failures):
        breaker.failed(breaker.generation, now)
    assert breaker.state == "open"
    return breaker


def test_the_default_opens_at_the_fifth_failure_in_a_minute() -> None:
    """Five failures within 60 seconds open it, successes between them or not."""
    breaker = Breaker(BreakerPolicy(), lambda: 0.0)
    for second in (0, 15, 30, 45):
        assert not breaker.failed(0, second)
        assert not breaker.succeeded(0, second, 1_000)
    assert breaker.permits(59) == UNLIMITED
    assert breaker.failed(0, 60)
    assert breaker.permits(60) == 0


def test_a_failure_older_than_the_window_does_not_count() -> None:
    """The first of five failures is a moment too old when the fifth comes."""
    breaker = Breaker(BreakerPolicy(), lambda: 0.0)
    assert not any(breaker.failed(0, second) for second in (0, 15, 30, 45, 60.001))
    assert breaker.failed(0, 70)


def test_it_recovers_through_half_open() -> None:
    """At its time it admits its permits and no more; enough successes close it with cleared counters."""
    breaker = opened(BreakerPolicy(open_for=10))
    assert breaker.permits(9.9) == 0
    assert (breaker.permits(10), breaker.state) == (3, "half_open")
    breaker.take(3)
    assert breaker.permits(10) == 0
    assert not breaker.succeeded(breaker.generation, 11, 2)
    assert breaker.permits(11) == 2
    assert breaker.succeeded(breaker.generation, 12)
    assert (breaker.state, breaker.permits(12)) == ("closed", UNLIMITED)
    assert not any(breaker.failed(breaker.generation, 12) for _ in range(4))


def test_successes_of_an_earlier_trial_do_not_count() -> None:
    """Two successes and a failure, and the next time three successes are needed again."""
    breaker = opened(BreakerPolicy(open_for=10))
    breaker.permits(10)
    breaker.take(3)
    assert not breaker.succeeded(breaker.generation, 10, 2)
    assert breaker.failed(breaker.generation, 10)
    assert breaker.permits(30) == 3
    breaker.take(3)
    assert not breaker.succeeded(breaker.generation, 30, 2)
    assert breaker.succeeded(breaker.generation, 30)


def test_slow_trials_open_it_again() -> None:
    """Half of the successes that would close it were slow: no more than those are looked at."""
    policy = BreakerPolicy(open_for=10, slow_after=1, slow_rate=0.5, successes=3, permits=5)
    for fast, slow, state in ((2, 3, "closed"), (1, 2, "open")):
        breaker = opened(policy)
        breaker.permits(10)
        breaker.take(5)
        assert not breaker.succeeded(breaker.generation, 10, fast)
        assert breaker.succeeded(breaker.generation, 10, slow, slow=True)
        assert breaker.state == state


def test_each_opening_in_a_row_is_longer_up_to_the_cap() -> None:
    """60, 120, 240, 480, 600, 600 seconds; after a recovery 60 again."""
    breaker = opened(BreakerPolicy(successes=1))
    now, lengths = 0.0, []
    for _ in range(6):
        assert breaker.half_open_at is not None
        lengths.append(breaker.half_open_at - now)
        now = breaker.half_open_at
        breaker.permits(now)
        assert breaker.failed(breaker.generation, now)
    assert lengths == [60, 120, 240, 480, 600, 600]
    now += 600
    breaker.permits(now)
    assert breaker.succeeded(breaker.generation, now)
    for _ in range(5):
        breaker.failed(breaker.generation, now)
    assert breaker.half_open_at == now + 60


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1))
def test_jitter_shortens_the_open_time_by_its_share_at_most(chance: float, jitter: float) -> None:
    """Breakers that opened together do not all try again together, and none stays open for longer."""
    breaker = opened(BreakerPolicy(jitter=jitter), chance)
    assert breaker.half_open_at is not None
    assert 60 * (1 - jitter) <= breaker.half_open_at <= 60
    assert breaker.half_open_at == pytest.approx(60 * (1 - jitter * chance))


def test_a_late_result_of_an_older_state_changes_nothing() -> None:
    """An attempt from before the opening that fails during half-open takes no permit and opens nothing."""
    breaker = opened(BreakerPolicy())
    breaker.permits(60)
    breaker.take(1)
    assert not breaker.failed(0, 60)
    assert not breaker.succeeded(0, 60, 100)
    breaker.released(0, 2)
    assert (breaker.state, breaker.permits(60)) == ("half_open", 2)


def test_a_success_that_completes_the_minimum_can_open_a_rate() -> None:
    """A rate is looked at after every result: also of many reported at once, where the first one matters."""
    policy = BreakerPolicy(kind="rate", calls=100, minimum_calls=10)
    breaker = Breaker(policy, lambda: 0.0)
    assert not any(breaker.failed(0, 0) for _ in range(9))
    assert breaker.succeeded(0, 0, 1_000)


def test_a_rate_opens_at_its_very_threshold() -> None:
    """The seventh failure of a hundred attempts at a rate of 0.07, and not the sixth."""
    breaker = Breaker(BreakerPolicy(kind="rate", failure_rate=0.07), lambda: 0.0)
    assert not breaker.succeeded(0, 0, 200)
    assert [breaker.failed(0, 0) for _ in range(7)] == [False] * 6 + [True]


def test_a_million_successes_are_one_step() -> None:
    """What a bulk of successes costs does not depend on its size."""
    breaker = Breaker(BreakerPolicy(kind="rate", calls=1_000_000, minimum_calls=1_000_000), lambda: 0.0)
    for _ in range(1_000):
        breaker.succeeded(0, 0, 10**9)
    assert breaker._latest is not None
    assert len(breaker._latest._rows) == 1
    assert breaker._latest.total == 1_000_000


def test_no_more_is_handed_out_than_permitted() -> None:
    """Taking more than the permits is refused loudly, for it would hide a lost count."""
    breaker = opened(BreakerPolicy())
    with pytest.raises(ValueError, match="open"):
        breaker.take(1)
    breaker.permits(60)
    with pytest.raises(ValueError, match="half_open"):
        breaker.take(4)


@pytest.mark.parametrize(
    "fields", [{"calls": 10, "minimum_calls": 11}, {"open_for": 10, "open_cap": 5}, {"failure_rate": 0}]
)
def test_a_policy_that_cannot_work_is_refused(fields: dict[str, float]) -> None:
    """A minimum that is never reached, a cap below the open time, a share of nothing."""
    with pytest.raises(ValidationError):
        BreakerPolicy.model_validate(fields)
