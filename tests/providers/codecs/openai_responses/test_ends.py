from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from llmgine.providers.codecs import OpenAIResponsesCodec, Target
from llmgine.providers.contracts import FinishReason, LLMResponse, ToolCallPart, UsageSource
from llmgine.providers.errors import ErrorKind, ErrorPhase, ProviderError
from llmgine.providers.events import Done, Failed, StreamEvent, TextDelta

TARGET = Target("openai", "gpt-5")
USAGE = {"input_tokens": 10, "output_tokens": 5}
Frame = dict[str, Any] | bytes


def text(words: str) -> dict[str, Any]:
    return {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": words}


def end(status: str = "completed", output: Iterable[Any] = (), **fields: Any) -> dict[str, Any]:
    response = {"id": "r1", "model": "gpt-5-2025", "status": status, "output": list(output), **fields}
    return {"type": f"response.{status}", "response": response}


def play(frames: Iterable[Frame]) -> list[StreamEvent]:
    decoder = OpenAIResponsesCodec().decoder(TARGET)
    events: list[StreamEvent] = []
    for one in frames:
        events += decoder.feed("", one if isinstance(one, bytes) else json.dumps(one).encode())
    return events + decoder.end()


def response(*frames: Frame) -> LLMResponse:
    last = play(frames)[-1]
    assert isinstance(last, Done), last
    return last.response


def failed(*frames: Frame) -> Failed:
    last = play(frames)[-1]
    assert isinstance(last, Failed), last
    return last


@pytest.mark.parametrize(
    ("details", "reason", "raw"),
    [
        ({"reason": "max_output_tokens"}, FinishReason.LENGTH, "max_output_tokens"),
        ({"reason": "content_filter"}, FinishReason.CONTENT_FILTER, "content_filter"),
        ({"reason": "steered"}, FinishReason.UNKNOWN, "steered"),
        (None, FinishReason.UNKNOWN, "incomplete"),
    ],
)
def test_incomplete_answers(details: Any, reason: FinishReason, raw: str) -> None:
    """An answer that was broken off says why; a call in it is no reason to go on."""
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a', "status": "incomplete"}
    said = {"type": "message", "id": "m", "status": "incomplete", "content": []}
    answer = response(text("a"), end("incomplete", [said, call], incomplete_details=details, usage=USAGE))
    assert answer.message.parts[0].provider_data == {"id": "m", "status": "incomplete"}
    assert (answer.finish_reason, answer.finish_reason_raw) == (reason, raw)
    assert answer.usage.output_tokens == 5
    cut = answer.message.parts[-1]
    assert isinstance(cut, ToolCallPart)
    assert (cut.arguments, cut.provider_data) == (None, {"status": "incomplete"})


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": "rate_limit_exceeded", "message": "slow"}, ErrorKind.RATE_LIMIT),
        ({"code": "server_error", "message": "boom"}, ErrorKind.SERVER),
        ({"code": "invalid_prompt", "message": "no"}, ErrorKind.CONTENT_FILTER),
        ({"code": "invalid_image_url", "message": "no"}, ErrorKind.INVALID_REQUEST),
        (None, ErrorKind.SERVER),
    ],
)
def test_failed_answers(error: Any, kind: ErrorKind) -> None:
    """A failed answer is an error with its meaning, what had arrived, and the tokens it took."""
    last = failed(text("a"), end("failed", error=error, usage=USAGE))
    assert (last.error.kind, last.error.phase) == (kind, ErrorPhase.MID_STREAM)
    assert last.partial is not None
    assert last.partial.text == "a"
    assert last.usage is not None
    assert last.usage.source is UsageSource.PARTIAL


@pytest.mark.parametrize(
    "error",
    [
        {"type": "error", "code": "rate_limit_exceeded", "message": "slow", "param": None},
        {"type": "error", "error": {"type": "tokens", "code": "rate_limit_exceeded", "message": "slow"}},
        {"error": {"code": "rate_limit_exceeded", "message": "slow"}},
    ],
)
def test_error_events(error: dict[str, Any]) -> None:
    """An error inside the stream is read in each of its shapes."""
    last = failed(text("a"), error, end())
    assert (last.error.kind, last.error.message) == (ErrorKind.RATE_LIMIT, "slow")


def test_a_cancelled_answer_failed() -> None:
    """An answer that someone cancelled at the provider is not worth another try."""
    last = failed(text("a"), end("cancelled"))
    assert (last.error.kind, last.error.retryable) == (ErrorKind.CANCELLED, False)


def test_done_is_no_end_marker() -> None:
    """Only the response with its last status ends the answer."""
    assert failed(text("a"), b"[DONE]").error.kind is ErrorKind.TRUNCATED
    assert response(text("a"), end(), b"[DONE]").text == "a"


def test_the_name_of_an_event_stands_for_its_type() -> None:
    """A frame without a type is read by the name of its event."""
    decoder = OpenAIResponsesCodec().decoder(TARGET)
    events = decoder.feed("response.output_text.delta", b'{"output_index": 0, "delta": "a"}')
    assert events == [TextDelta(0, "a")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"output": null}',
        b'{"choices": []}',
        b'{"status": "queued", "output": []}',
        b'{"status": "in_progress", "output": []}',
        b"\xff",
    ],
)
def test_bodies_that_are_no_answer(body: bytes) -> None:
    """A body in one piece that holds no finished answer is malformed."""
    with pytest.raises(ProviderError) as caught:
        OpenAIResponsesCodec().decode_body(TARGET, body)
    assert caught.value.kind is ErrorKind.MALFORMED


def test_body_with_an_error() -> None:
    """A failed answer in one piece is raised as what it says."""
    body = {"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "nope"}, "output": []}
    with pytest.raises(ProviderError, match="nope") as caught:
        OpenAIResponsesCodec().decode_body(TARGET, json.dumps(body).encode())
    assert (caught.value.kind, caught.value.phase) == (ErrorKind.RATE_LIMIT, ErrorPhase.PRE_TOKEN)


def test_an_item_that_is_said_twice_is_one() -> None:
    """A frame that a server repeats makes no second call, which would be made twice."""
    call = {"type": "function_call", "id": "i", "call_id": "c", "name": "f", "arguments": "{}"}
    begun = {"type": "response.output_item.added", "output_index": 0, "item": call}
    done = {"type": "response.output_item.done", "output_index": 0, "item": call}
    told = response(begun, done, done, end(output=[call]))
    assert [call.id for call in told.message.tool_calls] == ["c"]
