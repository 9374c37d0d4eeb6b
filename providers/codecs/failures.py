"""What an error answer means, whichever vendor worded it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jiter import from_json

from llmgine.providers.codecs.codec import Target
from llmgine.providers.codecs.failure_report import Report, report_of
from llmgine.providers.codecs.ratelimits import rate_limits, seconds, seconds_until
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope, ProviderError

SIGNATURE_INVALID = "signature_invalid"  # code of an error that the conversation without its thinking mends

_LONGEST_MESSAGE = 2000
_LONGEST_CODE = 200
_KEY = re.compile(r"\b(?:(?:sk|pk|rk|key|xai)-[\w*.-]{8,}|gsk_\w{8,}|AIza[\w-]{8,})")

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
    498: ErrorKind.OVERLOADED,
    499: ErrorKind.CONNECTION,
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
    "image_content_policy_violation": ErrorKind.CONTENT_FILTER,
    "misalignment_policy_violation": ErrorKind.CONTENT_FILTER,
    "bio_policy": ErrorKind.CONTENT_FILTER,
    "moderation_blocked": ErrorKind.CONTENT_FILTER,
    "invalid_prompt": ErrorKind.CONTENT_FILTER,
    "insufficient_quota": ErrorKind.RATE_LIMIT,
    "billing_hard_limit_reached": ErrorKind.RATE_LIMIT,
    "billing_not_active": ErrorKind.RATE_LIMIT,
    "rate_limit_exceeded": ErrorKind.RATE_LIMIT,
    "invalid_api_key": ErrorKind.AUTHENTICATION,
    "API_KEY_INVALID": ErrorKind.AUTHENTICATION,
    "API_KEY_EXPIRED": ErrorKind.AUTHENTICATION,
    "model_not_found": ErrorKind.NOT_FOUND,
    "unsupported_parameter": ErrorKind.UNSUPPORTED,
    "unsupported_value": ErrorKind.UNSUPPORTED,
    "unsupported_country_region_territory": ErrorKind.PERMISSION,
    "data_residency_mismatch": ErrorKind.PERMISSION,
    "empty_image_file": ErrorKind.INVALID_REQUEST,
    "failed_to_download_image": ErrorKind.INVALID_REQUEST,
    "image_file_not_found": ErrorKind.INVALID_REQUEST,
    "image_file_too_large": ErrorKind.INVALID_REQUEST,
    "image_parse_error": ErrorKind.INVALID_REQUEST,
    "image_too_large": ErrorKind.INVALID_REQUEST,
    "image_too_small": ErrorKind.INVALID_REQUEST,
    "invalid_base64_image": ErrorKind.INVALID_REQUEST,
    "invalid_image": ErrorKind.INVALID_REQUEST,
    "invalid_image_format": ErrorKind.INVALID_REQUEST,
    "invalid_image_mode": ErrorKind.INVALID_REQUEST,
    "invalid_image_url": ErrorKind.INVALID_REQUEST,
    "unsupported_image_media_type": ErrorKind.INVALID_REQUEST,
    "vector_store_timeout": ErrorKind.TIMEOUT,
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
    "INVALID_ARGUMENT": ErrorKind.INVALID_REQUEST,
    "FAILED_PRECONDITION": ErrorKind.PERMISSION,  # the account or its country may not use the service
    "OUT_OF_RANGE": ErrorKind.INVALID_REQUEST,
    "UNAUTHENTICATED": ErrorKind.AUTHENTICATION,
    "PERMISSION_DENIED": ErrorKind.PERMISSION,
    "NOT_FOUND": ErrorKind.NOT_FOUND,
    "ABORTED": ErrorKind.SERVER,
    "RESOURCE_EXHAUSTED": ErrorKind.RATE_LIMIT,
    "CANCELLED": ErrorKind.CONNECTION,
    "INTERNAL": ErrorKind.SERVER,
    "UNKNOWN": ErrorKind.SERVER,
    "UNIMPLEMENTED": ErrorKind.UNSUPPORTED,
    "UNAVAILABLE": ErrorKind.OVERLOADED,
    "DEADLINE_EXCEEDED": ErrorKind.TIMEOUT,
}

# Vendors that send neither a code nor a telling type say it in words.
_BY_WORDS = (
    (
        re.compile(
            r"context (?:length|window|size|limit)|prompt is too long|too many tokens|maximum prompt length"
            r"|maximum model length|input is too long|token count.{0,40}exceeds the maximum",
            re.I,
        ),
        ErrorKind.CONTEXT_LENGTH,
    ),
    (
        re.compile(r"content (?:filtering|management) policy|violating our usage policy", re.I),
        ErrorKind.CONTENT_FILTER,
    ),
    (re.compile(r"credit balance is too low", re.I), ErrorKind.RATE_LIMIT),
    (re.compile(r"api key (?:not valid|expired)", re.I), ErrorKind.AUTHENTICATION),
)
_WORDED = frozenset({200, 400, 413, 422, 500})
_REFUSED = frozenset({200, 400, 404, 422})

# What a provider says of reasoning that it does not take back as it was sent.
_UNWANTED_THINKING = re.compile(
    r"invalid `?(?:signature|data)`? in `?(?:redacted_)?thinking|thinking`? blocks .{0,80}cannot be modified"
    r"|encrypted content.{0,400}could not be (?:verified|decrypted)|invalid_encrypted_content"
    r"|item (?:with id )?'rs_\w+' .{0,60}(?:not found|without its required following item)"
    r"|thought_?\s?signature.{0,80}(?:invalid|not valid|corrupt)|missing an? `?thought_?\s?signature"
    r"|(?:invalid|corrupted) `?thought_?\s?signature|bound to a different conversation",
    re.I | re.S,
)

_NO_MONEY = re.compile(r"insufficient_quota|billing|credit balance|request too large", re.I)
_NO_GRANT = re.compile(r"\blimit: 0\b")

_SCOPES = {
    ErrorKind.AUTHENTICATION: ErrorScope.KEY,
    ErrorKind.PERMISSION: ErrorScope.KEY,
    ErrorKind.RATE_LIMIT: ErrorScope.KEY,
    ErrorKind.NOT_FOUND: ErrorScope.MODEL,
    ErrorKind.OVERLOADED: ErrorScope.MODEL,
    ErrorKind.SERVER: ErrorScope.ENDPOINT,
    ErrorKind.TIMEOUT: ErrorScope.ENDPOINT,
}


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
        place = _KEY.sub("[key]", named.get("location", "another place"))[:500]
        error.message = f"{target.provider} sends calls on to {place}"
        error.message += " and redirects are not followed, lest the key goes along; set its base_url"
        error.args = (error.message,)
    error.request_id = named.get("request-id") or named.get("x-request-id") or error.request_id
    told = {limit.of for limit in error.rate_limits}
    error.rate_limits += tuple(limit for limit in rate_limits(headers) if limit.of not in told)
    wait = _retry_after(named)
    error.retry_after = error.retry_after if wait is None else wait
    return error


def failure(
    target: Target, payload: Any, *, status: int, phase: ErrorPhase, retryable: bool | None = None
) -> ProviderError:
    """The error that a vendor's payload describes; 200 is the status of one inside a stream."""
    report = report_of(payload)
    kind = _kind(report, status)
    code = _KEY.sub("[key]", report.code or report.type)[:_LONGEST_CODE] or None
    if kind is ErrorKind.RATE_LIMIT and (status == 402 or _never_mends(report)):
        retryable = False
    if status in _REFUSED and _UNWANTED_THINKING.search(f"{report.code} {report.message}"):
        kind, code = ErrorKind.INVALID_REQUEST, SIGNATURE_INVALID
    message = report.message or f"{target.provider} answered with status {status} and no explanation"
    return ProviderError(
        _KEY.sub("[key]", message)[:_LONGEST_MESSAGE],
        kind=kind,
        phase=phase,
        scope=_SCOPES.get(kind, ErrorScope.REQUEST),
        provider=target.provider,
        model=target.model,
        status=status,
        code=code,
        request_id=report.request_id,
        retry_after=report.retry_after,
        retryable=retryable,
        rate_limits=report.rate_limits if kind is ErrorKind.RATE_LIMIT else (),
    )


def _kind(report: Report, status: int) -> ErrorKind:
    if kind := _BY_CODE.get(report.code) or _BY_CODE.get(report.reason):
        return kind
    if status in _WORDED:
        for words, kind in _BY_WORDS:
            if words.search(report.message):
                return kind
    if status in (200, 400):
        if kind := _BY_TYPE.get(report.type) or _BY_TYPE.get(report.code):
            return kind
        if report.number is not None and report.number >= 400:
            status = report.number
    if kind := _BY_STATUS.get(status):
        return kind
    if 300 <= status < 400:
        return ErrorKind.NOT_FOUND
    return ErrorKind.INVALID_REQUEST if 400 <= status < 500 else ErrorKind.SERVER


def _never_mends(report: Report) -> bool:
    """Whether waiting is in vain: no money on the account, or more asked than the limit ever grants."""
    if report.type == "RESOURCE_EXHAUSTED":  # its text speaks of billing whatever ran out
        return _NO_GRANT.search(report.message) is not None
    return any(_NO_MONEY.search(text) for text in (report.code, report.type, report.message))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    if (wait := seconds(headers.get("retry-after-ms"))) is not None:
        return wait / 1000
    value = headers.get("retry-after")
    if (wait := seconds(value)) is not None or value is None:
        return wait
    return seconds_until(value, headers.get("date", ""))
