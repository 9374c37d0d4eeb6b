"""When a scheduled event is due: at one time, at intervals, or as a cron expression says. Pure.

All times are nanoseconds since 1970. An interval is counted from the last due time, whatever happened
to the clock; a cron expression is read in its zone, where a time that the change to daylight saving
leaves out comes right after the gap, and one that occurs twice comes once.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from llmgine.actors.bus.errors import InvalidSchedule
from llmgine.actors.store.rows import ScheduleRow

SHORTEST = 0.01
"""The shortest interval, in seconds."""
LONGEST = 1e9
"""More than any interval, in seconds."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = 1_000_000_000
# A step of the search may lie before its start, where clocks go back.
_STEPS = 200
_FIELDS = 5


def following(row: ScheduleRow, after: int) -> int | None:
    """The first due time later than `after`; None where none comes.

    Raises InvalidSchedule for an expression, a zone or an interval that is none.
    """
    if row.every is not None:
        step = interval(row.every)
        return row.at + max(1, (after - row.at) // step + 1) * step
    if row.cron is not None:
        return _of_cron(row.cron, row.zone, after, reverse=False)
    return None


def latest(row: ScheduleRow, until: int) -> int:
    """The last due time not later than `until`; `row.at` where that was the last."""
    if row.every is not None:
        step = interval(row.every)
        return row.at + max(0, (until - row.at) // step) * step
    if row.cron is not None:
        found = _of_cron(row.cron, row.zone, until + 1, reverse=True)
        return row.at if found is None else max(row.at, found)
    return row.at


def recurs(row: ScheduleRow) -> bool:
    return row.every is not None or row.cron is not None


def interval(every: float) -> int:
    """An interval of seconds in nanoseconds."""
    if not SHORTEST <= every < LONGEST:
        raise InvalidSchedule(
            f"every={every:g}: an interval is at least {SHORTEST:g} and less than {LONGEST:g} seconds"
        )
    return round(every * _SECOND)


def _of_cron(expression: str, zone: str, start: int, *, reverse: bool) -> int | None:
    begin = (_EPOCH + timedelta(seconds=start // _SECOND)).astimezone(zone_of(zone))
    if reverse:
        # The search goes back from the second after, for a due time is the beginning of its second.
        begin += timedelta(seconds=1)
    try:
        if len(expression.split()) != _FIELDS:
            # The library takes one more, for seconds.
            raise CronSimError("Wrong number of fields")
        times = CronSim(expression, begin, reverse=reverse)
    except CronSimError as error:
        raise InvalidSchedule(
            f"cron={expression!r} is no cron expression: {error}; five fields are minute, hour, day of the"
            " month, month, day of the week, as in '30 7 * * MON-FRI'"
        ) from None
    for found in islice(times, _STEPS):
        due = (found - _EPOCH) // timedelta(seconds=1) * _SECOND
        if (due < start) if reverse else (due > start):
            return due
    return None


@lru_cache(maxsize=64)
def zone_of(name: str) -> ZoneInfo:
    """The zone of that IANA name; raises InvalidSchedule."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise InvalidSchedule(
            f"zone={name!r} is no time zone known here; use an IANA name such as 'Europe/Berlin'"
        ) from None
