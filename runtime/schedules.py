"""Events for later: at a time, after a while, at intervals, or as a cron expression says."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypedDict, Unpack

from llmgine.actors.bus import BusClient, Event
from llmgine.actors.bus.errors import AskRefused, InvalidSchedule, ScheduleRefused
from llmgine.actors.bus.letters import moment
from llmgine.actors.bus.messages import BUS, LINEAGE_SEPARATOR
from llmgine.actors.bus.payload import Encoder
from llmgine.actors.bus.recurrence import following, interval, zone_of
from llmgine.actors.store.coding import row_from_wire, row_to_wire
from llmgine.actors.store.rows import ScheduleRow
from llmgine.runtime.checks import check_names

Misfire = Literal["fire", "skip"]
Seconds = float | timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LONGEST_ID = 200
# What a database takes for a time.
_LATEST = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class ScheduledEvent:
    """An event that is kept for later, as it stood when it was looked at.

    `next_at` is when it is due next, `fired` how often it has been published. `every` (seconds) or
    `cron` (read in `zone`) is set for one that recurs, `until` ends it.
    """

    id: str
    type: str
    session: str
    next_at: datetime
    fired: int = 0
    every: float | None = None
    cron: str | None = None
    zone: str = "UTC"
    until: datetime | None = None
    misfire: str = "fire"
    _schedules: Schedules | None = field(default=None, repr=False, compare=False)

    async def cancel(self) -> bool:
        """Takes it out; False where it has fired for the last time, or was cancelled before."""
        assert self._schedules is not None
        return await self._schedules.cancel(self.id, session_id=self.session)


class ScheduleOptions(TypedDict, total=False):
    """When an event is due; `runtime.bus.schedule` explains each."""

    at: datetime | None
    after: Seconds | None
    every: Seconds | None
    cron: str | None
    zone: str | None
    until: datetime | None
    misfire: Misfire
    id: str | None


class Schedules:
    """What `runtime.bus` offers of scheduled events."""

    def __init__(
        self, client: BusClient, max_bytes: int, *, wall_clock: Callable[[], int] = time.time_ns
    ) -> None:
        self._client = client
        self._max_bytes = max_bytes
        self._wall_clock = wall_clock

    async def schedule(self, event: Event, **when: Unpack[ScheduleOptions]) -> ScheduledEvent:
        """As `runtime.bus.schedule` says."""
        check_names(when, ScheduleOptions, "an event is scheduled by", InvalidSchedule)
        now, until = self._wall_clock(), when.get("until")
        encoder = Encoder(type(event), self._max_bytes)
        row = ScheduleRow(
            _row_id(when.get("id"), event.session_id),
            event.session_id,
            encoder.lineage,
            encoder.encode(event, now, None),
            at=0,
            created=now,
            misfire=_checked_misfire(when.get("misfire", "fire")),
            until=None if until is None else min(_LATEST, _nanoseconds(until, "until")),
            **_recurrence(when.get("every"), when.get("cron"), when.get("zone")),
        )
        row = replace(row, at=_first(row, now, when.get("at"), when.get("after")))
        if row.until is not None and row.until < row.at:
            raise InvalidSchedule(f"until={until} lies before the first time, {moment(row.at)}")
        answer = await self._ask("schedule", {"row": row_to_wire(row)}, event.session_id)
        return self._event(replace(row, at=answer["at"]))

    async def cancel(self, id: str, *, session_id: str = BUS) -> bool:
        """Takes a scheduled event of that session out; False where there is none any more."""
        answer = await self._ask("unschedule", {"id": id}, session_id)
        return bool(answer["cancelled"])

    async def scheduled(self) -> list[ScheduledEvent]:
        """Everything that is kept for later, by the time at which it is due next."""
        rows: list[ScheduleRow] = []
        for shard, first in enumerate(await self._client.ask_all("scheduled", {})):
            answer = first
            rows += map(_row, answer["rows"])
            while answer["next"] is not None:
                answer = await self._client.ask("scheduled", {"after": answer["next"]}, shard=shard)
                rows += map(_row, answer["rows"])
        return [self._event(row) for row in sorted(rows, key=lambda row: (row.at, row.id))]

    async def _ask(self, verb: str, body: dict[str, Any], session: str) -> Any:
        try:
            return await self._client.ask(verb, body, session=session)
        except AskRefused as error:
            kind = InvalidSchedule if error.kind == "invalid" else ScheduleRefused
            raise kind(error.text) from None

    def _event(self, row: ScheduleRow) -> ScheduledEvent:
        return ScheduledEvent(
            id=row.id,
            type=row.lineage.partition(LINEAGE_SEPARATOR)[0],
            session=row.session,
            next_at=moment(row.at),
            fired=row.fired,
            every=row.every,
            cron=row.cron,
            zone=row.zone,
            until=None if row.until is None else moment(row.until),
            misfire=row.misfire,
            _schedules=self,
        )


def _row(wire: list[Any]) -> ScheduleRow:
    row: ScheduleRow = row_from_wire(ScheduleRow, wire)
    return row


def _row_id(id: str | None, session: str) -> str:
    """Unique in the runtime; an id that was given is unique in its session."""
    if id is None:
        return uuid.uuid4().hex
    if not isinstance(id, str) or not id or "/" in id or len(id) > _LONGEST_ID or not id.isprintable():
        raise InvalidSchedule(f"id={id!r}: a text of 1 to {_LONGEST_ID} printable characters without '/'")
    return id if session == BUS else f"{session}/{id}"


def _checked_misfire(misfire: str) -> str:
    if misfire not in ("fire", "skip"):
        raise InvalidSchedule(f"misfire={misfire!r}: use 'fire' (late, once) or 'skip' (leave it out)")
    return misfire


def _recurrence(every: Seconds | None, cron: str | None, zone: str | None) -> dict[str, Any]:
    if every is not None and cron is not None:
        raise InvalidSchedule("`every` and `cron` both say when it recurs; give one of them")
    if zone is not None and cron is None:
        raise InvalidSchedule("`zone` is for `cron`; `at` and `until` carry their own zones")
    if every is not None:
        seconds = _seconds(every, "every")
        interval(seconds)
        return {"every": seconds}
    if not isinstance(cron, str | None) or not isinstance(zone, str | None):
        raise InvalidSchedule(f"cron={cron!r}, zone={zone!r}: texts, as cron='30 7 * * *', zone='Asia/Tokyo'")
    if cron is not None:
        zone_of(zone or "UTC")
        return {"cron": cron, "zone": zone or "UTC"}
    return {}


def _first(row: ScheduleRow, now: int, at: datetime | None, after: Seconds | None) -> int:
    """When it is due for the first time; a time that has passed is now."""
    first = _begin(row, now, at, after)
    if first > _LATEST:
        raise InvalidSchedule(f"the first time lies after {moment(_LATEST).year}, later than can be kept")
    return first


def _begin(row: ScheduleRow, now: int, at: datetime | None, after: Seconds | None) -> int:
    if at is not None and after is not None:
        raise InvalidSchedule("`at` and `after` both say when it begins; give one of them")
    if row.cron is not None:
        if at is not None or after is not None:
            raise InvalidSchedule("`cron` says all its times itself; leave `at` and `after` out")
        due = following(row, now)
        if due is None:
            raise InvalidSchedule(f"cron={row.cron!r} has no time that ever comes")
        return due
    if at is not None:
        return max(now, _nanoseconds(at, "at"))
    if after is not None:
        return now + round(_seconds(after, "after") * 1e9)
    if row.every is not None:
        return now + interval(row.every)
    raise InvalidSchedule("say when: at=, after=, every= or cron=")


def _seconds(value: Seconds, name: str) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e10:
        raise InvalidSchedule(f"{name}={value!r}: seconds as a number from 0, or a timedelta")
    return float(seconds)


def _nanoseconds(value: datetime, name: str) -> int:
    if not isinstance(value, datetime):
        raise InvalidSchedule(f"{name}={value!r} is no datetime")
    if value.utcoffset() is None:
        raise InvalidSchedule(
            f"{name}={value} has no time zone; give it one, such as tzinfo=ZoneInfo('Asia/Tokyo')"
        )
    return (value - _EPOCH) // _MICROSECOND * 1_000
