"""Who waits, who goes first, and who goes when there is no room."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from llmgine.actors.pools.admission import FairQueue
from llmgine.providers.contracts import Priority

PRIORITIES: tuple[Priority, ...] = ("interactive", "batch")


@dataclass(eq=False)
class Entry:
    session: str
    number: int = 0
    priority: Priority = "interactive"
    expires: float = math.inf


def queue(bound: int = 100, batch_every: int = 3) -> FairQueue[Entry]:
    return FairQueue(bound, batch_every)


def taken(queue: FairQueue[Entry], now: float = 0.0) -> Entry:
    entry, _ = queue.take(now)
    assert entry is not None
    return entry


def test_sessions_take_turns() -> None:
    """One with many calls waits after each for all others; its own keep their order."""
    waiting = queue()
    for entry in (*(Entry("flood", i) for i in range(5)), Entry("a"), Entry("b")):
        assert waiting.put(entry) is None
    order = [(entry.session, entry.number) for entry in (taken(waiting) for _ in range(7))]
    assert order == [("flood", 0), ("a", 0), ("b", 0), *(("flood", i) for i in range(1, 5))]


def test_batch_goes_after_interactive_but_goes() -> None:
    """While both wait, some interactive calls are followed by one of batch."""
    waiting = queue(batch_every=3)
    for number in range(7):
        waiting.put(Entry("map", number, "batch"))
        waiting.put(Entry("chat", number))
    order = "".join(taken(waiting).priority[0] for _ in range(14))
    assert order == "iiibiiibibbbbb"


def test_what_has_expired_is_not_handed_out() -> None:
    """It is told to whoever finds it, once."""
    waiting = queue()
    late, good = Entry("a", expires=5.0), Entry("b", expires=6.0)
    waiting.put(late)
    waiting.put(good)
    assert waiting.take(5.0) == (good, [late])
    assert waiting.take(5.0) == (None, [])


def test_a_full_queue_sheds_batch() -> None:
    """An interactive call takes the place of the batch call that came last, of the session with the most."""
    waiting = queue(bound=3)
    first, second, other = Entry("map", 0, "batch"), Entry("map", 1, "batch"), Entry("other", 0, "batch")
    for entry in (first, second, other):
        waiting.put(entry)
    assert waiting.put(Entry("chat")) is second
    assert waiting.put(Entry("map", 2, "batch")) is not None
    assert waiting.waiting("interactive") == 1


def test_a_full_queue_refuses_the_session_that_floods_it() -> None:
    """Who has most gives up for who has least; between equals the newcomer is refused."""
    waiting = queue(bound=4)
    flood = [Entry("flood", i) for i in range(4)]
    for entry in flood:
        waiting.put(entry)
    assert waiting.put(more := Entry("flood", 5)) is more
    assert waiting.put(Entry("a")) is flood[3]
    assert waiting.put(Entry("b")) is flood[2]
    assert waiting.put(Entry("c")) is flood[1]
    assert waiting.put(last := Entry("d")) is last
    assert len(waiting) == 4


def test_batch_never_displaces_interactive() -> None:
    """A queue full of interactive calls refuses batch."""
    waiting = queue(bound=2)
    waiting.put(Entry("flood", 0))
    waiting.put(Entry("flood", 1))
    newcomer = Entry("map", 0, "batch")
    assert waiting.put(newcomer) is newcomer


@given(
    st.integers(1, 12),
    st.integers(1, 5),
    st.lists(
        st.tuples(
            st.sampled_from(["put", "put", "put", "take", "remove"]),
            st.sampled_from("abc"),
            st.sampled_from(["interactive", "batch"]),
            st.integers(0, 40),
        ),
        max_size=80,
    ),
)
def test_nothing_is_lost_or_made(
    bound: int, batch_every: int, steps: list[tuple[str, str, Priority, int]]
) -> None:
    """Every entry leaves once: taken, removed, expired or displaced; one session's calls keep their order."""
    waiting = queue(bound, batch_every)
    inside: list[Entry] = []
    for now, (step, session, priority, patience) in enumerate(steps):
        if step == "put":
            entry = Entry(session, now, priority, expires=now + patience)
            gone = waiting.put(entry)
            inside.append(entry)
            if gone is not None:
                inside.remove(gone)
        elif step == "take":
            first, expired = waiting.take(now)
            assert all(entry.expires <= now for entry in expired)
            for entry in expired:
                inside.remove(entry)
            if first is None:
                assert not inside
            else:
                own = [e for e in inside if (e.session, e.priority) == (first.session, first.priority)]
                assert own[0] is first
                inside.remove(first)
        elif inside:
            entry = inside.pop(patience % len(inside))
            assert waiting.remove(entry)
            assert not waiting.remove(entry)
        assert len(waiting) == len(inside) <= bound


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["interactive", "batch"])), max_size=60))
def test_nobody_starves(others: list[tuple[int, Priority]]) -> None:
    """However many come after it, a call's turn comes within a bound that depends on sessions alone."""
    for mine in PRIORITIES:
        waiting = queue(bound=1_000, batch_every=3)
        for number in range(100):
            waiting.put(Entry("flood", number))
        me = Entry("me", 0, mine)
        waiting.put(me)
        sessions, turns = {"flood", "me"}, 0
        for session, priority in [*others, *[(0, mine)] * 60]:
            waiting.put(Entry(f"s{session}", priority=priority))
            sessions.add(f"s{session}")
            turns += 1
            if taken(waiting) is me:
                break
        else:
            raise AssertionError(f"{mine} starved")
        assert turns <= len(sessions) * (2 if mine == "interactive" else 4) + 4
