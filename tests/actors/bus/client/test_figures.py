"""The figures of several routers as those of one bus."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from llmgine.actors.bus.client.figures import StoryLine, merged, told


def test_counts_are_added_and_shared_tables_are_not() -> None:
    """What each router counts for itself adds up; the one table of subscriptions counts once."""
    one = {
        "queue_size": 2,
        "registered_handlers": 3,
        "handlers": {"BUS": 2, "s": 1},
        "failures": {"depth": 1},
    }
    other = {"queue_size": 5, "registered_handlers": 3, "handlers": {"BUS": 2}, "failures": {"handler": 2}}
    assert merged([one, other]) == {
        "queue_size": 7,
        "registered_handlers": 3,
        "handlers": {"BUS": 2, "s": 1},
        "failures": {"depth": 1, "handler": 2},
    }


def test_a_breaker_is_told_at_its_worst() -> None:
    """A handler whose breaker is open at one router shows so, whatever the others say."""
    states = ["closed", "half_open", "open", "closed"]
    rows = [{"per_handler": {"h": {"circuit_breaker_state": state, "handled": 1}}} for state in states]
    assert merged(rows) == {"per_handler": {"h": {"circuit_breaker_state": "open", "handled": 4}}}


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 9)), max_size=5))
def test_nothing_is_lost_between_routers(reports: list[dict[str, int]]) -> None:
    """Each count of the whole is the sum of the parts'."""
    whole = merged(reports)
    assert sum(whole.values()) == sum(sum(report.values()) for report in reports)


def test_one_router_is_told_as_it_is() -> None:
    """With a single router nothing changes, values that are no figures included."""
    report = {"a": None, "b": [1], "c": {"d": "text"}, "e": 1.5}
    assert merged([report]) == report


def test_stories_come_in_the_order_of_time() -> None:
    """Lines of several routers are one story, the oldest first."""
    late, early = (
        [2.0, "retry", "h", "s", "p:1:s:1", ""],
        [1.0, "attempt failed", "h", "s", "p:1:s:1", "boom"],
    )
    assert told([[late], [early], []]) == [
        StoryLine(datetime.fromtimestamp(1, UTC), "attempt failed", "h", "s", "p:1:s:1", "boom"),
        StoryLine(datetime.fromtimestamp(2, UTC), "retry", "h", "s", "p:1:s:1", ""),
    ]
