"""A session's turn as one answer, and a vendor's request as a turn."""

from __future__ import annotations

from typing import Any

from llmgine.actors.gateway.vendor.sessions import TurnAnswer
from llmgine.actors.sessions import Reply, TurnDone, TurnEvent
from llmgine.providers.contracts import AnyPart, FinishReason, LLMResponse, TextPart, ThinkingPart
from llmgine.providers.events import Done, TextDelta, ThinkingDelta


def reply(*parts: AnyPart, **fields: Any) -> Reply:
    told = {
        "text": "".join(part.text for part in parts if isinstance(part, TextPart)),
        "parts": parts,
        "model": "scripted/x",
        "finish_reason": FinishReason.STOP,
        "turn_id": "s:t",
        "trace_id": "0" * 32,
        "session_id": "s",
        **fields,
    }
    return Reply(**told)


def taken(*events: TurnEvent) -> tuple[list[Any], LLMResponse]:
    """What the answer tells of these events, and what it comes to."""
    answer = TurnAnswer()
    *told, last = [one for event in events for one in answer.take(event)]
    assert isinstance(last, Done)
    return told, last.response


def test_a_turn_whose_events_are_gone_is_answered_from_its_reply() -> None:
    """A request that is repeated long after says what it said, streamed or whole."""
    done = TurnDone(reply(ThinkingPart(text="Hm."), TextPart(text="So."), steps=2))
    told, response = taken(done)
    assert told == [ThinkingDelta(0, "Hm."), TextDelta(1, "So.")]
    assert response.message.parts == (ThinkingPart(text="Hm."), TextPart(text="So."))
