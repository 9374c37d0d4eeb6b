"""Scheduled events as a driver sees them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from llmgine.actors.bus.errors import InvalidSchedule
from llmgine.providers import InvalidRequest
from llmgine.runtime import Event, Runtime

LATER = timedelta(days=1)


class Reminder(Event):
    text: str = ""


@pytest.fixture
async def runtime() -> AsyncIterator[Runtime]:
    async with Runtime.in_process({"telemetry": {"enabled": False}}) as opened:
        yield opened


async def test_a_scheduled_event_reaches_its_handler_after_its_time(runtime: Runtime) -> None:
    """It is kept when `schedule` returns, fires not before its time, with its own fields and session."""
    got: asyncio.Queue[Reminder] = asyncio.Queue()
    await runtime.bus.register_event_handler(Reminder, _put(got))
    before = datetime.now(UTC)
    event = Reminder(text="tea", session_id="chat", metadata={"cup": 1})
    scheduled = await runtime.bus.schedule(event, after=0.05)
    assert (
        before + timedelta(seconds=0.04) <= scheduled.next_at <= datetime.now(UTC) + timedelta(seconds=0.06)
    )
    heard = await got.get()
    assert (heard.text, heard.session_id, heard.metadata) == ("tea", "chat", {"cup": 1})
    assert heard.timestamp >= scheduled.next_at
    await runtime.bus.publish(Reminder(text="now"), wait=True)
    assert await runtime.bus.scheduled() == []


async def test_what_is_scheduled_can_be_listed_and_cancelled(runtime: Runtime) -> None:
    """By the time at which it is due; cancelling works once."""
    far = await runtime.bus.schedule(Reminder(), after=LATER)
    near = await runtime.bus.schedule(
        Reminder(session_id="chat"), at=datetime.now(UTC) + LATER / 2, id="near"
    )
    daily = await runtime.bus.schedule(
        Reminder(), cron="30 2 * * *", zone="Europe/Berlin", until=datetime.now(UTC) + 9 * LATER, id="daily"
    )
    listed = await runtime.bus.scheduled()
    assert {one.id for one in listed} == {far.id, "chat/near", "daily"}
    assert listed == sorted((far, near, daily), key=lambda one: one.next_at)
    assert await near.cancel()
    assert not await near.cancel()
    assert {one.id for one in await runtime.bus.scheduled()} == {far.id, "daily"}


async def test_one_that_recurs_comes_again_and_again(runtime: Runtime) -> None:
    """Until it is cancelled."""
    got: asyncio.Queue[Reminder] = asyncio.Queue()
    await runtime.bus.register_event_handler(Reminder, _put(got))
    ticking = await runtime.bus.schedule(Reminder(text="tick"), every=0.02)
    heard = [await got.get() for _ in range(3)]
    assert len({one.id for one in heard}) == 3
    assert await ticking.cancel()
    assert await runtime.bus.scheduled() == []


async def test_what_is_scheduled_outlives_its_runtime(tmp_path: Path) -> None:
    """It fires in the next runtime over the same store, late where it must be, once, as it was."""
    settings = {"telemetry": {"enabled": False}, "store": {"url": f"sqlite:///{tmp_path}/store.db"}}
    async with Runtime.in_process(settings) as first:
        for number in range(3):
            await first.bus.schedule(Reminder(text=str(number), session_id="chat"), at=datetime.now(UTC))
    got: asyncio.Queue[Reminder] = asyncio.Queue()
    async with Runtime.in_process(settings) as second:
        await second.bus.register_event_handler(Reminder, _put(got))
        heard = [await got.get() for _ in range(3)]
        assert [one.text for one in heard] == ["0", "1", "2"]
        assert {one.session_id for one in heard} == {"chat"}
    async with Runtime.in_process(settings) as third:
        await third.bus.register_event_handler(Reminder, _put(got))
        assert await third.bus.scheduled() == []
    assert got.empty()


async def test_leaving_does_not_wait_for_what_is_far_away() -> None:
    """A drain settles what was published; what is scheduled for later is no part of it."""
    async with asyncio.timeout(5), Runtime.in_process({"telemetry": {"enabled": False}}) as runtime:
        await runtime.bus.schedule(Reminder(), after=LATER)


@pytest.mark.parametrize(
    ("when", "mends"),
    [
        ({}, "at=, after=, every= or cron="),
        ({"at": datetime(2030, 1, 1)}, "tzinfo"),
        ({"after": 1, "until": datetime(2030, 1, 1)}, "until.*tzinfo"),
        ({"after": 10, "until": datetime(2020, 1, 1, tzinfo=UTC)}, "before the first time"),
        ({"at": datetime.now(UTC), "after": 1}, "give one of them"),
        ({"at": datetime.now(UTC), "cron": "* * * * *"}, "leave `at` and `after` out"),
        ({"every": 1, "cron": "* * * * *"}, "give one of them"),
        ({"every": 0}, "at least 0.01"),
        ({"after": -1}, "from 0"),
        ({"after": "soon"}, "seconds as a number"),
        ({"at": "noon"}, "no datetime"),
        ({"at": datetime.max.replace(tzinfo=UTC)}, "later than can be kept"),
        ({"every": timedelta(days=100_000)}, "less than 1e\\+09"),
        ({"cron": 5}, "texts"),
        ({"cron": "* * * * *", "zone": 5}, "texts"),
        ({"after": 1, "id": 5}, "1 to 200"),
        ({"after": 1, "id": "\ud800"}, "printable"),
        ({"cron": "noon"}, "five fields"),
        ({"cron": "0 0 30 2 *"}, "five fields"),
        ({"cron": "* * * * *", "zone": "Middle/Earth"}, "IANA"),
        ({"after": 1, "zone": "UTC"}, "for `cron`"),
        ({"after": 1, "misfire": "explode"}, "'fire'"),
        ({"after": 1, "id": "a/b"}, "without '/'"),
        ({"after": 1, "id": ""}, "1 to 200"),
    ],
)
async def test_a_time_that_cannot_be_is_refused_with_what_mends_it(
    runtime: Runtime, when: dict[str, Any], mends: str
) -> None:
    """Nothing is kept, and the error says how it is to look."""
    with pytest.raises(InvalidSchedule, match=mends):
        await runtime.bus.schedule(Reminder(), **when)


async def test_a_session_schedules_in_its_own_scope(runtime: Runtime) -> None:
    """It reaches the session's handlers, cannot name another session, and stays when the session ends."""
    got: asyncio.Queue[Reminder] = asyncio.Queue()
    async with runtime.session("chat", model="scripted/echo") as session:
        await session.register_event_handler(Reminder, _put(got))
        await session.schedule(Reminder(text="tea"), after=0.01)
        assert (await got.get()).session_id == "chat"
        later = await session.schedule(Reminder(), after=LATER, id="later")
        with pytest.raises(InvalidRequest, match="belongs to session 'other'"):
            await session.schedule(Reminder(session_id="other"), after=1)
        with pytest.raises(InvalidSchedule, match=r"by after, at, cron, .*, not by when"):
            await session.schedule(Reminder(), when="soon")  # type: ignore[call-arg]  # meant
    assert [one.id for one in await runtime.bus.scheduled()] == [later.id] == ["chat/later"]


def _put(queue: asyncio.Queue[Reminder]) -> Any:
    async def put(event: Reminder) -> None:
        queue.put_nowait(event)

    return put
