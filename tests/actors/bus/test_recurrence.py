"""When scheduled events are due."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.actors.bus.errors import InvalidSchedule
from llmgine.actors.bus.recurrence import following, interval, latest
from llmgine.actors.store.rows import ScheduleRow

SECOND = 1_000_000_000
ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "America/Havana",
)
CRONS = (
    "*/7 * * * *",
    "30 2 * * *",
    "0 0 1 * *",
    "15 */3 * * MON-FRI",
    "0 12 29 2 *",
    "59 23 * * 0",
    "5 1-3 * * *",
)


def row(at: int = 0, **more: Any) -> ScheduleRow:
    return ScheduleRow("s", "BUS", "E", b"", at, **more)


def at(text: str, zone: str = "UTC", fold: int = 0) -> int:
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold)
    return round(moment.timestamp()) * SECOND


def shown(time: int | None, zone: str) -> str:
    assert time is not None
    return datetime.fromtimestamp(time / SECOND, ZoneInfo(zone)).isoformat()


def test_a_time_that_the_clock_leaves_out_comes_after_the_gap() -> None:
    """02:30 on the day on which it does not exist is 03:00, and 02:30 again the day after."""
    daily = row(cron="30 2 * * *", zone="Europe/Berlin")
    first = following(daily, at("2026-03-28T12:00", "Europe/Berlin"))
    assert shown(first, "Europe/Berlin") == "2026-03-29T03:00:00+02:00"
    assert shown(following(daily, first or 0), "Europe/Berlin") == "2026-03-30T02:30:00+02:00"


def test_a_time_that_occurs_twice_comes_once() -> None:
    """02:30 on the day on which there are two of them is the first."""
    daily = row(cron="30 2 * * *", zone="Europe/Berlin")
    first = following(daily, at("2026-10-24T12:00", "Europe/Berlin"))
    assert shown(first, "Europe/Berlin") == "2026-10-25T02:30:00+02:00"
    assert shown(following(daily, first or 0), "Europe/Berlin") == "2026-10-26T02:30:00+01:00"
    between = at("2026-10-25T02:10", "Europe/Berlin", fold=1)
    assert shown(following(daily, between), "Europe/Berlin") == "2026-10-26T02:30:00+01:00"


def test_an_interval_is_counted_from_its_first_time() -> None:
    """Delays do not shift what comes after them."""
    each = row(at=10 * SECOND, every=2.5)
    assert following(each, 10 * SECOND) == 12_500_000_000
    assert following(each, 14 * SECOND) == 15 * SECOND
    assert following(each, 15 * SECOND) == 17_500_000_000
    assert following(each, 0) == 12_500_000_000
    assert latest(each, 16 * SECOND) == 15 * SECOND
    assert latest(each, 3) == 10 * SECOND


def test_what_is_due_once_is_due_once() -> None:
    """Nothing follows it."""
    assert following(row(at=5), 5) is None
    assert latest(row(at=5), 100) == 5


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"cron": "61 * * * *"}, "five fields"),
        ({"cron": "every day"}, "five fields"),
        ({"cron": "* * * * * *"}, "five fields"),
        ({"cron": "0 0 31 2 *"}, "five fields"),
        ({"cron": "* * * * *", "zone": "Mars/Olympus"}, "IANA"),
        ({"cron": "* * * * *", "zone": "../etc"}, "IANA"),
        ({"every": 0.0}, "interval"),
        ({"every": float("nan")}, "interval"),
    ],
)
def test_what_can_never_be_due_is_refused_with_what_mends_it(more: dict[str, Any], named: str) -> None:
    """An expression, a zone or an interval that is none is an error that shows how it looks."""
    with pytest.raises(InvalidSchedule, match=named):
        following(row(**more), 0)


def test_the_shortest_interval() -> None:
    """An interval is seconds, as nanoseconds."""
    assert interval(0.01) == 10_000_000


def fields_of(expression: str, moment: datetime) -> bool:
    """Whether a minute is one of the expression's, read in the plainest way."""
    minute, hour, day, month, weekday = expression.split()
    dates = _in(day, moment.day, 31) and _in(weekday, (moment.weekday() + 1) % 7, 6)
    return (
        _in(minute, moment.minute, 59)
        and _in(hour, moment.hour, 23)
        and dates
        and _in(month, moment.month, 12)
    )


def _in(field: str, value: int, most: int) -> bool:
    field = field.replace("MON", "1").replace("FRI", "5")
    span, _, step = field.partition("/")
    low, high = (0, most) if span == "*" else (int(span.split("-")[0]), int(span.split("-")[-1]))
    return low <= value <= high and (value - low) % int(step or 1) == 0


@given(
    expression=st.sampled_from(CRONS),
    zone=st.sampled_from(ZONES),
    start=st.datetimes(datetime(2023, 1, 1), datetime(2029, 1, 1)),
)
def test_every_time_of_an_expression_is_one_that_its_zone_shows(
    expression: str, zone: str, start: datetime
) -> None:
    """Times rise, each is the first after the one before, and each minute is one of the expression's."""
    after = round(start.replace(tzinfo=UTC).timestamp()) * SECOND + 1
    cron = row(cron=expression, zone=zone)
    for _ in range(3):
        found = following(cron, after)
        assert found is not None
        assert found > after
        local = datetime.fromtimestamp(found / SECOND, ZoneInfo(zone))
        gap = (
            local.utcoffset()
            != (local.astimezone(UTC) - timedelta(hours=3)).astimezone(ZoneInfo(zone)).utcoffset()
        )
        assert fields_of(expression, local) or gap, local
        assert latest(cron, found) == found
        assert latest(cron, found + SECOND - 1) == found
        assert latest(cron, found - 1) < found
        after = found


@given(zone=st.sampled_from(ZONES), start=st.datetimes(datetime(2023, 1, 1), datetime(2029, 1, 1)))
def test_a_daily_event_comes_once_on_each_day(zone: str, start: datetime) -> None:
    """Whatever the clocks do, each local day has one, also at hours that are changed."""
    daily = row(cron="30 2 * * *", zone=zone)
    time: int | None = round(start.replace(tzinfo=UTC).timestamp()) * SECOND
    days = []
    for _ in range(5):
        time = following(daily, time or 0)
        assert time is not None
        days.append(datetime.fromtimestamp(time / SECOND, ZoneInfo(zone)).date())
    assert days == [days[0] + timedelta(days=passed) for passed in range(5)]


@given(
    expression=st.sampled_from(CRONS[:2]),
    zone=st.sampled_from(ZONES),
    hours=st.integers(0, 8_000),
)
def test_nothing_is_left_out_away_from_changes_of_the_clock(expression: str, zone: str, hours: int) -> None:
    """Against a walk over the minutes, where the offset from UTC stays the same."""
    begin = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=hours)
    local = ZoneInfo(zone)
    minutes = [(begin + timedelta(minutes=step)).astimezone(local) for step in range(1, 26 * 60)]
    if len({minute.utcoffset() for minute in minutes}) > 1:
        return
    expected = next(minute for minute in minutes if fields_of(expression, minute))
    found = following(row(cron=expression, zone=zone), round(begin.timestamp()) * SECOND)
    assert found == round(expected.timestamp()) * SECOND
