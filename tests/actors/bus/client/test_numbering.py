"""What is missing, doubled or out of place on a stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.actors.bus.errors import ProtocolViolation
from llmgine.actors.bus.numbering import Numbering


@given(st.lists(st.lists(st.integers(), max_size=3), max_size=20))
def test_what_arrives_in_order_arrives_as_it_was(messages: list[list[int]]) -> None:
    """The other side sees each message without its number."""
    ours, theirs = Numbering(), Numbering()
    assert [theirs.take(ours.number([*message])) for message in messages] == messages


@given(st.data())
def test_whatever_happens_to_messages_what_is_taken_is_a_row_from_the_first(data: st.DataObject) -> None:
    """Doubles are passed over; after a gap nothing is taken any more unless the missing one comes."""
    ours, theirs = Numbering(), Numbering()
    sent = [ours.number([number]) for number in range(8)]
    arriving = data.draw(st.lists(st.sampled_from(sent), max_size=30))
    taken: list[int] = []
    for message in arriving:
        number = message[1]
        if number > len(taken):
            with pytest.raises(ProtocolViolation, match=str(len(taken) + 1)):
                theirs.take([*message])
        elif (said := theirs.take([*message])) is not None:
            taken.extend(said)
        else:
            assert number < len(taken)
    assert taken == list(range(len(taken)))


@pytest.mark.parametrize("message", [None, 3, [], {}, ["PUBLISH"], [None, 1], "x"])
def test_what_is_not_numbered_is_refused(message: object) -> None:
    """Whatever a peer sends in place of a message is an error that names it."""
    with pytest.raises(ProtocolViolation):
        Numbering().take(message)
