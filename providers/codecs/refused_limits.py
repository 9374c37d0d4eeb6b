"""Which limit a refusal speaks of, where it says so with a number, in words or in Google's details."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from llmgine.providers.contracts import RateLimit

_SPANS = {"second": 1.0, "sec": 1.0, "minute": 60.0, "min": 60.0, "hour": 3600.0, "day": 86_400.0}
_SPAN = "(?P<span>second|sec|minute|min|hour|day)"
_OF = "(?P<of>(?:input |output )?tokens|requests)"
_NUMBER = r"(?P<limit>\d+(?:,\d{3})*)"
_WORDED = (
    re.compile(
        rf"{_OF} per {_SPAN}\b[^:]{{0,20}}: limit:? {_NUMBER}(?:, used:? (?P<used>\d+(?:,\d{{3}})*))?", re.I
    ),
    re.compile(rf"limit of {_NUMBER} {_OF} per {_SPAN}\b", re.I),
)
_QUOTA = re.compile(r"(?P<of>InputTokens|OutputTokens|Tokens|Requests).*Per(?P<span>Second|Minute|Hour|Day)")
_QUOTA_OF = {
    "InputTokens": "input_tokens",
    "OutputTokens": "output_tokens",
    "Tokens": "tokens",
    "Requests": "requests",
}
_LONGEST_NUMBER = 19


def refused_limits(message: str, details: Iterable[dict[str, Any]]) -> tuple[RateLimit, ...]:
    """The limits that a vendor's words and the parts of its report name; none where they name none."""
    found = [limit for words in _WORDED if (said := words.search(message)) and (limit := _worded(said))]
    for one in details:
        violations = one.get("violations")
        if isinstance(violations, list):
            found += filter(None, map(_violated, violations))
    return tuple(found)


def _worded(said: re.Match[str]) -> RateLimit | None:
    limit, used = _count(said["limit"]), _count(said.groupdict().get("used") or "")
    if not limit:
        return None
    remaining = None if used is None else max(0, limit - used)
    of = said["of"].lower().replace(" ", "_")
    return RateLimit(of=of, limit=limit, remaining=remaining, window=_SPANS[said["span"].lower()])


def _violated(violation: Any) -> RateLimit | None:
    if not isinstance(violation, dict):
        return None
    quota, limit = _QUOTA.search(str(violation.get("quotaId"))), _count(str(violation.get("quotaValue")))
    if quota is None or not limit:
        return None
    return RateLimit(of=_QUOTA_OF[quota["of"]], limit=limit, window=_SPANS[quota["span"].lower()])


def _count(text: str) -> int | None:
    digits = text.replace(",", "")
    return int(digits) if digits.isascii() and digits.isdecimal() and len(digits) < _LONGEST_NUMBER else None
