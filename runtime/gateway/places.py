"""Where turns begin in a conversation. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llmgine.providers import Message


def turn_places(history: Sequence[Message], prompts: Iterable[tuple[str, Message | None]]) -> dict[str, int]:
    """The number of the message that began each turn, by the turn's id.

    Turns come newest first, so that of two with the same prompt each has its own place. A turn whose prompt
    cannot be read, or is in the history no more, has none.
    """
    places: dict[str, int] = {}
    end = len(history)
    for turn, prompt in prompts:
        for number in reversed(range(end)):
            if history[number] == prompt:
                places[turn] = end = number
                break
    return places
