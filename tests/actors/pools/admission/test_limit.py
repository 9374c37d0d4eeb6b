"""The limit that adapts to what a provider bears."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmgine.actors.pools.admission import ConcurrencyLimit


def test_it_begins_at_its_ceiling() -> None:
    """As long as a provider bears all, the setting is the limit."""
    limit = ConcurrencyLimit(256, 0.7)
    limit.answered()
    assert limit.value == 256


def test_failures_of_one_round_trip_count_once() -> None:
    """Calls that were under way when the limit went down tell nothing new; a later one does."""
    limit = ConcurrencyLimit(100, 0.5)
    for began in (1.0, 1.5, 1.9):
        limit.overloaded(began, now=2.0)
    assert (limit.value, limit.decreases) == (50, 1)
    limit.overloaded(2.1, now=3.0)
    assert (limit.value, limit.decreases) == (25, 2)


def test_a_storm_leads_to_one() -> None:
    """However long a provider refuses all, one call goes on asking it."""
    limit = ConcurrencyLimit(256, 0.7)
    for second in range(100):
        limit.overloaded(second, second + 0.5)
    assert limit.value == 1


def test_it_comes_back_in_some_tens_of_round_trips() -> None:
    """From one to hundreds takes tens of round trips, not hundreds."""
    limit = ConcurrencyLimit(256, 0.7)
    for second in range(100):
        limit.overloaded(second, second + 0.5)
    trips = 0
    while limit.value < 256:
        trips += 1
        for _ in range(limit.value):
            limit.answered()
    assert 20 < trips < 60


def test_two_actors_come_to_the_same_share() -> None:
    """Actors that share what a provider bears do not stay at what they began with."""
    bears, big, small = 100, ConcurrencyLimit(256, 0.7), ConcurrencyLimit(256, 0.7)
    for now in range(1, 10):
        small.overloaded(now - 0.5, now)
    for now in range(10, 600):
        for limit in (big, small):
            for _ in range(limit.value):
                limit.answered()
        if big.value + small.value > bears:
            big.overloaded(now - 0.5, now)
            small.overloaded(now - 0.5, now)
    assert abs(big.value - small.value) <= 5


def test_it_can_be_fixed() -> None:
    """Without a share for backing off the limit is the ceiling, whatever happens."""
    limit = ConcurrencyLimit(8, None)
    limit.overloaded(1.0, 2.0)
    assert (limit.value, limit.decreases) == (8, 0)


@given(
    st.integers(1, 500),
    st.floats(0.05, 0.95),
    st.lists(st.tuples(st.booleans(), st.floats(0, 1e6), st.floats(0, 1e6)), max_size=200),
)
def test_it_never_leaves_its_bounds(
    ceiling: int, backoff: float, heard: list[tuple[bool, float, float]]
) -> None:
    """Whatever is heard in whatever order, the limit is at least one and at most the ceiling."""
    limit = ConcurrencyLimit(ceiling, backoff)
    for good, began, now in heard:
        if good:
            limit.answered()
        else:
            limit.overloaded(began, now)
        assert 1 <= limit.value <= ceiling
