"""How a server words a refusal, and how it says when to come back."""

from __future__ import annotations

from typing import Any

from tests.providers.faults.gemini import GeminiWire
from tests.providers.faults.messages import MessagesWire
from tests.providers.faults.wire import Wire

RETRY_SECONDS = 7
WORDS = f" Please try again in {RETRY_SECONDS}s."

HINTS = {
    "retry-after": {"retry-after": "7"},
    "retry-after-ms": {"retry-after-ms": "7000"},
    "http-date": {
        "date": "Wed, 21 Oct 2026 07:28:00 GMT",
        "retry-after": "Wed, 21 Oct 2026 07:28:07 GMT",
    },
}
_ANTHROPIC = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_GOOGLE = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
_OPENAI = {429: "requests", 500: "server_error", 503: "server_error"}


def word(wire: Wire, status: int) -> str:
    """The protocol's own name for a failure of this status."""
    if isinstance(wire, MessagesWire):
        return _ANTHROPIC.get(status, "api_error")
    if isinstance(wire, GeminiWire):
        return _GOOGLE.get(status, "UNKNOWN")
    return _OPENAI.get(status, "invalid_request_error")


def details() -> dict[str, Any]:
    """When to come back, told in the body as Google does."""
    kind = "type.googleapis.com/google.rpc.RetryInfo"
    return {"details": [{"@type": kind, "retryDelay": f"{RETRY_SECONDS}s"}]}
