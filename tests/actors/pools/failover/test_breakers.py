"""Which models are left alone."""

from __future__ import annotations

from llmgine.actors.breaking import BreakerPolicy
from llmgine.actors.pools.failover.breakers import Breakers
from llmgine.actors.pools.failover.latency import FirstTokens

POLICY = BreakerPolicy(
    kind="rate", calls=4, minimum_calls=4, failure_rate=0.5, open_for=10, jitter=0, permits=1, successes=1
)


def breakers(policy: BreakerPolicy = POLICY) -> Breakers:
    return Breakers(policy, lambda: 0.0)


def tried(table: Breakers, name: str, now: float, failed: bool | None) -> None:
    table.ended(name, table.begin(name, now), now, failed=failed)


def test_a_name_is_left_alone_for_itself() -> None:
    """Its failures close the way to it for a while, and to nobody else."""
    table = breakers()
    for failed in (False, True, False, True):
        tried(table, "a", 0.0, failed)
    assert (table.closed_for("a", 4.0), table.closed_for("b", 4.0)) == (6.0, 0.0)


def test_trials_open_the_way_again() -> None:
    """After its time one call at a time may try; one that goes well ends it."""
    table = breakers()
    for _ in range(4):
        tried(table, "a", 0.0, True)
    assert table.closed_for("a", 10.0) == 0
    trial = table.begin("a", 10.0)
    assert table.closed_for("a", 10.0) > 0
    table.ended("a", trial, 11.0, failed=False)
    assert [table.closed_for("a", 11.0) for _ in range(2)] == [0, 0]


def test_a_trial_that_says_nothing_gives_its_place_back() -> None:
    """A call that was cancelled leaves the trial to the next."""
    table = breakers()
    for _ in range(4):
        tried(table, "a", 0.0, True)
    assert table.closed_for("a", 10.0) == 0
    tried(table, "a", 10.0, None)
    assert table.closed_for("a", 10.0) == 0


def test_calls_that_began_before_change_nothing_after() -> None:
    """A late end of a call from before, and one that was made although the way was closed, do not count."""
    table = breakers()
    tried(table, "a", 0.0, True)
    late = table.begin("a", 0.0)
    for _ in range(3):
        tried(table, "a", 0.0, True)
    uncounted = table.begin("a", 1.0)
    for generation in (late, uncounted):
        table.ended("a", generation, 1.0, failed=False)
    assert table.closed_for("a", 1.0) == 9.0


def test_a_breaker_that_is_switched_off_never_opens() -> None:
    """No failure is counted."""
    table = breakers(POLICY.model_copy(update={"enabled": False}))
    for _ in range(10):
        tried(table, "a", 0.0, True)
    assert table.closed_for("a", 0.0) == 0


def test_what_is_slow_is_known_from_twenty_calls_on() -> None:
    """Nineteen of twenty calls began within the time that is given; old ones are forgotten."""
    times = FirstTokens()
    for seconds in range(1, 20):
        times.add(float(seconds))
    assert times.slow() is None
    times.add(20.0)
    assert times.slow() == 20.0
    for _ in range(100):
        times.add(1.0)
    assert times.slow() == 1.0
