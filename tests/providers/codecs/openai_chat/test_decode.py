from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from typing import Any

import pytest

from llmgine.providers.catalogue.quirks import OPENAI, PLAIN, Quirks
from llmgine.providers.codecs import OpenAIChatCodec, Target
from llmgine.providers.contracts import (
    FinishReason,
    LLMRequest,
    LLMResponse,
    Message,
    OpaquePart,
    Origin,
    RefusalPart,
    TextPart,
    UsageSource,
)
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
)

TARGET = Target("openai", "gpt-4o")


def codec(quirks: Quirks = OPENAI) -> OpenAIChatCodec:
    numbers = itertools.count(1)
    return OpenAIChatCodec(quirks, new_id=lambda: f"made_{next(numbers)}")


def ask(*messages: Message, **fields: Any) -> LLMRequest:
    return LLMRequest(model="openai/gpt-4o", messages=messages or (Message.user("hi"),), **fields)


def encode(request: LLMRequest, quirks: Quirks = OPENAI) -> dict[str, Any]:
    return codec(quirks).encode(request, TARGET).body


def chunk(delta: dict[str, Any] | None = None, reason: str | None = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": reason}
    return {"id": "c1", "model": "gpt-4o-2024", "choices": [choice], **fields}


def call(
    index: int | None = None, id: str | None = None, name: str | None = None, arguments: Any = None
) -> Any:
    function = {"name": name, "arguments": arguments}
    entry = {"index": index, "id": id, "function": {k: v for k, v in function.items() if v is not None}}
    return {name: value for name, value in entry.items() if value is not None}


def play(frames: Iterable[dict[str, Any] | bytes]) -> list[StreamEvent]:
    decoder = codec().decoder(TARGET)
    events: list[StreamEvent] = []
    for frame in frames:
        events += decoder.feed("", frame if isinstance(frame, bytes) else json.dumps(frame).encode())
    return events + decoder.end()


def response(frames: Iterable[dict[str, Any] | bytes]) -> LLMResponse:
    last = play(frames)[-1]
    assert isinstance(last, Done), last
    return last.response


def calls(frames: Iterable[dict[str, Any] | bytes]) -> list[tuple[str, str, Any]]:
    return [(part.id, part.name, part.arguments) for part in response(frames).tool_calls]


def test_text_and_usage() -> None:
    """Deltas, the whole part, then the response with served model, ids, usage and extras."""
    events = play(
        [
            chunk({"role": "assistant", "content": ""}, system_fingerprint="fp"),
            chunk({"content": "Hel"}),
            chunk({"content": "lo"}),
            chunk({}, "stop"),
            {
                "choices": [],
                "usage": {
                    "prompt_tokens": 10,
                    "completion_tokens": 5,
                    "total_tokens": 15,
                    "prompt_tokens_details": {"cached_tokens": 4},
                    "completion_tokens_details": {"reasoning_tokens": 2},
                },
            },
            b"[DONE]",
        ]
    )
    part = TextPart(text="Hello", origin=Origin(provider="openai", api="openai-chat", model="gpt-4o"))
    done = events.pop()
    assert events == [TextDelta(0, "Hel"), TextDelta(0, "lo"), PartDone(0, part)]
    assert isinstance(done, Done)
    answer = done.response
    assert answer.message.parts == (part,)
    assert (answer.finish_reason, answer.finish_reason_raw) == (FinishReason.STOP, "stop")
    assert (answer.model, answer.provider, answer.response_id) == ("gpt-4o-2024", "openai", "c1")
    usage = answer.usage
    assert (usage.input_tokens, usage.output_tokens) == (10, 5)
    assert (usage.cache_read_tokens, usage.reasoning_tokens) == (4, 2)
    assert usage.source is UsageSource.REPORTED
    assert answer.provider_data == {"system_fingerprint": "fp"}


def test_usage_counts_on_whatever_frame_it_comes() -> None:
    """Usage beside choices, inside a choice, or in a vendor's field is read; null takes nothing back."""
    first = {"prompt_tokens": 7, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 3}}
    frames = [
        chunk({"content": "a"}, usage=first),
        chunk(
            {}, "stop", usage={"prompt_tokens": None, "completion_tokens": 2, "prompt_tokens_details": None}
        ),
        chunk({}, usage=None),
    ]
    usage = response(frames).usage
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == (7, 2, 3)
    inside = chunk({"content": "a"}, "stop")
    inside["choices"][0]["usage"] = {"prompt_tokens": 9}
    assert response([inside]).usage.input_tokens == 9
    assert response([chunk({}, "stop", x_groq={"usage": {"prompt_tokens": 8}})]).usage.input_tokens == 8


def test_reasoning_counted_beside_the_completion_is_added() -> None:
    """`output_tokens` includes reasoning whatever the server's convention."""
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 35,
        "completion_tokens_details": {"reasoning_tokens": 20},
    }
    assert response([chunk({}, "stop", usage=usage)]).usage.output_tokens == 25


def test_missing_usage_is_absent() -> None:
    """Usage that never came is marked, not guessed."""
    assert response([chunk({"content": "a"}, "stop")]).usage.source is UsageSource.ABSENT


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("stop", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("content_filter", FinishReason.CONTENT_FILTER),
        ("function_call", FinishReason.TOOL_CALLS),
        ("eos", FinishReason.UNKNOWN),
    ],
)
def test_finish_reasons(raw: str, reason: FinishReason) -> None:
    """A reason has its meaning and its raw word; one that is not known is never a stop."""
    answer = response([chunk({"content": "a"}), chunk({}, raw)])
    assert (answer.finish_reason, answer.finish_reason_raw) == (reason, raw)


def test_done_without_reason_is_unknown() -> None:
    """`[DONE]` alone ends an answer, for a reason that nobody said."""
    answer = response([chunk({"content": "a"}), b"[DONE]"])
    assert (answer.finish_reason, answer.finish_reason_raw) == (FinishReason.UNKNOWN, None)


def test_parallel_calls_interleaved() -> None:
    """Calls split over chunks come out whole, each with its own deltas."""
    events = play(
        [
            chunk({"tool_calls": [call(0, "a", "weather", "")]}),
            chunk({"tool_calls": [call(0, arguments='{"city": '), call(1, "b", "time", "")]}),
            chunk({"tool_calls": [call(1, arguments='{"zone"'), call(0, arguments='"Paris"}')]}),
            chunk({"tool_calls": [call(1, arguments=': "CET"}')]}),
            chunk({}, "tool_calls"),
        ]
    )
    assert events[:6] == [
        ToolCallStart(0, "a", "weather"),
        ToolCallDelta(0, '{"city": '),
        ToolCallStart(1, "b", "time"),
        ToolCallDelta(1, '{"zone"'),
        ToolCallDelta(0, '"Paris"}'),
        ToolCallDelta(1, ': "CET"}'),
    ]
    done = events[-1]
    assert isinstance(done, Done)
    assert [part.arguments for part in done.response.tool_calls] == [{"city": "Paris"}, {"zone": "CET"}]
    assert [event.index for event in events if isinstance(event, PartDone)] == [0, 1]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        pytest.param(
            [[call(0, "x", "f", "")], [call(0, "x", "f", '{"a"')], [call(0, "x", "f", ":1}")]],
            [("x", "f", {"a": 1})],
            id="id and name on each chunk",
        ),
        pytest.param(
            [[call(0, None, "f", '{"a":1}')]],
            [("made_1", "f", {"a": 1})],
            id="no id",
        ),
        pytest.param(
            [[call(0, None, "f"), call(0, "late", None, "{}")]],
            [("late", "f", {})],
            id="id after the name",
        ),
        pytest.param(
            [[call(None, "x", "f", '{"a":1}')], [call(None, "y", "f", '{"a":2}')]],
            [("x", "f", {"a": 1}), ("y", "f", {"a": 2})],
            id="no index",
        ),
        pytest.param(
            [[call(None, None, "f", '{"a":')], [call(None, None, None, "1}")], [call(None, None, "f", "{}")]],
            [("made_1", "f", {"a": 1}), ("made_2", "f", {})],
            id="neither id nor index",
        ),
        pytest.param(
            [[call(0, "x", "f", "{}"), call(0, "y", "f", '{"b":1}')]],
            [("x", "f", {}), ("y", "f", {"b": 1})],
            id="one index for all, ids differ",
        ),
        pytest.param(
            [[call(0, None, "f", '{"a":1}'), call(0, None, "f", '{"a":2}')]],
            [("made_1", "f", {"a": 1}), ("made_2", "f", {"a": 2})],
            id="one index for all, no ids",
        ),
        pytest.param([[call(0, "x", "f", "")]], [("x", "f", {})], id="empty arguments"),
        pytest.param([[call(0, "x", "f")]], [("x", "f", {})], id="no arguments"),
        pytest.param([[call(0, "x", "f", {"a": 1})]], [("x", "f", {"a": 1})], id="arguments as object"),
        pytest.param([[call(0, "x", "f", '{"a":')]], [("x", "f", None)], id="broken arguments"),
        pytest.param([[call(0, "x", "f", "[1]")]], [("x", "f", None)], id="arguments that are no object"),
        pytest.param(
            [[call(0, "x", "get_")], [call(0, None, "it", "{}")]],
            [("x", "get_it", {})],
            id="name in pieces",
        ),
    ],
)
def test_tool_calls_of_every_shape(entries: list[Any], expected: list[Any]) -> None:
    """Whatever a server leaves out or repeats, each call comes out once and whole."""
    frames = [chunk({"tool_calls": entry}) for entry in entries]
    assert calls([*frames, chunk({}, "tool_calls")]) == expected


def test_broken_arguments_keep_their_text() -> None:
    """Arguments that cannot be read are None, and their text is kept."""
    answer = response([chunk({"tool_calls": [call(0, "x", "f", '{"a": nope}')]}), chunk({}, "tool_calls")])
    assert answer.tool_calls[0].raw_arguments == '{"a": nope}'
    assert answer.tool_calls[0].id_source == "provider"


def test_forced_call_and_old_function_call() -> None:
    """A call that ends with `stop`, or comes in the old field, is a tool call all the same."""
    answer = response([chunk({"tool_calls": [call(0, "x", "f", "{}")]}), chunk({}, "stop")])
    assert (answer.finish_reason, answer.finish_reason_raw) == (FinishReason.TOOL_CALLS, "stop")
    old = [chunk({"function_call": {"name": "f", "arguments": "{}"}}), chunk({}, "function_call")]
    assert calls(old) == [("made_1", "f", {})]


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_of_compatible_servers(field: str) -> None:
    """Reasoning is its own part before the text, and goes back under its own name."""
    answer = response(
        [chunk({field: "hm"}), chunk({field: "m", "content": ""}), chunk({"content": "ok"}, "stop")]
    )
    assert [(part.type, getattr(part, "text", "")) for part in answer.message.parts] == [
        ("thinking", "hmm"),
        ("text", "ok"),
    ]
    sent = encode(ask(Message.user("q"), answer.message, Message.user("r")), PLAIN)
    assert sent["messages"][1] == {"role": "assistant", "content": "ok", field: "hmm"}


def test_reasoning_details_are_joined_and_replayed() -> None:
    """Opaque reasoning items survive and go back to the same model only."""
    frames = [
        chunk({"reasoning": "a", "reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "a"}]}),
        chunk({"reasoning": "b", "reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "b"}]}),
        chunk({"reasoning_details": [{"type": "reasoning.encrypted", "index": 1, "data": "zz"}]}),
        chunk({"content": "ok"}, "stop"),
    ]
    events = play(frames)
    assert events[:2] == [ThinkingDelta(0, "a"), ThinkingDelta(0, "b")]
    answer = response(frames)
    details = [
        {"type": "reasoning.text", "index": 0, "text": "ab"},
        {"type": "reasoning.encrypted", "index": 1, "data": "zz"},
    ]
    request = ask(Message.user("q"), answer.message, Message.user("r"))
    assert encode(request)["messages"][1]["reasoning_details"] == details
    other = codec().encode(request, Target("openai", "gpt-5"))
    assert "reasoning_details" not in other.body["messages"][1]
    assert [note.action for note in other.adjustments] == ["dropped"]


def test_refusal() -> None:
    """A refusal is its own part and its own reason, and goes back as a refusal."""
    frames = [
        chunk({"content": None, "refusal": ""}),
        chunk({"refusal": "No"}),
        chunk({"refusal": "."}, "stop"),
    ]
    answer = response(frames)
    assert [event for event in play(frames) if isinstance(event, TextDelta)] == [
        TextDelta(0, "No"),
        TextDelta(0, "."),
    ]
    assert isinstance(answer.message.parts[0], RefusalPart)
    assert (answer.finish_reason, answer.finish_reason_raw) == (FinishReason.REFUSAL, "stop")
    request = ask(Message.user("q"), answer.message, Message.user("r"))
    assert encode(request)["messages"][1] == {"role": "assistant", "content": None, "refusal": "No."}
    assert encode(request, PLAIN)["messages"][1] == {"role": "assistant", "content": "No."}


def test_logprobs_and_unknown_fields_are_kept() -> None:
    """What has no place in the reply stands in `provider_data`."""
    first, second = chunk({"content": "a"}), chunk({"content": "b"}, "stop", service_tier="default")
    first["choices"][0]["logprobs"] = {"content": [{"token": "a"}], "refusal": None}
    second["choices"][0] |= {"logprobs": {"content": [{"token": "b"}]}, "native_finish_reason": "completed"}
    unknown = {"type": "surprise"}
    data = response([first, unknown, second]).provider_data
    assert data["logprobs"] == {"content": [{"token": "a"}, {"token": "b"}]}
    assert (data["native_finish_reason"], data["service_tier"]) == ("completed", "default")
    assert data["unknown_events"] == [{"event": "", "data": unknown}]


def test_content_as_blocks() -> None:
    """Servers that stream typed blocks are read too; a block that nobody knows is kept."""
    image = {"type": "image_url", "image_url": {"url": "https://x"}}
    blocks = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "ok"},
        image,
    ]
    parts = response([chunk({"content": blocks}, "stop")]).message.parts
    assert [part.type for part in parts] == ["thinking", "text", "opaque"]
    assert isinstance(parts[2], OpaquePart)
    assert parts[2].data == image


@pytest.mark.parametrize(
    ("frame", "kind"),
    [
        ({"error": {"message": "slow down", "type": "rate_limit_exceeded"}}, ErrorKind.RATE_LIMIT),
        ({"error": {"message": "boom", "type": "server_error", "code": None}}, ErrorKind.SERVER),
        ({"error": {"message": "gone", "code": 503}}, ErrorKind.OVERLOADED),
        ({"error": {"message": "long", "code": "context_length_exceeded"}}, ErrorKind.CONTEXT_LENGTH),
        ({"error": "plain words"}, ErrorKind.SERVER),
        (
            {"object": "error", "message": "bad", "code": 400, "type": "BadRequestError"},
            ErrorKind.INVALID_REQUEST,
        ),
        ({"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]}, ErrorKind.SERVER),
    ],
)
def test_error_frames(frame: dict[str, Any], kind: ErrorKind) -> None:
    """An error inside a 200 stream fails the call with what had arrived."""
    early = play([frame])[-1]
    assert isinstance(early, Failed)
    assert (early.error.kind, early.error.phase, early.error.status) == (kind, ErrorPhase.PRE_TOKEN, 200)
    assert early.partial is None
    late = play([chunk({"content": "par"}, usage={"prompt_tokens": 3}), frame, chunk({"content": "x"})])
    assert len(late) == 2
    failed = late[-1]
    assert isinstance(failed, Failed)
    assert failed.error.phase is ErrorPhase.MID_STREAM
    assert failed.partial is not None
    assert failed.partial.text == "par"
    assert failed.usage is not None
    assert (failed.usage.input_tokens, failed.usage.source) == (3, UsageSource.PARTIAL)


@pytest.mark.parametrize(
    "frame", [b"{nope", b"null", b"[1]", b'{"choices": 5}', b'{"choices": [7]}', b"<html>"]
)
def test_malformed_frames_fail_the_call(frame: bytes) -> None:
    """What is not the protocol is an error of its own kind."""
    failed = play([chunk({"content": "par"}), frame])[-1]
    assert isinstance(failed, Failed)
    assert (failed.error.kind, failed.error.phase) == (ErrorKind.MALFORMED, ErrorPhase.MID_STREAM)


def test_partial_call_is_never_whole() -> None:
    """A cut call keeps its text, and arguments that had not begun are unknown, not empty."""
    failed = play([chunk({"tool_calls": [call(0, "x", "f", "")]})])[-1]
    assert isinstance(failed, Failed)
    assert failed.error.kind is ErrorKind.TRUNCATED
    assert failed.partial is not None
    assert failed.partial.tool_calls[0].arguments is None


def test_transport_failure() -> None:
    """A broken connection is a failure with its phase set right, but not after the end marker."""
    broken = ProviderError("reset", kind=ErrorKind.CONNECTION)
    decoder = codec().decoder(TARGET)
    decoder.feed("", json.dumps(chunk({"content": "a"})).encode())
    failed = decoder.fail(broken)[0]
    assert isinstance(failed, Failed)
    assert (failed.error.phase, failed.error.provider) == (ErrorPhase.MID_STREAM, "openai")
    assert decoder.fail(broken) == decoder.end() == []
    decoder = codec().decoder(TARGET)
    decoder.feed("", json.dumps(chunk({"content": "a"}, "stop")).encode())
    assert isinstance(decoder.fail(broken)[-1], Done)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"choices": []}', b'{"choices": null}', b"\xff"])
def test_bodies_that_are_no_answer(body: bytes) -> None:
    """A body in one piece that holds no answer is malformed."""
    with pytest.raises(ProviderError) as caught:
        codec().decode_body(TARGET, body)
    assert caught.value.kind is ErrorKind.MALFORMED


def test_body_with_an_error() -> None:
    """An error that came with status 200 is raised as what it says."""
    with pytest.raises(ProviderError, match="nope") as caught:
        codec().decode_body(TARGET, b'{"error": {"message": "nope", "code": 429}}')
    assert caught.value.kind is ErrorKind.RATE_LIMIT
