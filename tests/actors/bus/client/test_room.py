"""Waiting for room among what a client keeps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from llmgine.actors.bus import BusClosed, BusOptions, Overloaded
from llmgine.actors.bus.client.outbox import Entry, Outbox, RunHead
from llmgine.actors.bus.client.room import Room

HEAD = RunHead("E")

Until = Callable[..., Any]


def keep(outbox: Outbox, count: int = 1) -> None:
    for _ in range(count):
        outbox.add("s", Entry(HEAD, b"x" * 36))


def world(limit: int) -> tuple[Room, list[Outbox]]:
    room = Room(limit)
    outboxes = [Outbox(BusOptions(), room.space) for _ in range(2)]
    for outbox in outboxes:
        room.share(outbox)
    return room, outboxes


def test_all_outboxes_fill_one_space() -> None:
    """The bytes that a client may keep are those of all its routers together."""
    room, outboxes = world(300)
    for outbox in outboxes:
        keep(outbox)
        assert not room.is_full
    keep(outboxes[0])
    assert room.is_full
    outboxes[1].settled("s", 1, 1)
    assert not room.is_full
    assert (outboxes[0].count, outboxes[1].count, room.space.bytes) == (2, 0, 200)


async def waiting(until: Until, room: Room, outbox: Outbox, count: int) -> list[asyncio.Task[None]]:
    """So many tasks that wait for room, and keep a message once they have it."""
    come = 0

    async def enter() -> None:
        nonlocal come
        come += 1
        await room.wait()
        keep(outbox)

    tasks = [asyncio.ensure_future(enter()) for _ in range(count)]
    await until(lambda: come == count)
    return tasks


async def test_as_many_are_woken_as_there_is_room_for(until: Until) -> None:
    """They go on in their order, and who comes meanwhile comes after them."""
    room, outboxes = world(200)
    keep(outboxes[0], 2)
    tasks = await waiting(until, room, outboxes[1], 3)
    assert room.contended
    outboxes[0].settled("s", 1, 1)
    room.progress()
    await until(tasks[0].done)
    assert [task.done() for task in tasks] == [True, False, False]
    outboxes[0].settled("s", 2, 2)
    outboxes[1].settled("s", 1, 1)
    room.progress()
    await asyncio.gather(*tasks)
    await until(lambda: not room.contended)
    assert room.space.bytes == 200


async def test_who_gives_up_leaves_the_place_to_the_next(until: Until) -> None:
    """A waiter that was cancelled, before or after it was woken, takes no room."""
    room, outboxes = world(100)
    keep(outboxes[0])
    first, second, third = await waiting(until, room, outboxes[1], 3)
    first.cancel()
    outboxes[0].settled("s", 1, 1)
    room.progress()
    second.cancel()
    await third
    await until(lambda: not room.contended)


async def test_nobody_waits_for_a_closed_client(until: Until) -> None:
    """Those who wait are told, and the room is free of them."""
    room, outboxes = world(100)
    keep(outboxes[0])
    tasks = await waiting(until, room, outboxes[1], 2)
    room.close(BusClosed("closed"))
    assert [type(end) for end in await asyncio.gather(*tasks, return_exceptions=True)] == [BusClosed] * 2


def test_the_refusal_names_the_option() -> None:
    """A handler that finds no room is told what to change."""
    assert isinstance(world(1)[0].refuse(), Overloaded)
    assert "outbox_bytes" in str(world(1)[0].refuse())
