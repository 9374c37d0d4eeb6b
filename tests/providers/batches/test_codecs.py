"""Batch codecs with what no server should send, and with states that the server under test does not have."""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any

import pytest

from llmgine.providers.batches import BatchCodec, Sending
from llmgine.providers.batches.anthropic import AnthropicBatchCodec
from llmgine.providers.batches.openai import OpenAIBatchCodec
from llmgine.providers.codecs import AnthropicMessagesCodec, OpenAIChatCodec, OpenAIResponsesCodec, Target
from llmgine.providers.contracts import BatchState, BatchStatus
from llmgine.providers.errors import ErrorKind, ErrorPhase, ProviderError

TARGET = Target("there", "m")
OPENAI = OpenAIBatchCodec(OpenAIResponsesCodec())
CHAT = OpenAIBatchCodec(OpenAIChatCodec())
ANTHROPIC = AnthropicBatchCodec(AnthropicMessagesCodec())
CODECS: list[BatchCodec] = [OPENAI, CHAT, ANTHROPIC]


def played(steps: Generator[Sending, dict[str, Any], Any], *answers: dict[str, Any]) -> Any:
    """What the steps come to with these answers."""
    next(steps)
    for answer in answers:
        try:
            steps.send(answer)
        except StopIteration as end:
            return end.value
    raise AssertionError("they want more answers")


@pytest.mark.parametrize(
    ("status", "state", "over"),
    [
        ("validating", BatchState.RUNNING, False),
        ("in_progress", BatchState.RUNNING, False),
        ("finalizing", BatchState.RUNNING, False),
        ("cancelling", BatchState.CANCELLING, False),
        ("completed", BatchState.COMPLETED, True),
        ("expired", BatchState.EXPIRED, True),
        ("cancelled", BatchState.CANCELLED, True),
        ("failed", BatchState.FAILED, True),
        ("a state of next year", BatchState.RUNNING, False),
    ],
)
def test_states_of_openai(status: str, state: BatchState, over: bool) -> None:
    """One that nobody has heard of is waited for."""
    found = played(OPENAI.status(TARGET, "b"), {"id": "b", "status": status})
    assert (found.state, found.over) == (state, over)


@pytest.mark.parametrize(
    ("batch", "state"),
    [
        ({"processing_status": "in_progress"}, BatchState.RUNNING),
        ({"processing_status": "canceling", "cancel_initiated_at": "x"}, BatchState.CANCELLING),
        ({"processing_status": "ended"}, BatchState.COMPLETED),
        ({"processing_status": "ended", "request_counts": {"expired": 1}}, BatchState.EXPIRED),
        (
            {"processing_status": "ended", "cancel_initiated_at": "x", "request_counts": {"canceled": 1}},
            BatchState.CANCELLED,
        ),
        ({"processing_status": "ended", "cancel_initiated_at": "x"}, BatchState.COMPLETED),
    ],
)
def test_states_of_anthropic(batch: dict[str, Any], state: BatchState) -> None:
    """A batch that was cancelled too late is whole."""
    assert played(ANTHROPIC.status(TARGET, "b"), {"id": "b", **batch}).state is state


def test_times_are_seconds_since_1970() -> None:
    """However the protocol writes them."""
    by_number = played(OPENAI.status(TARGET, "b"), {"id": "b", "created_at": 86400, "expires_at": None})
    by_words = played(ANTHROPIC.status(TARGET, "b"), {"id": "b", "created_at": "1970-01-02T00:00:00Z"})
    assert by_number.created == by_words.created == 86400.0
    assert by_number.expires is None


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("answer", [{}, {"id": 3}, {"id": None}])
def test_an_answer_that_names_no_batch(codec: BatchCodec, answer: dict[str, Any]) -> None:
    """It is malformed, so that it may be asked for again."""
    with pytest.raises(ProviderError) as failed:
        played(codec.status(TARGET, "b"), answer)
    assert failed.value.kind is ErrorKind.MALFORMED


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b'{"custom_id": "tag-0", "resp', ErrorKind.TRUNCATED),
        (b"[]", ErrorKind.MALFORMED),
        (b'{"custom_id": 3}', ErrorKind.MALFORMED),
    ],
)
def test_a_line_that_is_none(codec: BatchCodec, line: bytes, kind: ErrorKind) -> None:
    """The download is not whole, or not what the protocol says; both may be tried again."""
    with pytest.raises(ProviderError) as failed:
        codec.read(TARGET, line)
    assert (failed.value.kind, failed.value.retryable) == (kind, True)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    "told",
    [
        {},
        {"response": {}, "error": None},
        {"response": {"status_code": 200, "body": None}},
        {"response": {"status_code": "200", "body": {}}},
        {"response": None, "error": {"code": "novelty", "message": "?"}},
        {"result": {"type": "succeeded"}},
        {"result": {"type": "succeeded", "message": {"content": 3}}},
        {"result": {"type": "errored", "error": None}},
        {"result": {"type": "novelty"}},
        {"result": []},
    ],
)
def test_a_result_that_nobody_understands(codec: BatchCodec, told: dict[str, Any]) -> None:
    """Its request has failed for a reason that may pass; the others are read."""
    result = codec.read(TARGET, json.dumps({"custom_id": "tag-0", **told}).encode())
    assert isinstance(result.outcome, ProviderError)
    assert result.outcome.retryable
    assert result.outcome.phase is ErrorPhase.PRE_TOKEN


def batch(id: str, created: float, **more: Any) -> dict[str, Any]:
    return {"id": id, "created_at": created, "processing_status": "in_progress", **more}


def test_openai_finds_by_tag_over_pages() -> None:
    """As far back as the batch can be."""
    mine = batch("mine", 10_000, metadata={"llmgine": "tag"})
    pages = [
        {"data": [batch("x", 10_200), batch("y", 10_100, metadata={"llmgine": "other"})], "has_more": True},
        {"data": [mine], "has_more": True},
    ]
    found: BatchStatus = played(OPENAI.find(TARGET, "tag", 10_000, 1, ()), *pages)
    assert (found.id, found.tag) == ("mine", "tag")
    assert played(OPENAI.find(TARGET, "tag", 10_000, 1, ["mine"]), *pages, {"data": []}) is None
    older = {"data": [batch("z", 10_000 - 4_000)], "has_more": True}
    assert played(OPENAI.find(TARGET, "tag", 10_000, 1, ()), older) is None


def test_the_cursor_is_the_last_of_the_page() -> None:
    """By each protocol's own name."""
    page = {"data": [batch("a", 10_000), batch("b", 10_000)], "has_more": True, "last_id": "b"}
    for codec, name in ((OPENAI, "after"), (ANTHROPIC, "after_id")):
        steps = codec.find(TARGET, "tag", 10_000, 9, ())
        assert name not in next(steps).query
        assert steps.send(page).query[name] == "b"


def test_a_file_that_is_not_seen_yet_may_be_sent_again() -> None:
    """Files take a moment to be seen by all of the server."""
    body = b'{"error": {"message": "Cannot find file file-1", "type": "invalid_request_error"}}'
    error = OPENAI.decode_error(TARGET, 400, {}, body, ErrorPhase.PRE_TOKEN)
    assert (error.kind, error.retryable) == (ErrorKind.SERVER, True)
    other = OPENAI.decode_error(TARGET, 400, {}, b'{"error": {"message": "no"}}', ErrorPhase.PRE_TOKEN)
    assert (other.kind, other.retryable) == (ErrorKind.INVALID_REQUEST, False)
