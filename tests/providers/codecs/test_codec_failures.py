from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.providers.codecs import OpenAIChatCodec, Target
from llmgine.providers.codecs.failures import SIGNATURE_INVALID, failure
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope

TARGET = Target("openai", "gpt-4o")
CODEC = OpenAIChatCodec()
NAMES = st.sampled_from(
    ["error", "message", "code", "type", "status", "details", "retryDelay", "reason", "metadata", "raw", "x"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)

ERRORS: list[tuple[int, dict[str, Any], ErrorKind, ErrorScope, bool]] = [
    (
        401,
        {"code": "invalid_api_key", "type": "invalid_request_error"},
        ErrorKind.AUTHENTICATION,
        ErrorScope.KEY,
        False,
    ),
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


# Google's errors: status, its word, the text, and what they mean.
GOOGLE: list[tuple[int, str, str, ErrorKind, bool]] = [
    (
        400,
        "INVALID_ARGUMENT",
        "API key not valid. Please pass a valid API key.",
        ErrorKind.AUTHENTICATION,
        False,
    ),
    (400, "INVALID_ARGUMENT", "Unknown name", ErrorKind.INVALID_REQUEST, False),
    (
        400,
        "INVALID_ARGUMENT",
        "The input token count (134123) exceeds the maximum number of tokens allowed (131072).",
        ErrorKind.CONTEXT_LENGTH,
        False,
    ),
    (400, "FAILED_PRECONDITION", "User location is not supported", ErrorKind.PERMISSION, False),
    (401, "UNAUTHENTICATED", "", ErrorKind.AUTHENTICATION, False),
    (403, "PERMISSION_DENIED", "", ErrorKind.PERMISSION, False),
    (404, "NOT_FOUND", "", ErrorKind.NOT_FOUND, False),
    (
        429,
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details.",
        ErrorKind.RATE_LIMIT,
        True,
    ),
    (429, "RESOURCE_EXHAUSTED", "Quota exceeded for metric: m, limit: 0", ErrorKind.RATE_LIMIT, False),
    (499, "CANCELLED", "", ErrorKind.CONNECTION, True),
    (500, "INTERNAL", "", ErrorKind.SERVER, True),
    (503, "UNAVAILABLE", "The model is overloaded.", ErrorKind.OVERLOADED, True),
    (504, "DEADLINE_EXCEEDED", "", ErrorKind.TIMEOUT, True),
]


@pytest.mark.parametrize(("status", "word", "text", "kind", "retryable"), GOOGLE)
def test_google_says_it_in_its_own_shape(
    status: int, word: str, text: str, kind: ErrorKind, retryable: bool
) -> None:
    """As an answer, in a list, and inside a stream, where only its word and number tell."""
    payload = {"error": {"code": status, "status": word, "message": text}}
    for body, at in ((payload, status), ([payload], status), (payload, 200)):
        error = failure(TARGET, body, status=at, phase=ErrorPhase.PRE_TOKEN)
        assert (error.kind, error.retryable, error.code) == (kind, retryable, word)


def test_the_number_tells_where_the_word_is_missing() -> None:
    """A frame inside a stream that brings only the status it would have had."""
    frame = {"error": {"code": 503, "message": "m"}}
    assert failure(TARGET, frame, status=200, phase=ErrorPhase.MID_STREAM).kind is ErrorKind.OVERLOADED


def test_a_key_that_google_refuses_is_told_by_its_reason() -> None:
    """Whatever language the text is in."""
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]
    payload = {"error": {"code": 400, "status": "INVALID_ARGUMENT", "message": "Nein", "details": details}}
    assert failure(TARGET, payload, status=400, phase=ErrorPhase.PRE_TOKEN).kind is ErrorKind.AUTHENTICATION


RESPONSES: list[tuple[dict[str, Any], ErrorKind]] = [
    ({"code": "server_error", "message": "m"}, ErrorKind.SERVER),
    ({"code": "rate_limit_exceeded", "message": "m"}, ErrorKind.RATE_LIMIT),
    ({"code": "invalid_prompt", "message": "m"}, ErrorKind.CONTENT_FILTER),
    (
        {"message": "this prompt was flagged as violating our usage policy", "code": ""},
        ErrorKind.CONTENT_FILTER,
    ),
    ({"code": "image_too_small", "message": "m"}, ErrorKind.INVALID_REQUEST),
    ({"code": "image_content_policy_violation", "message": "m"}, ErrorKind.CONTENT_FILTER),
    ({"code": "context_length_exceeded", "message": "m"}, ErrorKind.CONTEXT_LENGTH),
]


@pytest.mark.parametrize(("error", "kind"), RESPONSES)
def test_openai_responses_fail_inside_the_stream(error: dict[str, Any], kind: ErrorKind) -> None:
    """By an event of their own in either shape, or by a whole answer that failed."""
    for frame in (
        {"type": "error", "sequence_number": 1, "param": None, **error},
        {"type": "error", "error": error},
        {"type": "response.failed", "response": {"id": "r", "status": "failed", "error": error}},
    ):
        found = failure(TARGET, frame, status=200, phase=ErrorPhase.MID_STREAM)
        assert (found.kind, found.message) == (kind, error["message"])
        assert found.code == (error["code"] or found.code)


UNWANTED_THINKING: list[tuple[int, dict[str, Any]]] = [
    (400, {"message": "messages.1.content.0: Invalid `signature` in `thinking` block"}),
    (400, {"message": "messages.3.content.1: Invalid `data` in `redacted_thinking` block"}),
    (
        400,
        {
            "message": "messages.1.content.0: `thinking` or `redacted_thinking` blocks in the latest "
            "assistant message cannot be modified."
        },
    ),
    (400, {"code": "invalid_encrypted_content", "message": "no"}),
    (400, {"message": "The encrypted content gAAA...CwHs could not be verified."}),
    (404, {"message": "Item with id 'rs_68' not found. Items are not persisted when store is false."}),
    (400, {"message": "Item 'rs_68' of type 'reasoning' was provided without its required following item."}),
    (400, {"message": "Function call is missing a thought_signature in functionCall parts."}),
    (400, {"message": "Thought signature is not valid."}),
    (400, {"message": "messages.1.content.0: The block is bound to a different conversation"}),
    (200, {"type": "invalid_request_error", "message": "Invalid `signature` in `thinking` block"}),
]


@pytest.mark.parametrize(("status", "error"), UNWANTED_THINKING)
def test_thinking_that_is_not_taken_back(status: int, error: dict[str, Any]) -> None:
    """It has one code at every vendor, so that the call can be tried without it."""
    found = failure(TARGET, {"error": error}, status=status, phase=ErrorPhase.PRE_TOKEN)
    assert (found.code, found.kind) == (SIGNATURE_INVALID, ErrorKind.INVALID_REQUEST)
    assert (found.scope, found.retryable) == (ErrorScope.REQUEST, False)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (400, "Expected `thinking` or `redacted_thinking`, but found `text`."),
        (400, "`budget_tokens` must be less than `max_tokens`"),
        (401, "Invalid signature in thinking block"),
        (404, "model 'rs_1' not found"),
    ],
)
def test_other_faults_of_thinking_are_no_such_thing(status: int, message: str) -> None:
    """What leaving the thinking out would not mend keeps its own code."""
    found = failure(TARGET, {"error": {"message": message}}, status=status, phase=ErrorPhase.PRE_TOKEN)
    assert found.code != SIGNATURE_INVALID


@pytest.mark.parametrize(("status", "error", "kind", "scope", "retryable"), ERRORS)
def test_error_answers(
    status: int, error: dict[str, Any], kind: ErrorKind, scope: ErrorScope, retryable: bool
) -> None:
    """Status and code together say what failed, where, and whether to try again."""
    body = json.dumps({"error": {"message": "m", **error}}).encode()
    decoded = CODEC.decode_error(TARGET, status, {"X-Request-Id": "r1"}, body, ErrorPhase.PRE_TOKEN)
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
    assert CODEC.decode_error(TARGET, 429, headers, b"", ErrorPhase.PRE_TOKEN).retry_after == seconds


WAITS: list[tuple[dict[str, Any], float | None]] = [
    ({"details": [{"@type": "…/google.rpc.RetryInfo", "retryDelay": "21s"}]}, 21.0),
    ({"details": [{"@type": "…/google.rpc.Help"}, 3, {"retryDelay": "0.5s"}]}, 0.5),
    ({"details": [{"retryDelay": {"seconds": 3}}]}, None),
    ({"details": {"retryDelay": "3s"}}, None),
    ({"message": "Rate limit reached for m: Limit 3. Please try again in 1.242s. Visit"}, 1.242),
    ({"message": "Please try again in 20ms."}, 0.02),
    ({"message": "Please try again in 6m0s."}, 360.0),
    ({"message": "Please try again in 1h2m3.5s"}, 3723.5),
    ({"message": "Please retry in 21.5s."}, 21.5),
    ({"message": "try again in 2 minutes 10 seconds"}, 130.0),
    ({"message": "try again in 5 milliseconds"}, None),
    ({"message": "try again in a while"}, None),
    ({"retry_after": 4}, 4.0),
    ({"message": "m"}, None),
]


@pytest.mark.parametrize(("error", "wait"), WAITS)
def test_how_long_the_body_says_to_wait(error: dict[str, Any], wait: float | None) -> None:
    """In a field or in words, in an answer or inside a stream; a header goes before."""
    body = json.dumps({"error": {"type": "rate_limit_error", **error}}).encode()
    assert CODEC.decode_error(TARGET, 429, {}, body, ErrorPhase.PRE_TOKEN).retry_after == wait
    assert CODEC.decode_error(TARGET, 429, {"retry-after": "9"}, body, ErrorPhase.PRE_TOKEN).retry_after == 9
    found = failure(TARGET, json.loads(body), status=200, phase=ErrorPhase.MID_STREAM)
    assert (found.kind, found.retry_after) == (ErrorKind.RATE_LIMIT, wait)


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (413, "Request exceeds the maximum size", ErrorKind.INVALID_REQUEST),
        (413, "prompt is too long: 9 tokens > 8 maximum", ErrorKind.CONTEXT_LENGTH),
        (400, "input length and `max_tokens` exceed context limit: 9 + 8 > 10", ErrorKind.CONTEXT_LENGTH),
        (400, "This model's maximum prompt length is 8 but the request contains 9", ErrorKind.CONTEXT_LENGTH),
        (498, "flex capacity exceeded", ErrorKind.OVERLOADED),
    ],
)
def test_words_that_decide(status: int, message: str, kind: ErrorKind) -> None:
    """A request that is too large in bytes is not one that is too long in tokens."""
    assert failure(TARGET, message, status=status, phase=ErrorPhase.PRE_TOKEN).kind is kind


@given(st.one_of(JSON, st.fixed_dictionaries({"error": JSON}), st.fixed_dictionaries({"response": JSON})))
def test_no_payload_is_too_odd(payload: Any) -> None:
    """Whatever stands there, an error comes out and no exception."""
    for status in (200, 400, 429):
        failure(TARGET, payload, status=status, phase=ErrorPhase.PRE_TOKEN)
        CODEC.decode_error(TARGET, status, {}, json.dumps(payload).encode(), ErrorPhase.PRE_TOKEN)


@pytest.mark.parametrize(
    "key", ["AIzaSyA1234567890abcdefghij", "gsk_abcdefgh12345678", "xai-abcdefgh12345678"]
)
def test_no_vendors_key_shows(key: str) -> None:
    """Keys are known by how each vendor's begin."""
    assert key not in failure(TARGET, f"bad {key}", status=401, phase=ErrorPhase.PRE_TOKEN).message


def test_error_text_is_bounded_and_shows_no_key() -> None:
    """A long message is cut, and something that looks like a key is taken out."""
    body = json.dumps({"error": {"message": "bad key sk-proj-abcdefgh12345678 " + "x" * 9000}}).encode()
    decoded = CODEC.decode_error(TARGET, 401, {}, body, ErrorPhase.PRE_TOKEN)
    assert len(decoded.message) == 2000
    assert "abcdefgh" not in decoded.message
    body = json.dumps({"error": {"message": "no", "code": "sk-proj-abcdefgh12345678" + "x" * 9000}}).encode()
    decoded = CODEC.decode_error(TARGET, 401, {}, body, ErrorPhase.PRE_TOKEN)
    assert decoded.code == "[key]"
    elsewhere = {"location": "https://x/?key=AIzaSyAbcdefgh12345678"}
    assert (
        "abcdefgh"
        not in CODEC.decode_error(TARGET, 307, elsewhere, b"", ErrorPhase.PRE_TOKEN).message.lower()
    )
    headers = {"x-should-retry": "false"}
    assert CODEC.decode_error(TARGET, 500, headers, b"<html>", ErrorPhase.PRE_TOKEN).retryable is False
