from __future__ import annotations

import json
from typing import Any

import pytest

from llmgine.providers.codecs import OpenAIChatCodec, Target
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope

TARGET = Target("openai", "gpt-4o")
CODEC = OpenAIChatCodec()

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


def test_error_text_is_bounded_and_shows_no_key() -> None:
    """A long message is cut, and something that looks like a key is taken out."""
    body = json.dumps({"error": {"message": "bad key sk-proj-abcdefgh12345678 " + "x" * 9000}}).encode()
    decoded = CODEC.decode_error(TARGET, 401, {}, body, ErrorPhase.PRE_TOKEN)
    assert len(decoded.message) == 2000
    assert "abcdefgh" not in decoded.message
    headers = {"x-should-retry": "false"}
    assert CODEC.decode_error(TARGET, 500, headers, b"<html>", ErrorPhase.PRE_TOKEN).retryable is False
