"""What reading the answers of both batch APIs has in common."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from llmgine.providers.codecs import Codec, Target
from llmgine.providers.codecs.json_text import read_json
from llmgine.providers.contracts import LLMRequest
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope, InvalidRequest, ProviderError

_STREAMED = ("stream", "stream_options")


def body_of(codec: Codec, request: LLMRequest, target: Target) -> dict[str, Any]:
    """The body that one call would have, but for its being streamed."""
    encoded = codec.encode(request, target)
    if encoded.headers:
        raise InvalidRequest(
            f"requests of a batch have no headers of their own ({', '.join(sorted(encoded.headers))}): "
            "leave out idempotency_key and extra_headers"
        )
    return {name: value for name, value in encoded.body.items() if name not in _STREAMED}


def json_line(value: Any) -> bytes:
    """A value on one line."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise InvalidRequest(f"the request cannot be sent: {error}") from None


def object_of(target: Target, line: bytes) -> dict[str, Any]:
    """The JSON object on one line of results."""
    try:
        value = read_json(line)
    except ValueError:
        raise broken(target, "a line of the results is cut off", ErrorKind.TRUNCATED) from None
    if not isinstance(value, dict) or not isinstance(value.get("custom_id"), str):
        raise broken(target, "a line of the results names no request", ErrorKind.MALFORMED)
    return value


def broken(target: Target, message: str, kind: ErrorKind = ErrorKind.MALFORMED) -> ProviderError:
    return _error(target, message, kind, ErrorScope.ENDPOINT)


def unanswered(target: Target, how: str) -> ProviderError:
    """The error of a request that its batch ended without trying: it was "expired" or "cancelled"."""
    if how == "expired":
        return _error(target, "the batch expired before this request was answered", ErrorKind.TIMEOUT)
    return _error(target, "the batch was cancelled before this request was answered", ErrorKind.CANCELLED)


def _error(
    target: Target, message: str, kind: ErrorKind, scope: ErrorScope = ErrorScope.REQUEST
) -> ProviderError:
    return ProviderError(
        message,
        kind=kind,
        phase=ErrorPhase.PRE_TOKEN,
        scope=scope,
        provider=target.provider,
        model=target.model,
    )


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def count(values: Any, name: str) -> int:
    found = values.get(name) if isinstance(values, dict) else None
    return found if type(found) is int and found > 0 else 0


def seconds_of(value: Any) -> float | None:
    """A time in seconds since 1970, given so or as RFC 3339 has it."""
    if type(value) in (int, float):
        return float(value)
    try:
        return datetime.fromisoformat(value).timestamp()
    except (TypeError, ValueError):
        return None
