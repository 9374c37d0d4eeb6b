"""A session's turn as one answer, and a vendor's request as a turn."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.actors.gateway.vendor.calls import model_answer, whole
from llmgine.actors.gateway.vendor.messages.response import ended
from llmgine.actors.gateway.vendor.reading import RequestRefused
from llmgine.actors.gateway.vendor.sessions import TurnAnswer, ask_of
from llmgine.actors.sessions import Reply, StepStarted, TurnDone, TurnEvent, TurnReset
from llmgine.providers.contracts import (
    AnyPart,
    FinishReason,
    LLMRequest,
    LLMResponse,
    Message,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolResultPart,
)
from llmgine.providers.errors import ProviderError
from llmgine.providers.events import Done, PartDone, Reset, TextDelta, ThinkingDelta
from tests.actors.gateway.fakes import FakePort


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


def taken(*events: TurnEvent, streamed: bool = True) -> tuple[list[Any], LLMResponse]:
    """What the answer tells of these events, and what it comes to."""
    answer = TurnAnswer(streamed=streamed)
    *told, last = [one for event in events for one in answer.take(event)]
    assert isinstance(last, Done)
    return told, last.response


def test_a_turn_whose_events_are_gone_is_answered_from_its_reply() -> None:
    """A request that is repeated long after says what it said, streamed or whole."""
    done = TurnDone(reply(ThinkingPart(text="Hm."), TextPart(text="So."), steps=2))
    told, response = taken(done)
    assert told == [ThinkingDelta(0, "Hm."), TextDelta(1, "So.")]
    assert response.message.parts == (ThinkingPart(text="Hm."), TextPart(text="So."))


STEP, LATER = StepStarted(1, "scripted/x"), StepStarted(2, "scripted/x")


@pytest.mark.parametrize(
    ("begun", "said"),
    [
        ([STEP, TextDelta(0, "one"), Reset("again")], "two"),
        ([STEP, TextDelta(0, "one"), TurnReset("elsewhere"), STEP], "two"),
        ([STEP, TextDelta(0, "one"), LATER, TextDelta(0, "x"), Reset("again")], "one\n\ntwo"),
    ],
)
def test_what_was_not_sent_can_be_taken_back(begun: list[TurnEvent], said: str) -> None:
    """An answer that begins anew fails only where a part of it was streamed."""
    ended: list[TurnEvent] = [TextDelta(0, "two"), TurnDone(reply(TextPart(text="two")))]
    _, response = taken(*begun, *ended, streamed=False)
    assert response.text == said
    with pytest.raises(ProviderError, match="began anew"):
        taken(*begun, *ended)


async def test_a_model_call_that_begins_anew_fails_only_a_stream() -> None:
    """Without a session as within one."""
    message = Message.assistant("two")
    last = LLMResponse(message=message, finish_reason=FinishReason.STOP, model="x", provider="scripted")
    port = FakePort(stream_events=[TextDelta(0, "one"), Reset("again"), TextDelta(0, "two"), Done(last)])
    request = LLMRequest(model="scripted/x", messages=(Message.user("x"),))
    assert await whole(model_answer(port, request, None, streamed=False)) == last
    with pytest.raises(ProviderError, match="began anew"):
        await whole(model_answer(port, request, None, streamed=True))


def asked(*messages: Message) -> list[Message]:
    """What a request of these messages says in a session."""
    request = LLMRequest(model="session", messages=(Message.user("Hi"), Message.assistant("Yes?"), *messages))
    return list(ask_of(request, "s", key=None, goes_on=False, trace=None).messages)


def result(call_id: str) -> ToolResultPart:
    return ToolResultPart(call_id=call_id, content=(TextPart(text="came"),))


def test_a_turn_begins_with_the_user_where_the_system_speaks_first() -> None:
    """What a developer says before a later question follows the question; alone it asks nothing."""
    system, user, more = Message.system("Be brief."), Message.user("Why?"), Message.user("Well?")
    assert asked(system, user, more) == [user, system, more]
    with pytest.raises(RequestRefused, match="add a message of the user"):
        asked(system)


def test_results_in_several_messages_are_one_turn() -> None:
    """A client may split them over messages of the user, with words in between."""
    results = [Message(role="tool", parts=(result(one),)) for one in ("c1", "c2")]
    user = Message.user("Go on.")
    both = Message(role="tool", parts=(result("c1"), result("c2")))
    assert asked(results[0], user, results[1]) == [both, user]


@pytest.mark.parametrize("begun", [[TextDelta(0, "I will "), TextDelta(0, "not.")], []])
def test_a_refusal_is_no_text_of_the_answer(begun: list[TurnEvent]) -> None:
    """It is streamed as text and told as a refusal at its end; a whole answer has it once."""
    refusal = RefusalPart(text="I will not.")
    told, response = taken(STEP, *begun, TurnDone(reply(refusal, finish_reason=FinishReason.REFUSAL)))
    assert told[-1] == PartDone(0, refusal)
    assert response.message.parts == (refusal,)


def test_what_stopped_an_answer_is_told() -> None:
    """As the provider tells it without a session."""
    _, response = taken(TurnDone(reply(TextPart(text="x"), stop_sequence="END")))
    assert ended(response) == {"stop_reason": "stop_sequence", "stop_sequence": "END"}
