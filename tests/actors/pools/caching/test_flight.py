"""One call and its readers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llmgine.actors.pools.caching.flight import Flight, Reader


def flight() -> Flight:
    return Flight(window=1_000, max_bytes=5_000)


def rest(of: Flight, reader: Reader) -> list[str]:
    said = []
    while (message := of.take(reader)) is not None:
        said.append(message)
    return said


def joined(of: Flight) -> Reader:
    reader = of.join()
    assert reader is not None
    return reader


def test_a_late_reader_hears_all_from_the_beginning() -> None:
    """Then it hears what the others hear."""
    call = flight()
    first = joined(call)
    call.add("a", 1)
    assert rest(call, first) == ["a"]
    second = joined(call)
    call.add("b", 1)
    assert (rest(call, first), rest(call, second)) == (["b"], ["a", "b"])


def test_the_last_message_is_told_as_it_is_to_one_reader() -> None:
    """It is the first of those who still read: what a call cost is told once."""
    call = flight()
    gone, first, second = joined(call), joined(call), joined(call)
    call.leave(gone)
    call.add("a", 1)
    call.end("costs", "free", 1)
    assert rest(call, second) == ["a", "free"]
    assert rest(call, first) == ["a", "costs"]
    assert call.ended


def test_the_fastest_reader_sets_the_pace() -> None:
    """A slow one holds nobody back, and alone it is waited for."""
    call = flight()
    fast, slow = joined(call), joined(call)
    call.add("a", 900)
    assert call.may_go_on
    call.add("b", 100)
    assert not call.may_go_on
    rest(call, fast)
    assert call.may_go_on
    call.leave(fast)
    assert not call.may_go_on
    rest(call, slow)
    assert call.may_go_on
    call.leave(slow)
    assert not call.may_go_on
    assert call.readers == 0


def test_a_reader_too_far_behind_is_cut_off() -> None:
    """The others go on; nothing is held for it."""
    call = flight()
    fast, slow = joined(call), joined(call)
    for number in range(8):
        call.add(number, 1_000)
        rest(call, fast)
    assert slow.cut
    assert not fast.cut
    assert call.take(slow) is None
    assert call.messages == []
    assert call.readers == 1


def test_one_message_of_any_size_cuts_nobody_off_who_was_near() -> None:
    """An answer's last message holds all of it."""
    call = flight()
    fast, slow = joined(call), joined(call)
    call.add("a", 100)
    rest(call, fast)
    call.end("huge", "huge again", 1_000_000)
    assert rest(call, fast) == ["huge"]
    assert rest(call, slow) == ["a", "huge again"]


def test_nobody_joins_a_call_that_has_said_too_much() -> None:
    """Its beginning is no longer held."""
    call = flight()
    reader = joined(call)
    for number in range(8):
        call.add(number, 1_000)
        rest(call, reader)
    assert call.join() is None
    assert not call.is_whole
    assert len(call.messages) == 0


def test_nobody_joins_a_call_that_all_have_left() -> None:
    """It is being given up."""
    call = flight()
    reader = joined(call)
    call.add("a", 1)
    call.leave(reader)
    assert call.join() is None


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "take", "take", "join", "leave"]), st.integers(0, 5)), max_size=80
    )
)
def test_each_reader_hears_everything_once_in_order_and_memory_is_bounded(
    steps: list[tuple[str, int]],
) -> None:
    """Whoever is not cut off has heard exactly what was said, as far as it has read."""
    call = Flight(window=300, max_bytes=600)
    heard: dict[Reader, list[int]] = {}
    said = 0
    for kind, number in steps:
        readers = list(heard)
        if kind == "join":
            if (reader := call.join()) is not None:
                heard[reader] = []
        elif kind == "add" and call.may_go_on:
            call.add(said, 40 * number)
            said += 1
        elif readers and kind in ("take", "leave"):
            reader = readers[number % len(readers)]
            if kind == "leave":
                call.leave(reader)
                del heard[reader]
            elif (message := call.take(reader)) is not None:
                heard[reader].append(message)
        for messages in heard.values():
            assert messages == list(range(len(messages)))
        held = sum(size for _, size in call._log)
        assert held <= 600 + 300 + 264
    for reader, messages in heard.items():
        if not reader.cut:
            assert [*messages, *rest(call, reader)] == list(range(said))
