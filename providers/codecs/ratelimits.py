"""What an answer's headers say is left of a provider's limits."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from llmgine.providers.contracts import RateLimit

_ASPECTS = frozenset({"limit", "remaining", "reset"})
_UNITS = {"d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_STEP = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|[dhms])")
_DURATION = re.compile(rf"(?:{_STEP.pattern})+")
_EARLIEST_EPOCH = 1e9  # a larger number counts from 1970, one above the next in milliseconds
_EARLIEST_MILLISECONDS = 1e11
_LARGEST_COUNT = 10**18
_LONGEST_WAIT = 366 * 86_400.0  # what is further away was misread


def rate_limits(headers: Mapping[str, str]) -> tuple[RateLimit, ...]:
    """The limits that the headers name, in the order in which they appear; none where they name none.

    Whatever the headers hold, this raises nothing: a value that cannot be read is unknown. A reset that is
    a point in time counts from the answer's own date, and is unknown without one.
    """
    found: dict[str, dict[str, str]] = {}
    date = ""
    for name, value in headers.items():
        if filed := _filed(name):
            of, aspect = filed
            found.setdefault(of, {})[aspect] = value
        elif name in ("date", "Date"):
            date = value
    limits = []
    for of, said in found.items():
        limit, remaining = _count(said.get("limit")), _count(said.get("remaining"))
        resets_in = _until(said.get("reset", ""), date)
        if limit is not None or remaining is not None or resets_in is not None:
            limits.append(RateLimit(of=of, limit=limit, remaining=remaining, resets_in=resets_in))
    return tuple(limits)


def seconds(text: str | None) -> float | None:
    """A span of time such as `7`, `0.5`, `20ms` or `6m0s` in seconds; None where the text is none."""
    text = (text or "").strip()
    try:
        if _DURATION.fullmatch(text):
            number = sum(float(count) * _UNITS[unit] for count, unit in _STEP.findall(text))
        else:
            number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None


def seconds_until(moment: str, date: str) -> float | None:
    """Seconds from one date to another, as HTTP or RFC 3339 writes them; 0 where that is past."""
    then, now = _moment(moment), _moment(date)
    return None if then is None or now is None else max(0.0, then - now)


@functools.lru_cache(maxsize=1024)
def _filed(name: str) -> tuple[str, str] | None:
    """What a header limits and which figure it gives: `…-limit-tokens` and `…-tokens-limit` are alike."""
    _, named, rest = name.lower().partition("ratelimit")
    words = rest.split("-")
    for place in (1, -1):
        if named and len(words) > 1 and words[place] in _ASPECTS:
            aspect = words.pop(place)
            return "_".join(words[1:]) or "requests", aspect
    return None


def _count(text: str | None) -> int | None:
    number = None if text is None else int(text) if text.isdecimal() and len(text) < 19 else seconds(text)
    return None if number is None or number >= _LARGEST_COUNT else int(number)


def _until(text: str, date: str) -> float | None:
    number = seconds(text) if text[4:5] != "-" else None
    if number is None:
        wait = seconds_until(text, date)
    elif number < _EARLIEST_EPOCH:
        wait = number
    else:
        now = _moment(date)
        epoch = number / 1000 if number >= _EARLIEST_MILLISECONDS else number
        wait = None if now is None else max(0.0, epoch - now)
    return wait if wait is None or wait < _LONGEST_WAIT else None


@functools.lru_cache(maxsize=64)
def _moment(text: str) -> float | None:
    """Seconds since 1970; several limits of one answer reset at one moment, and all count from its date."""
    try:
        moment = datetime.fromisoformat(text) if text[4:5] == "-" else parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, LookupError, OverflowError):
        return None
