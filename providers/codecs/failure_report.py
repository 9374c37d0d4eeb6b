"""What a vendor says of a failure, read out of whatever shape it says it in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from llmgine.providers.codecs.ratelimits import seconds
from llmgine.providers.codecs.refused_limits import refused_limits
from llmgine.providers.contracts import RateLimit

_LONGEST_MESSAGE = 20_000
_TRY_AGAIN = re.compile(
    r"\b(?:try again|retry) in\s+"
    r"((?:\d+(?:\.\d+)?\s?(?:ms|seconds?|minutes?|hours?|days?|[smhd])(?![a-z])\s?)+)",
    re.I,
)
_SPELT = re.compile(r"\s?(ms|[smhd])[a-z]*\s?")


@dataclass(frozen=True, slots=True)
class Report:
    """The vendor's own words; `number` is a code that is a status, `retry_after` in seconds."""

    message: str = ""
    type: str = ""
    code: str = ""
    reason: str = ""
    number: int | None = None
    request_id: str | None = None
    retry_after: float | None = None
    rate_limits: tuple[RateLimit, ...] = ()


def report_of(payload: Any) -> Report:
    """The report in an error answer's JSON or text, or in an error frame of a stream; never raises."""
    if isinstance(payload, list) and payload:
        payload = payload[0]
    if not isinstance(payload, dict):
        return Report(message=payload.strip() if isinstance(payload, str) else "")
    fields, error = _fields(payload)
    message = (
        error if isinstance(error, str) else _text(fields.get("message")) or _text(payload.get("detail"))
    )
    metadata = fields.get("metadata")
    if isinstance(metadata, dict) and (raw := _text(metadata.get("raw"))):
        message = f"{message}: {raw}"
    code, type_, status = fields.get("code"), _text(fields.get("type")), fields.get("status")
    if type_ in ("", "error"):
        type_ = status if isinstance(status, str) else ""
    return Report(
        message=message[:_LONGEST_MESSAGE],
        type=type_,
        code=code if isinstance(code, str) else "",
        reason=next((_text(one["reason"]) for one in _details(fields) if "reason" in one), ""),
        number=code if type(code) is int else None,
        request_id=_text(payload.get("request_id")) or None,
        retry_after=_told_to_wait(fields, message[:_LONGEST_MESSAGE]),
        rate_limits=refused_limits(message[:_LONGEST_MESSAGE], _details(fields)),
    )


def _fields(payload: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """The object that describes the error, and what stands under `error`."""
    error = payload.get("error")
    response = payload.get("response")  # the whole answer, as OpenAI's Responses tell that it failed
    if error is None and isinstance(response, dict):
        error = response.get("error")
    return (error if isinstance(error, dict) else payload), error


def _details(fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
    details = fields.get("details")
    return (one for one in details if isinstance(one, dict)) if isinstance(details, list) else iter(())


def _told_to_wait(fields: dict[str, Any], message: str) -> float | None:
    """Seconds that the body says to wait, in a field or in words."""
    for one in _details(fields):
        if (wait := seconds(_text(one.get("retryDelay")))) is not None:
            return wait
    if (wait := seconds(_text(fields.get("retry_after")))) is not None:
        return wait
    said = _TRY_AGAIN.search(message)
    return seconds(_SPELT.sub(r"\1", said[1].lower())) if said else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)
