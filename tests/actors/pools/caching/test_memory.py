"""The answers that one actor holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmgine.actors.pools.caching.memory import Shelf


def test_what_was_longest_not_asked_for_goes_first() -> None:
    """Asking for one keeps it."""
    shelf = Shelf(2, 100)
    shelf.put(b"a", b"1", 10)
    shelf.put(b"b", b"2", 10)
    assert shelf.get(b"a", 0) == b"1"
    shelf.put(b"c", b"3", 10)
    assert [shelf.get(key, 0) for key in (b"a", b"b", b"c")] == [b"1", None, b"3"]


def test_an_answer_expires_at_its_time_and_is_let_go() -> None:
    """Just before it is there, at the time it is not."""
    shelf = Shelf(2, 100)
    shelf.put(b"a", b"1", 10)
    assert shelf.get(b"a", 9.999) == b"1"
    assert shelf.get(b"a", 10) is None
    assert (len(shelf), shelf.bytes) == (0, 0)


def test_bytes_are_bounded_and_one_too_large_takes_nobodys_place() -> None:
    """Nor does it leave an older answer under its key."""
    shelf = Shelf(10, 4)
    shelf.put(b"a", b"12", 10)
    shelf.put(b"b", b"34", 10)
    shelf.put(b"b", b"56789", 10)
    assert (shelf.get(b"a", 0), shelf.get(b"b", 0)) == (b"12", None)
    shelf.put(b"c", b"345", 10)
    assert (shelf.get(b"a", 0), shelf.get(b"c", 0)) == (None, b"345")


_KEYS = st.sampled_from([b"a", b"b", b"c", b"d"])


@given(
    steps=st.lists(st.tuples(_KEYS, st.none() | st.binary(max_size=5), st.integers(0, 9)), max_size=40),
    entries=st.integers(0, 3),
    size=st.integers(0, 8),
)
def test_it_never_holds_more_than_it_may_and_never_answers_wrongly(
    steps: list[tuple[bytes, bytes | None, int]], entries: int, size: int
) -> None:
    """Whatever is put and asked for; the count of bytes is exact."""
    shelf, put = Shelf(entries, size), dict[bytes, tuple[bytes, int]]()
    for now, (key, body, ttl) in enumerate(steps):
        if body is None:
            found = shelf.get(key, now)
            assert found is None or (found == put[key][0] and now < put[key][1])
        else:
            shelf.put(key, body, now + ttl)
            put[key] = body, now + ttl
        assert len(shelf) <= entries
        assert shelf.bytes == sum(len(held.body) for held in shelf._held.values()) <= size
    shelf.clear()
    assert (len(shelf), shelf.bytes) == (0, 0)
