"""What is kept of a call, and how it is told again."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.actors.pools import wire
from llmgine.actors.pools.caching.answers import CACHED, is_last, opened, sealed, told_again
from llmgine.providers import (
    Attempt,
    Done,
    EmbeddingRequest,
    EmbeddingResponse,
    ErrorKind,
    Failed,
    FinishReason,
    LLMRequest,
    LLMResponse,
    Message,
    ProviderError,
    RateLimit,
    Reset,
    StreamEvent,
    TextDelta,
    TextPart,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallPart,
    ToolCallStart,
    Usage,
)
from llmgine.providers.contracts import UsageSource
from llmgine.providers.events import PartDone, from_wire, to_wire

REQUEST = LLMRequest(model="openai/m", messages=(Message.user("hi"),))
USAGE = Usage(input_tokens=7, output_tokens=5, source=UsageSource.REPORTED)
CALL = ToolCallPart(id="c1", name="look", arguments={"a": 1}, raw_arguments='{"a":1}')


def response(*parts: Any, **changes: Any) -> LLMResponse:
    fields: dict[str, Any] = {
        "message": Message(role="assistant", parts=parts or (TextPart(text="well"),)),
        "finish_reason": FinishReason.STOP,
        "usage": USAGE,
        "cost": Decimal("0.25"),
        "model": "m-1",
        "provider": "openai",
        "attempts": (
            Attempt(model="m", outcome="rate_limit", seconds=1),
            Attempt(model="m", outcome="done", seconds=2),
        ),
        "rate_limits": (RateLimit(of="requests", remaining=3),),
    }
    return LLMResponse(**fields | changes)


def kept(*events: StreamEvent, request: LLMRequest = REQUEST) -> list[StreamEvent] | None:
    """The events as they are told again."""
    body = sealed(request, [to_wire(event) for event in events])
    if body is None:
        return None
    answer = opened(body)
    assert answer is not None
    return [from_wire(message) for message in answer.messages]


def test_an_answer_is_told_in_the_same_events_with_fewer_deltas() -> None:
    """Parts, calls and their order stay; what deltas said is said whole."""
    text = TextPart(text="Well, yes")
    events = kept(
        ThinkingDelta(0, "h"),
        ThinkingDelta(0, "m"),
        TextDelta(1, "Well"),
        TextDelta(1, ", yes"),
        PartDone(1, text),
        ToolCallStart(2, "c1", "look"),
        ToolCallDelta(2, '{"a"'),
        ToolCallStart(3, "c2", "look"),
        ToolCallDelta(2, ":1}"),
        ToolCallDelta(3, "{}"),
        PartDone(2, CALL),
        Done(response(text, CALL, finish_reason=FinishReason.TOOL_CALLS)),
    )
    assert events is not None
    assert events[:-1] == [
        ThinkingDelta(0, "hm"),
        TextDelta(1, "Well, yes"),
        PartDone(1, text),
        ToolCallStart(2, "c1", "look"),
        ToolCallDelta(2, '{"a"'),
        ToolCallStart(3, "c2", "look"),
        ToolCallDelta(2, ":1}"),
        ToolCallDelta(3, "{}"),
        PartDone(2, CALL),
    ]


def test_a_kept_answer_says_that_it_cost_nothing_and_what_it_saved() -> None:
    """Its tries and the provider's limits were another call's; all else is as it was."""
    events = kept(TextDelta(0, "well"), Done(response()))
    assert events is not None
    last = events[-1]
    assert isinstance(last, Done)
    told = last.response
    assert (told.cached, told.saved, told.usage.total_tokens) == (True, USAGE, 0)
    assert told.cost == 0
    assert [one.outcome for one in told.attempts] == [CACHED]
    assert told.rate_limits == ()
    same = {"message", "finish_reason", "model", "provider"}
    assert told.model_dump(include=same) == response().model_dump(include=same)
    answer = opened(sealed(REQUEST, [to_wire(Done(response()))]) or b"")
    assert answer is not None
    assert answer.saved == (7, 5, 0.25)


def test_an_answer_that_began_anew_is_told_as_it_ended() -> None:
    """What was taken back is not said again."""
    events = kept(TextDelta(0, "no"), Reset("broke"), TextDelta(0, "well"), Done(response()))
    assert events is not None
    assert events[:-1] == [TextDelta(0, "well")]


def test_a_long_answer_is_a_stream_still() -> None:
    """No delta is larger than what goes easily over a link."""
    events = kept(*[TextDelta(0, "x" * 1_000)] * 10, Done(response()))
    assert events is not None
    texts = [event.text for event in events if isinstance(event, TextDelta)]
    assert [len(text) for text in texts] == [4_096, 4_096, 1_808]


BROKEN = CALL.model_copy(update={"arguments": None, "raw_arguments": '{"a":'})
BAD = {
    "a length that nobody asked for": response(finish_reason=FinishReason.LENGTH),
    "filtered": response(finish_reason=FinishReason.CONTENT_FILTER),
    "refused": response(finish_reason=FinishReason.REFUSAL),
    "paused": response(finish_reason=FinishReason.PAUSE),
    "failed": response(finish_reason=FinishReason.ERROR),
    "unknown": response(finish_reason=FinishReason.UNKNOWN),
    "half a call": response(BROKEN, finish_reason=FinishReason.TOOL_CALLS),
    "half a call, ended well": response(BROKEN),
}


@pytest.mark.parametrize("said", BAD.values(), ids=BAD)
def test_only_whole_good_answers_are_kept(said: LLMResponse) -> None:
    """Whoever asks next asks the model."""
    assert kept(TextDelta(0, "well"), Done(said)) is None


def test_a_length_that_was_asked_for_is_whole_but_for_calls() -> None:
    """The limit is a part of the question, and a call cut off by it is none."""
    limited = REQUEST.model_copy(update={"max_output_tokens": 5})
    short = response(finish_reason=FinishReason.LENGTH)
    assert kept(Done(short), request=limited) is not None
    cut = response(CALL, finish_reason=FinishReason.LENGTH)
    assert kept(Done(cut), request=limited) is None


def test_failures_are_never_kept() -> None:
    """Of embeddings neither."""
    error = ProviderError("down", kind=ErrorKind.SERVER)
    assert kept(TextDelta(0, "w"), Failed(error)) is None
    vectors = EmbeddingRequest(model="openai/e", inputs=("a",))
    assert sealed(vectors, [wire.failure_to_wire(error)]) is None


def test_vectors_are_kept_as_they_came() -> None:
    """Packed, with a last message that says what was saved."""
    request = EmbeddingRequest(model="openai/e", inputs=("a", "b"))
    made = EmbeddingResponse(vectors=((1.0, 2.0), (3.0, 4.0)), usage=USAGE, model="e", provider="openai")
    answer = opened(sealed(request, list(wire.embedding_to_wire(made))) or b"")
    assert answer is not None
    reader, found = wire.EmbeddingReader(), None
    for message in answer.messages:
        found = reader.read(message) or found
    assert found is not None
    assert (found.vectors, found.cached, found.saved) == (made.vectors, True, USAGE)
    assert found.cost == 0


def test_damage_is_no_answer() -> None:
    """Whichever byte it is in."""
    body = sealed(REQUEST, [to_wire(Done(response()))])
    assert body is not None
    for place in range(0, len(body), 37):
        assert opened(body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]) is None
    assert opened(b"") is None


def test_a_failure_is_told_again_without_what_it_used() -> None:
    """What was spent is told to one of those who shared it."""
    failed = Failed(ProviderError("down", kind=ErrorKind.SERVER), Message.assistant("w"), USAGE)
    again, _ = told_again(to_wire(failed))
    event = from_wire(list(again))
    assert isinstance(event, Failed)
    assert (event.usage, event.partial) == (None, Message.assistant("w"))


def test_the_last_message_is_known_by_its_form() -> None:
    """Verdicts that end a call too."""
    error = ProviderError("down", kind=ErrorKind.SERVER)
    ends = [to_wire(Done(response())), to_wire(Failed(error)), wire.failure_to_wire(error), [wire.REFUSED, 1]]
    assert all(map(is_last, ends))
    assert not any(
        map(is_last, [[wire.ACCEPTED, 1], to_wire(TextDelta(0, "a")), [wire.VECTORS, "d", 1, b""]])
    )


_deltas = st.one_of(
    st.builds(TextDelta, st.integers(0, 1), st.text(max_size=3)),
    st.builds(ThinkingDelta, st.integers(0, 1), st.text(max_size=3)),
    st.builds(ToolCallDelta, st.integers(0, 1), st.text(max_size=3)),
    st.builds(ToolCallStart, st.integers(0, 1), st.just("c"), st.just("look")),
)


@given(st.lists(_deltas, max_size=30))
def test_deltas_come_to_the_same(events: list[StreamEvent]) -> None:
    """Of each part what its deltas said is the same text, and what stands between them stays in place."""
    again = kept(*events, Done(response()))
    assert again is not None
    for kind in (TextDelta, ThinkingDelta, ToolCallDelta):
        for index in (0, 1):
            assert said(events, kind, index) == said(again, kind, index)
    starts = [event for event in events if isinstance(event, ToolCallStart)]
    assert [event for event in again if isinstance(event, ToolCallStart)] == starts
    assert len(again) <= len(events) + 1


def said(events: list[StreamEvent], kind: type[Any], index: int) -> str:
    deltas = [event for event in events if isinstance(event, kind) and event.index == index]
    return "".join(delta.arguments if isinstance(delta, ToolCallDelta) else delta.text for delta in deltas)
