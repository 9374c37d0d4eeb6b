"""Times as a person writes them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from llmgine.runtime.commands.output import UsageRefused

_AGO = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment_or_ago(text: str, option: str = "--since") -> datetime | timedelta:
    """A time, or how long ago."""
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageRefused(
            f"{option} {text!r}: a time such as 2026-03-01T12:00+01:00, or how long ago: 90m, 12h, 7d"
        ) from None
    return moment.astimezone() if moment.tzinfo is None else moment


def nanoseconds(text: str | None, option: str = "--since") -> int | None:
    """The same as nanoseconds since 1970."""
    if text is None:
        return None
    found = moment_or_ago(text, option)
    moment = datetime.now(UTC) - found if isinstance(found, timedelta) else found
    return int(moment.timestamp() * 1_000_000) * 1_000
