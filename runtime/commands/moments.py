"""Times as a person writes them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from llmgine.runtime.commands.output import UsageRefused

_AGO = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment(text: str, option: str = "--since") -> datetime:
    """The time that is written, or so long ago."""
    ago = _AGO.fullmatch(text)
    try:
        if ago is not None:
            return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        found = datetime.fromisoformat(text)
        return found.astimezone() if found.tzinfo is None else found
    except (ValueError, OverflowError):
        raise UsageRefused(
            f"{option} {text!r}: a time such as 2026-03-01T12:00+01:00, or how long ago: 90m, 12h, 7d"
        ) from None


def nanoseconds(text: str | None, option: str = "--since") -> int | None:
    """The same as nanoseconds since 1970, as far as 64 bits go."""
    from llmgine.telemetry.answers import nanoseconds as since_1970

    return since_1970(None if text is None else moment(text, option))
