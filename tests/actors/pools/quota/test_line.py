"""Who is next among the calls that wait for a lease."""

from __future__ import annotations

from llmgine.actors.pools.quota.line import Line, Waiting
from llmgine.actors.pools.quota.meters import Need


def line(*waiting: Waiting) -> list[str]:
    """The sessions in the order in which they are served."""
    line = Line()
    for one in waiting:
        line.add(one)
    return [one.session for one in line]


def call(session: str, since: float, batch: bool = False) -> Waiting:
    return Waiting(("key",), "m", Need(calls=1.0), since, batch=batch, session=session)


def test_calls_are_served_as_they_came() -> None:
    """Whatever session they are of, where none has two."""
    assert line(call("b", 1.0), call("a", 2.0), call("c", 2.5)) == ["b", "a", "c"]


def test_a_session_that_floods_does_not_starve_others() -> None:
    """Its own calls keep their order, and those of others go in between as they come."""
    flood = [call("flood", 0.0) for _ in range(100)]
    order = line(*flood, call("quiet", 3.5), call("other", 5.5))
    assert order[:8] == ["flood"] * 4 + ["quiet"] + ["flood"] * 2 + ["other"]


def test_bulk_goes_later_but_goes() -> None:
    """An interactive call of half a minute later is behind it."""
    bulk = call("map", 0.0, batch=True)
    assert line(bulk, call("chat", 10.0), call("late", 31.0)) == ["chat", "map", "late"]


def test_bulk_of_a_session_does_not_hold_up_the_session() -> None:
    """Its interactive calls are no further ones of its work in bulk."""
    chat, both = call("s", 1.0), Line()
    for one in (*(call("s", 0.0, batch=True) for _ in range(9)), chat):
        both.add(one)
    assert next(iter(both)) is chat
