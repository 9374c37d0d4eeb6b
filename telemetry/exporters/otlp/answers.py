"""What a receiver's answer means, by the OpenTelemetry protocol's own rules. Pure."""

from __future__ import annotations

import math
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple

# Whatever else a receiver answers, sending the same again would not help.
RETRYABLE_STATUS: Final = frozenset({429, 502, 503, 504})
RETRYABLE_CODES: Final = frozenset(
    {"CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS"}
)
_EXHAUSTED: Final = "RESOURCE_EXHAUSTED"
_REASON: Final = 300


class Answer(NamedTuple):
    """To one request: `ok`, with so many of its spans `rejected`; else whether to try `again`."""

    ok: bool
    rejected: int = 0
    again: bool = False
    after: float | None = None
    reason: str = ""


def accepted(rejected: int, message: str) -> Answer:
    """The request was taken, but for `rejected` spans."""
    reason = f"{rejected} spans rejected: {message}"[:_REASON] if rejected > 0 else ""
    return Answer(True, rejected=max(0, rejected), reason=reason)


def http_refusal(status: int, retry_after: str | None, now: float) -> Answer:
    """An HTTP status beyond the 200s; `now` in seconds since 1970, for a date in `Retry-After`."""
    again = status in RETRYABLE_STATUS
    return Answer(
        False,
        again=again,
        after=pause_in(retry_after, now) if again else None,
        reason=f"the receiver answered {status}",
    )


def grpc_refusal(code: str, details: str, retry_info: float | None) -> Answer:
    """A gRPC status but OK. One out of resources is tried again only where it says when."""
    again = code in RETRYABLE_CODES or (code == _EXHAUSTED and retry_info is not None)
    reason = f"the receiver answered {code}: {details}".removesuffix(": ")[:_REASON]
    return Answer(False, again=again, after=retry_info if again else None, reason=reason)


def unreachable(error: Exception) -> Answer:
    """There was no answer."""
    reason = f"the receiver cannot be reached: {type(error).__name__}: {error}"[:_REASON]
    return Answer(False, again=True, reason=reason)


def unsendable(why: str) -> Answer:
    """The request cannot be made, now or later."""
    return Answer(False, reason=f"the request cannot be sent: {why}")


def pause_in(header: str | None, now: float) -> float | None:
    """The seconds in a `Retry-After` header, which holds a number or a date; None where it holds neither."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - now
        except ValueError:
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
