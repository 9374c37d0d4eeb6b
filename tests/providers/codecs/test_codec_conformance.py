from __future__ import annotations

import contextlib
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.providers.contracts import LLMRequest, Message, OutputSchema, TextPart, ToolResultPart, ToolSpec
from llmgine.providers.errors import ErrorKind, ErrorPhase, ProviderError
from llmgine.providers.events import (
    Done,
    Failed,
    PartDone,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStart,
    from_wire,
    to_wire,
)
from tests.providers.codecs.wires import CASES, TARGET, Case, cut, each_case

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


ODDITIES: list[Any] = [None, True, 0, -1, 2.5, "", "x", [], ["x"], [[1]], [None], [{}], {}, {"type": "x"}]


def deformed(value: Any, chance: random.Random) -> Any:
    """The value with some of its inner values replaced by others or left out."""
    if chance.random() < 0.01:
        return chance.choice(ODDITIES)
    if isinstance(value, dict):
        return {name: deformed(item, chance) for name, item in value.items() if chance.random() < 0.99}
    if isinstance(value, list):
        return [deformed(item, chance) for item in value]
    return value


@each_case
def test_deltas_concatenate_to_the_reply(case: Case) -> None:
    """Deltas make up the parts, the parts the message, and one `Done` ends it."""
    events = case.play(case.wire())
    done = events[-1]
    assert isinstance(done, Done)
    assert not any(isinstance(event, Done | Failed) for event in events[:-1])
    whole = [event for event in events if isinstance(event, PartDone)]
    assert [event.index for event in whole] == list(range(len(whole)))
    assert tuple(event.part for event in whole) == done.response.message.parts
    kinds = {part.type for part in done.response.message.parts}
    assert kinds >= {"text", "thinking", "tool_call"}
    for event in whole:
        part = event.part
        assert part.origin is not None
        assert (part.origin.provider, part.origin.model) == (TARGET.provider, TARGET.model)
        text = "".join(
            piece.arguments if isinstance(piece, ToolCallDelta) else piece.text
            for piece in events
            if isinstance(piece, TextDelta | ThinkingDelta | ToolCallDelta) and piece.index == event.index
        )
        assert text == (part.raw_arguments if part.type == "tool_call" else getattr(part, "text", ""))
    starts = [event for event in events if isinstance(event, ToolCallStart)]
    assert [(start.id, start.name) for start in starts] == [
        (call.id, call.name) for call in done.response.tool_calls
    ]


@each_case
@given(places=st.lists(st.integers(0, 100_000), max_size=20))
def test_cuts_change_nothing(case: Case, places: list[int]) -> None:
    """The events do not depend on where the network cut the bytes."""
    assert case.play(*cut(case.wire(), places)) == case.play(case.wire())


@each_case
def test_a_stream_cut_after_any_frame_ends_once(case: Case) -> None:
    """Before the end marker a cut is an error with what had arrived; after it, the answer is whole."""
    payloads = case.payloads()
    for length in range(len(payloads) + (not case.closes)):
        decoder = case.codec().decoder(TARGET)
        events = [event for frame in payloads[:length] for event in decoder.feed(*frame)]
        shown = "".join(event.text for event in events if isinstance(event, TextDelta))
        events += decoder.end()
        last = events[-1]
        assert sum(isinstance(event, Done | Failed) for event in events) == 1
        assert isinstance(last, Done) is (length > case.first_end_marker)
        if isinstance(last, Failed):
            assert last.error.kind is ErrorKind.TRUNCATED
            said = "" if last.partial is None else last.partial.text
            assert said == shown
        assert decoder.feed(*payloads[0]) == decoder.end() == []
        assert decoder.fail(ProviderError("late", kind=ErrorKind.CONNECTION)) == []


@each_case
def test_a_stream_cut_anywhere_is_never_more_than_it_was(case: Case) -> None:
    """A cut inside a frame counts as a cut before it."""
    wire = case.wire()
    whole = case.play(wire)
    for length in range(0, len(wire), 7):
        events = case.play(wire[:length])
        assert isinstance(events[-1], Done | Failed)
        deltas = [event for event in events if isinstance(event, TextDelta | ToolCallDelta)]
        expected = [event for event in whole if isinstance(event, TextDelta | ToolCallDelta)]
        assert deltas == expected[: len(deltas)]


@pytest.mark.parametrize("case", [case for case in CASES if case.closes], ids=lambda case: case.name)
def test_nothing_comes_after_the_end(case: Case) -> None:
    """Where a frame says that it is the last one, frames after it give no events."""
    assert case.play(case.wire() * 2) == case.play(case.wire())


@each_case
def test_a_transport_failure_ends_the_stream_with_what_had_arrived(case: Case) -> None:
    """The caller's error comes out with partial and phase, once."""
    payloads = case.payloads()
    for length in range(case.first_end_marker + 1):
        decoder = case.codec().decoder(TARGET)
        events = [event for frame in payloads[:length] for event in decoder.feed(*frame)]
        (last,) = decoder.fail(ProviderError("gone", kind=ErrorKind.CONNECTION))
        assert isinstance(last, Failed)
        expected = ErrorPhase.MID_STREAM if events else ErrorPhase.PRE_TOKEN
        assert (last.error.phase, last.error.provider) == (expected, TARGET.provider)
        assert decoder.end() == []


@each_case
@given(seed=st.integers(0, 2**32))
def test_deformed_frames_never_raise(case: Case, seed: int) -> None:
    """Whatever shape the frames have, the stream ends with one event of its own kind."""
    decoder, chance = case.codec().decoder(TARGET), random.Random(seed)
    events: list[StreamEvent] = []
    for event, frame in case.frames:
        payload = frame if isinstance(frame, bytes) else json.dumps(deformed(frame, chance)).encode()
        events += decoder.feed(event, payload)
    events += decoder.end()
    assert sum(isinstance(event, Done | Failed) for event in events) == 1
    assert [to_wire(from_wire(to_wire(event))) for event in events] == [to_wire(event) for event in events]


@each_case
@given(st.binary(max_size=60), st.text(max_size=8))
def test_no_bytes_make_the_decoder_raise(case: Case, payload: bytes, event: str) -> None:
    """Frames that are not JSON are an event, never an exception."""
    decoder = case.codec().decoder(TARGET)
    events = decoder.feed(event, payload) + decoder.end()
    assert isinstance(events[-1], Done | Failed)


@each_case
@given(
    st.binary(max_size=60), st.integers(300, 599), st.dictionaries(st.text(max_size=8), st.text(max_size=8))
)
def test_no_answer_makes_the_error_decoder_raise(
    case: Case, body: bytes, status: int, headers: dict[str, str]
) -> None:
    """Any non-2xx answer is described."""
    error = case.codec().decode_error(TARGET, status, headers, body, ErrorPhase.PRE_TOKEN)
    assert (error.status, error.provider) == (status, TARGET.provider)


@each_case
@given(JSON)
def test_any_json_describes_an_error(case: Case, payload: Any) -> None:
    """Error bodies of any shape are read as far as they go."""
    body = json.dumps({"error": payload, "detail": payload}).encode()
    assert case.codec().decode_error(TARGET, 500, {}, body, ErrorPhase.PRE_TOKEN).status == 500


@each_case
@given(seed=st.integers(0, 2**32))
def test_deformed_bodies_give_a_response_or_a_provider_error(case: Case, seed: int) -> None:
    """An answer in one piece is read or refused, never half read with another exception."""
    body = json.dumps(deformed(case.body, random.Random(seed))).encode()
    with contextlib.suppress(ProviderError):
        assert case.codec().decode_body(TARGET, body).provider == TARGET.provider


@each_case
def test_a_body_is_a_drained_stream(case: Case) -> None:
    """The answer in one piece has the parts, reason and usage of the streamed one."""
    streamed = case.play(case.wire())[-1]
    assert isinstance(streamed, Done)
    whole = case.codec().decode_body(TARGET, json.dumps(case.body).encode())

    def bare(parts: Any) -> list[Any]:
        return [part.model_dump(exclude={"raw_arguments", "provider_data"}) for part in parts]

    assert bare(whole.message.parts) == bare(streamed.response.message.parts)
    assert whole.finish_reason is streamed.response.finish_reason
    assert whole.usage == streamed.response.usage


@each_case
def test_a_request_is_as_it_was_once_it_is_encoded(case: Case) -> None:
    """Requests share their messages and tools, so that none may be changed for one of them."""
    done = case.play(case.wire())[-1]
    assert isinstance(done, Done)
    schema = {"type": "object", "properties": {"a": {"type": "string", "minLength": 1}, "b": {}}}
    request = LLMRequest(
        model="somewhere/some-model",
        messages=(Message.user("q"), done.response.message),
        tools=tuple(
            ToolSpec(name=f"t{strict}", parameters=schema, strict=strict) for strict in (False, True)
        ),
        output=OutputSchema(json_schema=schema, mode="native"),
        on_unsupported="adjust",
        provider_options={TARGET.provider: {"metadata": {"a": {"b": "c"}}}},
    )
    told = request.model_dump_json()
    for _ in range(2):
        case.codec().encode(request, TARGET)
        assert request.model_dump_json() == told


@each_case
def test_the_reply_can_be_continued(case: Case) -> None:
    """A reply with results to its calls is a request again, with the same bytes each time."""
    done = case.play(case.wire())[-1]
    assert isinstance(done, Done)
    reply = done.response.message
    results = tuple(
        ToolResultPart(call_id=call.id, name=call.name, content=(TextPart(text="fine"),))
        for call in reply.tool_calls
    )
    request = LLMRequest(
        model="somewhere/some-model",
        messages=(Message.user("q"), reply, Message(role="tool", parts=results), Message.user("and?")),
        tools=(ToolSpec(name="weather", parameters={"type": "object", "properties": {}}),),
    )
    first, second = (case.codec().encode(request, TARGET) for _ in range(2))
    assert json.dumps(first.body) == json.dumps(second.body)
    assert first.adjustments == ()
    assert first.body.get("stream", case.name == "gemini") is True  # Gemini's URL asks for the stream
