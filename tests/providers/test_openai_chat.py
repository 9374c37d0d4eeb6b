from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from typing import Any

import pytest
from llmgine.providers.codecs import OpenAIChatCodec, Target
from llmgine.providers.contracts import (
    FinishReason,
    ImagePart,
    LLMRequest,
    LLMResponse,
    Message,
    NamedTool,
    OpaquePart,
    Origin,
    OutputSchema,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
    UsageSource,
)
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope, InvalidRequest, ProviderError
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
WEATHER = ToolSpec(name="weather", description="Tells it", parameters={"type": "object", "properties": {}})


def codec(compatible: bool = False) -> OpenAIChatCodec:
    numbers = itertools.count(1)
    return OpenAIChatCodec(compatible, new_id=lambda: f"made_{next(numbers)}")


def ask(*messages: Message, **fields: Any) -> LLMRequest:
    return LLMRequest(model="openai/gpt-4o", messages=messages or (Message.user("hi"),), **fields)


def encode(request: LLMRequest, compatible: bool = False) -> dict[str, Any]:
    return codec(compatible).encode(request, TARGET).body


def chunk(delta: dict[str, Any] | None = None, reason: str | None = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": reason}
    return {"id": "c1", "model": "gpt-4o-2024", "choices": [choice], **fields}


def call(index: int | None = None, id: str | None = None, name: str | None = None, arguments: Any = None) -> Any:
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
        chunk({}, "stop", usage={"prompt_tokens": None, "completion_tokens": 2, "prompt_tokens_details": None}),
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
    answer = response([chunk({field: "hm"}), chunk({field: "m", "content": ""}), chunk({"content": "ok"}, "stop")])
    assert [(part.type, getattr(part, "text", "")) for part in answer.message.parts] == [
        ("thinking", "hmm"),
        ("text", "ok"),
    ]
    sent = encode(ask(Message.user("q"), answer.message, Message.user("r")), compatible=True)
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
    frames = [chunk({"content": None, "refusal": ""}), chunk({"refusal": "No"}), chunk({"refusal": "."}, "stop")]
    answer = response(frames)
    assert [event for event in play(frames) if isinstance(event, TextDelta)] == [
        TextDelta(0, "No"),
        TextDelta(0, "."),
    ]
    assert isinstance(answer.message.parts[0], RefusalPart)
    assert (answer.finish_reason, answer.finish_reason_raw) == (FinishReason.REFUSAL, "stop")
    request = ask(Message.user("q"), answer.message, Message.user("r"))
    assert encode(request)["messages"][1] == {"role": "assistant", "content": None, "refusal": "No."}
    assert encode(request, compatible=True)["messages"][1] == {"role": "assistant", "content": "No."}


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
        ({"object": "error", "message": "bad", "code": 400, "type": "BadRequestError"}, ErrorKind.INVALID_REQUEST),
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


@pytest.mark.parametrize("frame", [b"{nope", b"null", b"[1]", b'{"choices": 5}', b'{"choices": [7]}', b"<html>"])
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


def test_body_order_and_settings() -> None:
    """The body has fixed field order and always asks for a stream with usage."""
    request = ask(
        system="be kind",
        tools=(WEATHER,),
        tool_choice=NamedTool(name="weather"),
        parallel_tool_calls=False,
        max_output_tokens=9,
        temperature=0.5,
        top_p=0.9,
        stop=("END",),
        seed=4,
        provider_options={"reasoning_effort": "low", "stream_options": {"extra": 1}},
        extra_headers={"x-a": "b"},
    )
    encoded = codec().encode(request, TARGET)
    assert encoded.headers == {"x-a": "b"}
    assert encoded.adjustments == ()
    assert json.dumps(encoded.body) == json.dumps(
        {
            "model": "gpt-4o",
            "messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}],
            "tools": [
                {
                    "type": "function",
                    "function": {"name": "weather", "description": "Tells it", "parameters": WEATHER.parameters},
                }
            ],
            "tool_choice": {"type": "function", "function": {"name": "weather"}},
            "parallel_tool_calls": False,
            "max_completion_tokens": 9,
            "temperature": 0.5,
            "top_p": 0.9,
            "seed": 4,
            "stop": ["END"],
            "stream": True,
            "stream_options": {"include_usage": True, "include_obfuscation": False, "extra": 1},
            "reasoning_effort": "low",
        }
    )
    compatible = encode(request, compatible=True)
    assert compatible["max_tokens"] == 9
    assert "include_obfuscation" not in compatible["stream_options"]


def test_tool_conversation_and_images() -> None:
    """Calls, results and images take the protocol's form."""
    request = ask(
        Message(role="user", parts=(TextPart(text="look"), ImagePart(data=b"\x00"), ImagePart(url="https://x/y.png"))),
        Message(
            role="assistant",
            parts=(ToolCallPart(id="a", name="f", arguments={"x": "é"}), ToolCallPart(id="b", name="g", arguments={})),
        ),
        Message(
            role="tool",
            parts=(
                ToolResultPart(call_id="a", content=(TextPart(text="1"),)),
                ToolResultPart(call_id="b", content=(TextPart(text="no"),), is_error=True),
            ),
        ),
    )
    encoded = codec().encode(request, TARGET)
    assert encoded.body["messages"] == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":"é"}'}},
                {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": "no"},
    ]
    assert [note.field for note in encoded.adjustments] == ["messages[2].parts[1].is_error"]


def test_image_in_a_result_is_an_error_or_a_note() -> None:
    """What the protocol cannot carry is refused by name, or left out and listed."""
    result = ToolResultPart(call_id="a", content=(TextPart(text="see"), ImagePart(data=b"1")))
    messages = (
        Message(role="assistant", parts=(ToolCallPart(id="a", name="f", arguments={}),)),
        Message(role="tool", parts=(result,)),
    )
    with pytest.raises(ProviderError, match=r"messages\[1\]\.parts\[0\].*on_unsupported") as caught:
        encode(ask(*messages))
    assert (caught.value.kind, caught.value.phase) == (ErrorKind.UNSUPPORTED, ErrorPhase.REQUEST)
    encoded = codec().encode(ask(*messages, on_unsupported="adjust"), TARGET)
    assert encoded.body["messages"][-1]["content"] == "see"
    assert [(note.field, note.action) for note in encoded.adjustments] == [("messages[1].parts[0]", "dropped")]


def test_output_schema_is_strict_where_it_can_be() -> None:
    """A closed schema is enforced; an open one is sent with a note that it is not."""
    closed = {"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False}
    sent = encode(ask(output=OutputSchema(json_schema=closed)))["response_format"]
    assert sent == {"type": "json_schema", "json_schema": {"name": "output", "schema": closed, "strict": True}}
    encoded = codec().encode(ask(output=OutputSchema(json_schema={"type": "object"})), TARGET)
    assert "strict" not in encoded.body["response_format"]["json_schema"]
    assert [note.field for note in encoded.adjustments] == ["output"]


def test_long_and_repeated_ids_are_replaced_alike_in_call_and_result() -> None:
    """An id that the server would refuse has one stand-in for the call and its result."""
    long = "x" * 60
    turn = (
        Message(role="assistant", parts=(ToolCallPart(id=long, name="f", arguments={}),)),
        Message(role="tool", parts=(ToolResultPart(call_id=long, content=()),)),
    )
    sent = encode(ask(*turn, *turn))["messages"]
    ids = [sent[0]["tool_calls"][0]["id"], sent[2]["tool_calls"][0]["id"]]
    assert [sent[1]["tool_call_id"], sent[3]["tool_call_id"]] == ids
    assert len(set(ids)) == 2
    assert all(len(id_) <= 40 for id_ in ids)
    assert encode(ask(*turn))["messages"] == sent[:2]


def test_foreign_parts_stay_behind() -> None:
    """Reasoning and unknown blocks of another provider are left out, and the reply says so."""
    origin = Origin(provider="anthropic", api="anthropic-messages", model="claude")
    message = Message(
        role="assistant",
        parts=(
            ThinkingPart(text="t", signature="s", origin=origin),
            OpaquePart(kind="server_tool_use", data={}, origin=origin),
            TextPart(text="ok", origin=origin),
        ),
    )
    encoded = codec().encode(ask(Message.user("q"), message), TARGET)
    assert encoded.body["messages"][1] == {"role": "assistant", "content": "ok"}
    assert [note.field for note in encoded.adjustments] == ["messages[1].parts[0]", "messages[1].parts[1]"]


@pytest.mark.parametrize(
    "fields",
    [
        {"tool_choice": "required"},
        {"tool_choice": NamedTool(name="absent"), "tools": (WEATHER,)},
        {"provider_options": {"stream": False}},
        {"provider_options": {"n": 2}},
        {"messages": (Message(role="user", parts=(ThinkingPart(text="x"),)),)},
        {"messages": (Message(role="tool", parts=(TextPart(text="x"),)),)},
    ],
)
def test_requests_that_make_no_sense(fields: dict[str, Any]) -> None:
    """The caller's mistakes are refused before anything is sent."""
    request = LLMRequest(**{"model": "openai/gpt-4o", "messages": (Message.user("hi"),), **fields})
    with pytest.raises(InvalidRequest):
        encode(request)


ERRORS: list[tuple[int, dict[str, Any], ErrorKind, ErrorScope, bool]] = [
    (401, {"code": "invalid_api_key", "type": "invalid_request_error"}, ErrorKind.AUTHENTICATION, ErrorScope.KEY, False),
    (403, {}, ErrorKind.PERMISSION, ErrorScope.KEY, False),
    (404, {"code": "model_not_found"}, ErrorKind.NOT_FOUND, ErrorScope.MODEL, False),
    (400, {"code": "context_length_exceeded"}, ErrorKind.CONTEXT_LENGTH, ErrorScope.REQUEST, False),
    (400, {"message": "maximum context length is 8"}, ErrorKind.CONTEXT_LENGTH, ErrorScope.REQUEST, False),
    (400, {"code": "content_filter"}, ErrorKind.CONTENT_FILTER, ErrorScope.REQUEST, False),
    (400, {"code": "unsupported_parameter"}, ErrorKind.UNSUPPORTED, ErrorScope.REQUEST, False),
    (429, {"code": "rate_limit_exceeded"}, ErrorKind.RATE_LIMIT, ErrorScope.KEY, True),
    (429, {"code": "insufficient_quota"}, ErrorKind.RATE_LIMIT, ErrorScope.KEY, False),
    (402, {}, ErrorKind.RATE_LIMIT, ErrorScope.KEY, False),
    (500, {}, ErrorKind.SERVER, ErrorScope.ENDPOINT, True),
    (503, {}, ErrorKind.OVERLOADED, ErrorScope.MODEL, True),
    (504, {}, ErrorKind.TIMEOUT, ErrorScope.ENDPOINT, True),
    (418, {}, ErrorKind.INVALID_REQUEST, ErrorScope.REQUEST, False),
]


@pytest.mark.parametrize(("status", "error", "kind", "scope", "retryable"), ERRORS)
def test_error_answers(
    status: int, error: dict[str, Any], kind: ErrorKind, scope: ErrorScope, retryable: bool
) -> None:
    """Status and code together say what failed, where, and whether to try again."""
    body = json.dumps({"error": {"message": "m", **error}}).encode()
    decoded = codec().decode_error(TARGET, status, {"X-Request-Id": "r1"}, body, ErrorPhase.PRE_TOKEN)
    assert (decoded.kind, decoded.scope, decoded.retryable) == (kind, scope, retryable)
    assert (decoded.status, decoded.request_id, decoded.provider) == (status, "r1", "openai")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"Retry-After-Ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """The provider's hint is in seconds; a date counts from the answer's own date."""
    assert codec().decode_error(TARGET, 429, headers, b"", ErrorPhase.PRE_TOKEN).retry_after == seconds


def test_error_text_is_bounded_and_shows_no_key() -> None:
    """A long message is cut, and something that looks like a key is taken out."""
    body = json.dumps({"error": {"message": "bad key sk-proj-abcdefgh12345678 " + "x" * 9000}}).encode()
    decoded = codec().decode_error(TARGET, 401, {}, body, ErrorPhase.PRE_TOKEN)
    assert len(decoded.message) == 2000
    assert "abcdefgh" not in decoded.message
    headers = {"x-should-retry": "false"}
    assert codec().decode_error(TARGET, 500, headers, b"<html>", ErrorPhase.PRE_TOKEN).retryable is False


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
