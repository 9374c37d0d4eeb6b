"""How much a client may ask for."""

from __future__ import annotations

import pytest

from llmgine.actors.gateway.errors import TooManyRequests
from llmgine.actors.gateway.limits import Allowance


def test_a_minutes_worth_may_come_at_once_and_then_at_its_rate() -> None:
    """The bucket is full at first, and refills by its rate."""
    allowance = Allowance(30, None, 0.0)
    for _ in range(30):
        allowance.enter(0.0)
    with pytest.raises(TooManyRequests) as refused:
        allowance.enter(0.5)
    assert refused.value.retry_after == pytest.approx(1.5)
    allowance.enter(2.0)
    with pytest.raises(TooManyRequests):
        allowance.enter(2.0)


def test_no_more_than_a_minutes_worth_is_saved_up() -> None:
    """Who has been away for long has no more at once than at first."""
    allowance = Allowance(2, None, 0.0)
    allowance.enter(3600.0)
    allowance.enter(3600.0)
    with pytest.raises(TooManyRequests):
        allowance.enter(3600.0)


def test_a_rate_below_one_a_minute_lets_one_through() -> None:
    """However low the rate, the first request is served."""
    allowance = Allowance(0.5, None, 0.0)
    allowance.enter(0.0)
    with pytest.raises(TooManyRequests) as refused:
        allowance.enter(0.0)
    assert refused.value.retry_after == pytest.approx(120)


def test_so_many_may_be_under_way_at_a_time() -> None:
    """One that is over makes room for another; one that is refused takes none, and no token either."""
    allowance = Allowance(3, 2, 0.0)
    allowance.enter(0.0)
    allowance.enter(0.0)
    with pytest.raises(TooManyRequests, match="under way"):
        allowance.enter(0.0)
    allowance.leave()
    allowance.enter(0.0)
    assert allowance.under_way == 2


def test_without_limits_all_are_let_in() -> None:
    """None says that there is no limit."""
    allowance = Allowance(None, None, 0.0)
    for _ in range(1000):
        allowance.enter(0.0)
    assert allowance.under_way == 1000
