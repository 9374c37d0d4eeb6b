"""What an error answer means, whichever vendor worded it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from jiter import from_json

from llmgine.providers.codecs.codec import Target
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope, ProviderError

_LONGEST_MESSAGE = 2000
_KEY = re.compile(r"\b(?:sk|pk|rk|key)-[\w*.-]{8,}")

_BY_STATUS = {
    400: ErrorKind.INVALID_REQUEST,
    401: ErrorKind.AUTHENTICATION,
    402: ErrorKind.RATE_LIMIT,
    403: ErrorKind.PERMISSION,
    404: ErrorKind.NOT_FOUND,
    408: ErrorKind.TIMEOUT,
    409: ErrorKind.SERVER,
    413: ErrorKind.INVALID_REQUEST,
    422: ErrorKind.INVALID_REQUEST,
    429: ErrorKind.RATE_LIMIT,
    501: ErrorKind.UNSUPPORTED,
    503: ErrorKind.OVERLOADED,
    504: ErrorKind.TIMEOUT,
    529: ErrorKind.OVERLOADED,
}

# Codes say more than the status that they come with.
_BY_CODE = {
    "context_length_exceeded": ErrorKind.CONTEXT_LENGTH,
    "exceed_context_size_error": ErrorKind.CONTEXT_LENGTH,
    "content_filter": ErrorKind.CONTENT_FILTER,
    "content_policy_violation": ErrorKind.CONTENT_FILTER,
    "moderation_blocked": ErrorKind.CONTENT_FILTER,
    "insufficient_quota": ErrorKind.RATE_LIMIT,
    "billing_hard_limit_reached": ErrorKind.RATE_LIMIT,
    "billing_not_active": ErrorKind.RATE_LIMIT,
    "rate_limit_exceeded": ErrorKind.RATE_LIMIT,
    "invalid_api_key": ErrorKind.AUTHENTICATION,
    "model_not_found": ErrorKind.NOT_FOUND,
    "unsupported_parameter": ErrorKind.UNSUPPORTED,
    "unsupported_value": ErrorKind.UNSUPPORTED,
    "unsupported_country_region_territory": ErrorKind.PERMISSION,
}

# Types are broad and decide only where the status says nothing: inside a stream, or with a bare 400.
_BY_TYPE = {
    "invalid_request_error": ErrorKind.INVALID_REQUEST,
    "authentication_error": ErrorKind.AUTHENTICATION,
    "permission_error": ErrorKind.PERMISSION,
    "not_found_error": ErrorKind.NOT_FOUND,
    "request_too_large": ErrorKind.INVALID_REQUEST,
    "rate_limit_error": ErrorKind.RATE_LIMIT,
    "rate_limit_exceeded": ErrorKind.RATE_LIMIT,
    "requests": ErrorKind.RATE_LIMIT,
    "tokens": ErrorKind.RATE_LIMIT,
    "insufficient_quota": ErrorKind.RATE_LIMIT,
    "billing_error": ErrorKind.RATE_LIMIT,
    "exceed_context_size_error": ErrorKind.CONTEXT_LENGTH,
    "timeout_error": ErrorKind.TIMEOUT,
    "overloaded_error": ErrorKind.OVERLOADED,
    "unavailable_error": ErrorKind.OVERLOADED,
    "api_error": ErrorKind.SERVER,
    "server_error": ErrorKind.SERVER,
}

# Vendors that send neither a code nor a telling type say it in words.
_BY_WORDS = (
    (
        re.compile(r"context (?:length|window|size)|prompt is too long|too many tokens", re.I),
        ErrorKind.CONTEXT_LENGTH,
    ),
    (re.compile(r"content (?:filtering|management) policy", re.I), ErrorKind.CONTENT_FILTER),
    (re.compile(r"credit balance is too low", re.I), ErrorKind.RATE_LIMIT),
)
_WORDED = frozenset({200, 400, 413, 422, 500})

_NO_MONEY = re.compile(r"insufficient_quota|billing|credit balance|request too large", re.I)

_SCOPES = {
    ErrorKind.AUTHENTICATION: ErrorScope.KEY,
    ErrorKind.PERMISSION: ErrorScope.KEY,
    ErrorKind.RATE_LIMIT: ErrorScope.KEY,
    ErrorKind.NOT_FOUND: ErrorScope.MODEL,
    ErrorKind.OVERLOADED: ErrorScope.MODEL,
    ErrorKind.SERVER: ErrorScope.ENDPOINT,
    ErrorKind.TIMEOUT: ErrorScope.ENDPOINT,
}


@dataclass(frozen=True, slots=True)
class _Report:
    """The vendor's own words."""

    message: str = ""
    type: str = ""
    code: str = ""
    number: int | None = None
    request_id: str | None = None


def http_failure(
    target: Target, status: int, headers: Mapping[str, str], body: bytes, phase: ErrorPhase
) -> ProviderError:
    """What a non-2xx answer means; whatever the body holds, this raises nothing."""
    named = {name.lower(): value for name, value in headers.items()}
    try:
        payload: Any = from_json(body)
    except ValueError:
        payload = body.decode("utf-8", "replace")
    retryable = {"true": True, "false": False}.get(named.get("x-should-retry", ""))
    error = failure(target, payload, status=status, phase=phase, retryable=retryable)
    if 300 <= status < 400:
        error.message = f"{target.provider} sends calls on to {named.get('location', 'another place')[:500]}"
        error.message += " and redirects are not followed, lest the key goes along; set its base_url"
        error.args = (error.message,)
    error.request_id = named.get("request-id") or named.get("x-request-id") or error.request_id
    error.retry_after = _retry_after(named)
    return error


def failure(
    target: Target, payload: Any, *, status: int, phase: ErrorPhase, retryable: bool | None = None
) -> ProviderError:
    """The error that a vendor's payload describes; 200 is the status of one inside a stream."""
    report = _report(payload)
    kind = _kind(report, status)
    if kind is ErrorKind.RATE_LIMIT and (status == 402 or _never_mends(report)):
        retryable = False
    message = report.message or f"{target.provider} answered with status {status} and no explanation"
    return ProviderError(
        _KEY.sub("[key]", message)[:_LONGEST_MESSAGE],
        kind=kind,
        phase=phase,
        scope=_SCOPES.get(kind, ErrorScope.REQUEST),
        provider=target.provider,
        model=target.model,
        status=status,
        code=report.code or report.type or None,
        request_id=report.request_id,
        retryable=retryable,
    )


def _kind(report: _Report, status: int) -> ErrorKind:
    if kind := _BY_CODE.get(report.code):
        return kind
    if status in _WORDED:
        for words, kind in _BY_WORDS:
            if words.search(report.message):
                return kind
    if status in (200, 400):
        if kind := _BY_TYPE.get(report.type):
            return kind
        if report.number is not None and report.number >= 400:
            status = report.number
    if kind := _BY_STATUS.get(status):
        return kind
    if 300 <= status < 400:
        return ErrorKind.NOT_FOUND
    return ErrorKind.INVALID_REQUEST if 400 <= status < 500 else ErrorKind.SERVER


def _never_mends(report: _Report) -> bool:
    """Whether waiting is in vain: no money on the account, or more asked than the limit ever grants."""
    return any(_NO_MONEY.search(text) for text in (report.code, report.type, report.message))


def _report(payload: Any) -> _Report:
    if isinstance(payload, list) and payload:
        payload = payload[0]
    if not isinstance(payload, dict):
        return _Report(message=payload.strip() if isinstance(payload, str) else "")
    error = payload.get("error")
    fields = error if isinstance(error, dict) else payload
    message = (
        error if isinstance(error, str) else _text(fields.get("message")) or _text(payload.get("detail"))
    )
    metadata = fields.get("metadata")
    if isinstance(metadata, dict) and (raw := _text(metadata.get("raw"))):
        message = f"{message}: {raw}"
    code = fields.get("code")
    return _Report(
        message=message,
        type=_text(fields.get("type")),
        code=code if isinstance(code, str) else "",
        number=code if type(code) is int else None,
        request_id=_text(payload.get("request_id")) or None,
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    if (seconds := _number(headers.get("retry-after-ms"))) is not None:
        return seconds / 1000
    value = headers.get("retry-after")
    if (seconds := _number(value)) is not None or value is None:
        return seconds
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(headers["date"])
    except (ValueError, TypeError, LookupError, OverflowError):
        return None
    return max(0.0, wait.total_seconds())


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
