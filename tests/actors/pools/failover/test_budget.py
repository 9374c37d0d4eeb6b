"""How many further tries all calls of a process may make."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmgine.actors.pools.failover.budget import Budget
from llmgine.actors.pools.failover.options import BudgetOptions


def test_a_minimum_is_free_and_comes_back() -> None:
    """So many tries in ten seconds need no calls; a part of them comes back with a part of that time."""
    budget = Budget(BudgetOptions(ratio=0.0, minimum=4))
    assert [budget.take(0.0) for _ in range(5)] == [True] * 4 + [False]
    assert [budget.take(5.0) for _ in range(3)] == [True, True, False]
    assert [budget.take(100.0) for _ in range(5)] == [True] * 4 + [False]


def test_calls_earn_tries() -> None:
    """Ten calls earn one try at a tenth each."""
    budget = Budget(BudgetOptions(ratio=0.1, minimum=0))
    for _ in range(25):
        budget.called()
    assert [budget.take(0.0) for _ in range(3)] == [True, True, False]


def test_what_was_earned_long_ago_is_forgotten() -> None:
    """No more is kept than a thousand calls earn."""
    budget = Budget(BudgetOptions(ratio=0.01, minimum=0))
    for _ in range(5_000):
        budget.called()
    assert sum(budget.take(0.0) for _ in range(50)) == 10


@given(st.lists(st.tuples(st.sampled_from(["call", "try"]), st.floats(0, 3)), max_size=200))
def test_the_promise_holds_over_any_history(history: list[tuple[str, float]]) -> None:
    """Never more tries than the share of calls so far, and the minimum for each ten seconds begun."""
    budget, now, calls, tries = Budget(BudgetOptions(ratio=0.2, minimum=3)), 0.0, 0, 0
    for what, pause in history:
        now += pause
        if what == "call":
            budget.called()
            calls += 1
        else:
            tries += budget.take(now)
        assert tries <= 0.2 * calls + 3 + 3 * now / 10 + 1e-6
