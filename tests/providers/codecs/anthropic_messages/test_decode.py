from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from llmgine.providers.codecs import AnthropicMessagesCodec, Target
from llmgine.providers.contracts import (
    Citation,
    FinishReason,
    LLMRequest,
    LLMResponse,
    Message,
    Origin,
    TextPart,
    ThinkingPart,
    ToolCallPart,
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

TARGET = Target("anthropic", "claude-x")


ORIGIN = Origin(provider="anthropic", api="anthropic-messages", model="claude-x")


CODEC = AnthropicMessagesCodec(new_id=lambda: "made")


Frame = dict[str, Any]


def ask(*messages: Message, **fields: Any) -> LLMRequest:
    return LLMRequest(model="anthropic/claude-x", messages=messages or (Message.user("hi"),), **fields)


def encode(request: LLMRequest) -> dict[str, Any]:
    return CODEC.encode(request, TARGET).body


def opening(**usage: Any) -> Frame:
    message = {"id": "m1", "model": "claude-x-1", "content": [], "usage": {"input_tokens": 10, **usage}}
    return {"type": "message_start", "message": message}


def block(index: int, start: Frame, *deltas: Frame) -> list[Frame]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text(index: int, *pieces: str) -> list[Frame]:
    return block(
        index, {"type": "text", "text": ""}, *({"type": "text_delta", "text": piece} for piece in pieces)
    )


def ending(reason: str | None = "end_turn", **usage: Any) -> list[Frame]:
    delta = {"stop_reason": reason, "stop_sequence": None}
    return [{"type": "message_delta", "delta": delta, "usage": usage}, {"type": "message_stop"}]


def play(frames: Iterable[Frame | bytes]) -> list[StreamEvent]:
    decoder = CODEC.decoder(TARGET)
    events: list[StreamEvent] = []
    for frame in frames:
        if isinstance(frame, bytes):
            events += decoder.feed("", frame)
        else:
            events += decoder.feed(frame["type"], json.dumps(frame).encode())
    return events + decoder.end()


def response(frames: Iterable[Frame | bytes]) -> LLMResponse:
    last = play(frames)[-1]
    assert isinstance(last, Done), last
    return last.response


def test_a_whole_answer() -> None:
    """Thinking, text and calls come in order with their deltas, and `ping` means nothing."""
    frames = [
        opening(),
        *block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "h"},
            {"type": "thinking_delta", "thinking": "m"},
            {"type": "signature_delta", "signature": "sig"},
        ),
        {"type": "ping"},
        *block(1, {"type": "redacted_thinking", "data": "opaque"}),
        *text(2, "He", "y"),
        *block(
            3,
            {"type": "tool_use", "id": "t1", "name": "weather", "input": {}, "caller": {"type": "direct"}},
            {"type": "input_json_delta", "partial_json": ""},
            {"type": "input_json_delta", "partial_json": '{"city"'},
            {"type": "input_json_delta", "partial_json": ':"Rome"}'},
        ),
        *ending("tool_use", output_tokens=9),
    ]
    parts = (
        ThinkingPart(text="hm", signature="sig", origin=ORIGIN),
        ThinkingPart(redacted="opaque", origin=ORIGIN),
        TextPart(text="Hey", origin=ORIGIN),
        ToolCallPart(
            id="t1",
            name="weather",
            arguments={"city": "Rome"},
            raw_arguments='{"city":"Rome"}',
            origin=ORIGIN,
            provider_data={"caller": {"type": "direct"}},
        ),
    )
    events = play(frames)
    done = events.pop()
    assert events == [
        ThinkingDelta(0, "h"),
        ThinkingDelta(0, "m"),
        PartDone(0, parts[0]),
        PartDone(1, parts[1]),
        TextDelta(2, "He"),
        TextDelta(2, "y"),
        PartDone(2, parts[2]),
        ToolCallStart(3, "t1", "weather"),
        ToolCallDelta(3, '{"city"'),
        ToolCallDelta(3, ':"Rome"}'),
        PartDone(3, parts[3]),
    ]
    assert isinstance(done, Done)
    assert done.response.message.parts == parts
    assert (done.response.finish_reason, done.response.model) == (FinishReason.TOOL_CALLS, "claude-x-1")
    assert done.response.response_id == "m1"


def test_usage_includes_the_cache() -> None:
    """Input counts what was read from and written to the cache; later figures replace earlier ones."""
    frames = [
        opening(cache_read_input_tokens=100, cache_creation_input_tokens=5, output_tokens=1),
        *ending(output_tokens=7, output_tokens_details={"thinking_tokens": 3}, cache_read_input_tokens=None),
    ]
    usage = response(frames).usage
    assert (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens) == (115, 7, 3)
    assert (usage.cache_read_tokens, usage.cache_write_tokens) == (100, 5)
    assert usage.source is UsageSource.REPORTED
    assert response([opening(), {"type": "message_stop"}]).usage.source is UsageSource.PARTIAL
    failed = play([opening(output_tokens=1)])[-1]
    assert isinstance(failed, Failed)
    assert failed.usage is not None
    assert (failed.usage.input_tokens, failed.usage.source) == (10, UsageSource.PARTIAL)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("end_turn", FinishReason.STOP),
        ("stop_sequence", FinishReason.STOP),
        ("max_tokens", FinishReason.LENGTH),
        ("model_context_window_exceeded", FinishReason.LENGTH),
        ("pause_turn", FinishReason.PAUSE),
        ("refusal", FinishReason.REFUSAL),
        ("novel", FinishReason.UNKNOWN),
        (None, FinishReason.UNKNOWN),
    ],
)
def test_stop_reasons(raw: str | None, reason: FinishReason) -> None:
    """A reason has its meaning and its raw word; one that is not known is never a stop."""
    answer = response([opening(), *text(0, "a"), *ending(raw)])
    assert (answer.finish_reason, answer.finish_reason_raw) == (reason, raw)


def test_server_tools_survive_and_are_replayed_verbatim() -> None:
    """Blocks of tools on the server become opaque parts with their input, and go back as they were."""
    use = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}
    found = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"url": "u"}]}
    frames = [
        opening(),
        *block(
            0,
            use,
            {"type": "input_json_delta", "partial_json": '{"query":'},
            {"type": "input_json_delta", "partial_json": '"q"}'},
        ),
        *block(1, found),
        *block(2, {"type": "compaction", "content": None}, {"type": "compaction_delta", "content": "sum"}),
        *ending(),
    ]
    message = response(frames).message
    assert [part.type for part in message.parts] == ["opaque"] * 3
    request = ask(Message.user("q"), message, Message.user("r"))
    assert encode(request)["messages"][1]["content"] == [
        {**use, "input": {"query": "q"}},
        found,
        {"type": "compaction", "content": "sum"},
    ]
    elsewhere = CODEC.encode(request, Target("bedrock", "claude-x"))
    assert [entry["role"] for entry in elsewhere.body["messages"]] == ["user"]
    assert [note.action for note in elsewhere.adjustments] == ["dropped"] * 3


CITATIONS: list[tuple[Frame, Frame]] = [
    (
        {"type": "char_location", "cited_text": "q", "document_index": 0, "document_title": "d"},
        {"title": "d", "quote": "q"},
    ),
    (
        {"type": "page_location", "cited_text": "q", "document_title": None, "start_page_number": 1},
        {"quote": "q"},
    ),
    (
        {"type": "content_block_location", "cited_text": "q", "document_title": "d", "start_block_index": 0},
        {"title": "d", "quote": "q"},
    ),
    (
        {"type": "web_search_result_location", "cited_text": "q", "url": "u", "title": "t"},
        {"url": "u", "title": "t", "quote": "q"},
    ),
    (
        {"type": "search_result_location", "cited_text": "q", "source": "https://s", "title": "t"},
        {"url": "https://s", "title": "t", "quote": "q"},
    ),
    ({"type": "search_result_location", "source": "shelf 3"}, {}),
]


@pytest.mark.parametrize(("raw", "known"), CITATIONS)
def test_citations_survive(raw: Frame, known: Frame) -> None:
    """A citation of any type speaks of all of its text, says what it knows, and goes back as it came."""
    deltas: list[Frame] = [
        {"type": "citations_delta", "citation": raw},
        {"type": "text_delta", "text": "fact"},
    ]
    start = {"type": "text", "text": "", "citations": []}
    message = response([opening(), *block(0, start, *deltas), *ending()]).message
    part = message.parts[0]
    assert isinstance(part, TextPart)
    assert part.citations == (Citation(**known, start=0, end=4, raw=raw),)
    sent = encode(ask(Message.user("q"), message, Message.user("r")))["messages"][1]["content"]
    assert sent == [{"type": "text", "text": "fact", "citations": [raw]}]
    body = {"content": [{"type": "text", "text": "fact", "citations": [raw]}]}
    whole = CODEC.decode_body(TARGET, json.dumps(body).encode())
    assert whole.message == message


def test_a_refusal_says_why() -> None:
    """What a message's start and end tell beside the answer is data of the response."""
    details = {"type": "refusal", "category": "cyber", "explanation": "no"}
    start = {**opening(), "trace": "t"}
    start["message"]["container"] = {"id": "k"}
    end = {"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_details": details}}
    data = response([start, end, {"type": "message_stop"}]).provider_data
    assert data == {"container": {"id": "k"}, "trace": "t", "stop_details": details}


def test_what_is_not_known_is_kept() -> None:
    """Events and deltas of an unknown type are kept and break nothing; extras of the answer are data."""
    odd = {"type": "heartbeat", "n": 1}
    delta = {"type": "sparkle_delta", "sparkle": 1}
    frames = [
        opening(),
        odd,
        *block(0, {"type": "text", "text": ""}, delta, {"type": "text_delta", "text": "ok"}),
        {
            "type": "message_delta",
            "delta": {"stop_reason": "stop_sequence", "stop_sequence": "END", "container": {"id": "k"}},
            "usage": {},
        },
        {"type": "message_stop"},
    ]
    answer = response(frames)
    assert answer.text == "ok"
    assert answer.provider_data["unknown_events"] == [
        {"event": "heartbeat", "data": odd},
        {"event": "content_block_delta", "data": {"type": "content_block_delta", "index": 0, "delta": delta}},
    ]
    assert answer.provider_data["stop_sequence"] == "END"
    assert answer.provider_data["container"] == {"id": "k"}


def test_kept_events_are_bounded() -> None:
    """A flood of unknown events is counted, not stored."""
    flood = {"type": "noise", "fill": "x" * 10_000}
    data = response([opening(), *[flood] * 100, *ending()]).provider_data
    assert len(data["unknown_events"]) + data["unknown_events_dropped"] == 100
    assert len(json.dumps(data)) < 300_000


@pytest.mark.parametrize(
    ("start", "deltas", "arguments", "raw"),
    [
        ({"input": {}}, [], {}, ""),
        ({"input": {}}, [""], {}, ""),
        ({"input": {"a": 1}}, [], {"a": 1}, '{"a":1}'),
        ({}, ['{"a"', ":1}"], {"a": 1}, '{"a":1}'),
        ({"input": {}}, ['{"a"'], None, '{"a"'),
    ],
)
def test_tool_arguments(start: Frame, deltas: list[str], arguments: Any, raw: str) -> None:
    """Arguments come in pieces, at once, not at all, or broken."""
    pieces = [{"type": "input_json_delta", "partial_json": piece} for piece in deltas]
    frames = [opening(), *block(0, {"type": "tool_use", "id": "t", "name": "f", **start}, *pieces), *ending()]
    events = play(frames)
    call = response(frames).tool_calls[0]
    assert (call.arguments, call.raw_arguments) == (arguments, raw)
    assert "".join(event.arguments for event in events if isinstance(event, ToolCallDelta)) == raw


def test_servers_that_leave_out_the_frame_of_a_block() -> None:
    """A text delta without start and a block without stop are read; a call without start is malformed."""
    loose = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}}
    assert response([opening(), loose, *ending()]).text == "hi"
    orphan = {
        "type": "content_block_delta",
        "index": 1,
        "delta": {"type": "input_json_delta", "partial_json": "{"},
    }
    failed = play([opening(), orphan])[-1]
    assert isinstance(failed, Failed)
    assert failed.error.kind is ErrorKind.MALFORMED


def test_type_of_a_frame_without_one_is_its_event_name() -> None:
    """The event's name serves where the payload has no type."""
    decoder = CODEC.decoder(TARGET)
    assert isinstance(decoder.feed("message_stop", b"{}")[-1], Done)


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        ("overloaded_error", ErrorKind.OVERLOADED),
        ("rate_limit_error", ErrorKind.RATE_LIMIT),
        ("api_error", ErrorKind.SERVER),
        ("invalid_request_error", ErrorKind.INVALID_REQUEST),
        ("novel_error", ErrorKind.SERVER),
    ],
)
def test_error_frames(type_: str, kind: ErrorKind) -> None:
    """An error inside a 200 stream fails the call with its kind, phase and the vendor's code."""
    error = {"type": "error", "error": {"type": type_, "message": "m"}, "request_id": "r"}
    for frames, phase in (
        ([opening()], ErrorPhase.PRE_TOKEN),
        ([opening(), *text(0, "a")], ErrorPhase.MID_STREAM),
    ):
        failed = play([*frames, error, *ending()])[-1]
        assert isinstance(failed, Failed)
        assert (failed.error.kind, failed.error.phase, failed.error.status) == (kind, phase, 200)
        assert (failed.error.code, failed.error.request_id, failed.error.message) == (type_, "r", "m")


@pytest.mark.parametrize(
    "frame",
    [
        b"{nope",
        b"[]",
        b'{"type": "message_start"}',
        b'{"type": "content_block_start", "index": 0}',
        b'{"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": 5}}',
        b'{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": 5}}',
    ],
)
def test_malformed_frames_fail_the_call(frame: bytes) -> None:
    """What is not the protocol is an error of its own kind."""
    failed = play([opening(), frame])[-1]
    assert isinstance(failed, Failed)
    assert failed.error.kind is ErrorKind.MALFORMED


@pytest.mark.parametrize(
    ("status", "type_", "message", "kind", "retryable"),
    [
        (401, "authentication_error", "invalid x-api-key", ErrorKind.AUTHENTICATION, False),
        (403, "permission_error", "", ErrorKind.PERMISSION, False),
        (404, "not_found_error", "model: x", ErrorKind.NOT_FOUND, False),
        (400, "invalid_request_error", "prompt is too long: 9 tokens > 8", ErrorKind.CONTEXT_LENGTH, False),
        (400, "invalid_request_error", "Your credit balance is too low", ErrorKind.RATE_LIMIT, False),
        (
            400,
            "invalid_request_error",
            "Output blocked by content filtering policy",
            ErrorKind.CONTENT_FILTER,
            False,
        ),
        (413, "request_too_large", "", ErrorKind.INVALID_REQUEST, False),
        (429, "rate_limit_error", "", ErrorKind.RATE_LIMIT, True),
        (500, "api_error", "", ErrorKind.SERVER, True),
        (504, "timeout_error", "", ErrorKind.TIMEOUT, True),
        (529, "overloaded_error", "", ErrorKind.OVERLOADED, True),
    ],
)
def test_error_answers(status: int, type_: str, message: str, kind: ErrorKind, retryable: bool) -> None:
    """Status, type and words together say what failed and whether to try again."""
    body = json.dumps(
        {"type": "error", "error": {"type": type_, "message": message}, "request_id": "b"}
    ).encode()
    error = CODEC.decode_error(TARGET, status, {"retry-after": "3"}, body, ErrorPhase.PRE_TOKEN)
    assert (error.kind, error.retryable, error.code) == (kind, retryable, type_)
    assert (error.request_id, error.retry_after, error.model) == ("b", 3.0, "claude-x")
    named = CODEC.decode_error(TARGET, status, {"Request-Id": "h"}, body, ErrorPhase.CONNECT)
    assert (named.request_id, named.phase) == ("h", ErrorPhase.CONNECT)


@pytest.mark.parametrize("body", [b"", b"{", b"7", b"{}", b'{"content": null}', b'{"content": [3]}'])
def test_bodies_that_are_no_answer(body: bytes) -> None:
    """A body in one piece that holds no answer is malformed."""
    with pytest.raises(ProviderError) as caught:
        CODEC.decode_body(TARGET, body)
    assert caught.value.kind is ErrorKind.MALFORMED


def test_a_server_that_numbers_every_block_alike() -> None:
    """A block that begins in the place of an open one ends that, arguments that came with it included."""
    call = block(0, {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}})[:1]
    events = play([opening(), *call, *text(0, "hi"), *ending("tool_use")])
    done = events[-1]
    assert isinstance(done, Done)
    called, said = done.response.message.parts
    assert isinstance(called, ToolCallPart)
    assert called.arguments == {"x": 1}
    assert isinstance(said, TextPart)
    assert said.text == "hi"
    assert [event.index for event in events if isinstance(event, PartDone)] == [0, 1]


def test_half_a_character_is_no_reason_to_lose_an_answer() -> None:
    """What a server cut within a character is read as the replacement character."""
    half = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\\ud83d"}}'
    (done,) = play([opening(), half, *ending()])[-1:]
    assert isinstance(done, Done)
    assert done.response.text == "a\ufffd"
