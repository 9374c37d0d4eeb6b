"""Where turns begin in a conversation."""

from __future__ import annotations

from llmgine.providers import Message
from llmgine.runtime.gateway.places import turn_places

HI, BYE, ANSWER = Message.user("Hi"), Message.user("Bye"), Message.assistant("Yes")


def test_each_turn_has_its_own_place() -> None:
    """Turns that were asked the same begin where each was asked, not all at the first or last."""
    history = [HI, ANSWER, HI, ANSWER, BYE, ANSWER]
    assert turn_places(history, [("c", BYE), ("b", HI), ("a", HI)]) == {"c": 4, "b": 2, "a": 0}


def test_what_is_not_there_has_no_place() -> None:
    """A prompt that was summarised away, or cannot be read, is left out and moves no other."""
    history = [HI, ANSWER, HI, ANSWER]
    assert turn_places(history, [("d", None), ("c", BYE), ("b", HI)]) == {"b": 2}
