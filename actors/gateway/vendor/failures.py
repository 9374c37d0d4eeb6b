"""What went wrong, in the words and with the status of each vendor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from llmgine.actors.code import CodeUnavailable
from llmgine.actors.gateway.failures import refusal_of, wait_of
from llmgine.actors.gateway.vendor.reading import RequestRefused
from llmgine.actors.sessions.errors import (
    ContextError,
    LimitReached,
    RuntimeOverloaded,
    SessionBusy,
    SessionError,
    SessionLost,
    SessionOverloaded,
    TurnCancelled,
    TurnDeadline,
    TurnError,
    WindowTooSmall,
)
from llmgine.actors.store import StoreError
from llmgine.providers.errors import (
    ErrorKind,
    LlmgineError,
    MissingKey,
    ModelNotInstalled,
    OutputInvalid,
    ProviderError,
    UnknownModel,
)

Vendor = Literal["openai", "anthropic"]


@dataclass(frozen=True, slots=True)
class _Told:
    """How one kind of failure is told: OpenAI's status, type and code, then Anthropic's status and type."""

    status: int
    type: str
    code: str | None
    anthropic: str
    anthropic_status: int | None = None


_WRONG: Final = _Told(400, "invalid_request_error", None, "invalid_request_error")
_OVERLOADED: Final = _Told(503, "server_error", "overloaded", "overloaded_error", 529)
_SERVER: Final = _Told(500, "server_error", None, "api_error")
_UPSTREAM: Final = _Told(502, "server_error", None, "api_error")
_LATE: Final = _Told(504, "server_error", "timeout", "timeout_error")
_NO_MODEL: Final = _Told(404, "invalid_request_error", "model_not_found", "not_found_error")
_RATE: Final = _Told(429, "rate_limit_error", "rate_limit_exceeded", "rate_limit_error")

# A key that the provider refuses is ours, not the client's: to the client it is a fault of the gateway.
_KINDS: Final = {
    ErrorKind.AUTHENTICATION: _UPSTREAM,
    ErrorKind.PERMISSION: _Told(403, "permission_error", "permission_denied", "permission_error"),
    ErrorKind.NOT_FOUND: _NO_MODEL,
    ErrorKind.INVALID_REQUEST: _WRONG,
    ErrorKind.UNSUPPORTED: _Told(
        400, "invalid_request_error", "unsupported_parameter", "invalid_request_error"
    ),
    ErrorKind.CONTEXT_LENGTH: _Told(
        400, "invalid_request_error", "context_length_exceeded", "invalid_request_error"
    ),
    ErrorKind.CONTENT_FILTER: _Told(400, "invalid_request_error", "content_filter", "invalid_request_error"),
    ErrorKind.RATE_LIMIT: _RATE,
    ErrorKind.OVERLOADED: _OVERLOADED,
    ErrorKind.SERVER: _UPSTREAM,
    ErrorKind.TIMEOUT: _LATE,
    ErrorKind.CONNECTION: _UPSTREAM,
    ErrorKind.TRUNCATED: _UPSTREAM,
    ErrorKind.MALFORMED: _UPSTREAM,
    ErrorKind.BAD_OUTPUT: _UPSTREAM,
    ErrorKind.CANCELLED: _Told(499, "server_error", "cancelled", "api_error"),
    ErrorKind.INTERNAL: _SERVER,
}

# What is told otherwise than its refusal would be; the first class that fits.
_CLASSES: Final[tuple[tuple[type[LlmgineError], _Told], ...]] = (
    (UnknownModel, _NO_MODEL),
    (ModelNotInstalled, _NO_MODEL),
    (MissingKey, _SERVER),
    (SessionLost, _LATE),
    (WindowTooSmall, _KINDS[ErrorKind.CONTEXT_LENGTH]),
    (LimitReached, _Told(400, "invalid_request_error", "limit_reached", "invalid_request_error")),
    (TurnDeadline, _LATE),
    (TurnCancelled, _KINDS[ErrorKind.CANCELLED]),
    (CodeUnavailable, _SERVER),
)
# A turn that ended so was taken on, or may have been: its tools have run, and asked again they run again.
_TAKEN_ON: Final = (TurnError, SessionError, ContextError, OutputInvalid, StoreError)
# These say that it was not.
_TURNED_AWAY: Final = (SessionBusy, SessionOverloaded, RuntimeOverloaded)
_BY_STATUS: Final = {
    401: _Told(401, "authentication_error", "invalid_api_key", "authentication_error"),
    403: _KINDS[ErrorKind.PERMISSION],
    404: _Told(404, "invalid_request_error", "not_found", "not_found_error"),
    409: _Told(409, "invalid_request_error", "conversation_locked", "invalid_request_error"),
    405: _Told(405, "invalid_request_error", None, "invalid_request_error"),
    408: _Told(408, "timeout_error", "timeout", "timeout_error"),
    413: _Told(413, "invalid_request_error", "request_too_large", "request_too_large"),
    422: _WRONG,
    429: _RATE,
    500: _SERVER,
    502: _UPSTREAM,
    503: _OVERLOADED,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as a vendor answers it."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]


def failure_of(vendor: Vendor, error: Exception, request_id: str, *, keyed: bool = False) -> Failure:
    """The answer to a request that ended with this error; what is none of ours is told without its text.

    One that is `keyed` finds its turn again where that goes on.
    """
    refusal, headers = refusal_of(error), dict[str, str]()
    told = _told(error) or _BY_STATUS.get(refusal.status) or replace(_WRONG, status=refusal.status)
    text = f"{refusal.message}; {refusal.hint}" if refusal.hint else refusal.message
    if refusal.retry_after is not None:
        headers["retry-after"] = wait_of(refusal.retry_after)
    if not (_is_repeatable(error) or (keyed and isinstance(error, SessionLost))):
        headers["x-should-retry"] = "false"
    param = error.field if isinstance(error, RequestRefused) else None
    code = error.code if isinstance(error, RequestRefused) else None
    return _shaped(vendor, told, text, request_id, param=param, code=code, headers=headers)


def _is_repeatable(error: Exception) -> bool:
    """Whether a client may ask again by itself, as its library does at most statuses from 409 on."""
    if isinstance(error, ProviderError):
        return error.retryable
    return isinstance(error, _TURNED_AWAY) or not isinstance(error, _TAKEN_ON)


def _told(error: Exception) -> _Told | None:
    """How this error is told; None for one that is told as its refusal."""
    if isinstance(error, ProviderError):
        return _KINDS[error.kind]
    return next((told for kind, told in _CLASSES if isinstance(error, kind)), None)


def _shaped(
    vendor: Vendor,
    told: _Told,
    text: str,
    request_id: str,
    *,
    param: str | None = None,
    code: str | None = None,
    headers: dict[str, str],
) -> Failure:
    if vendor == "anthropic":
        error = {"type": told.anthropic, "message": text}
        body = {"type": "error", "error": error, "request_id": request_id}
        return Failure(told.anthropic_status or told.status, body, headers)
    shown = {"message": text, "type": told.type, "param": param, "code": code or told.code}
    return Failure(told.status, {"error": shown}, headers)
