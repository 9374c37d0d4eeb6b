"""Whoever handles a message can tell whose turns wait for it, so that it does not ask those."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmgine.actors.bus import Command, Event
from llmgine.actors.bus.handling.turns import waited_for_by, waiting_sessions

pytestmark = pytest.mark.timeout(20)

World = Any


class Look(Command[list[str]]):
    deeper: bool = False


class Seen(Event): ...


async def test_a_command_knows_whose_turn_waits(world: World) -> None:
    """A command executed while a turn waits tells its handler so, and what that executes too."""
    server, caller = world.client(), world.client()

    async def look(command: Look) -> list[str]:
        if command.deeper:
            return list((await server.execute(Look(session_id="s2"))).unwrap())
        return list(waiting_sessions())

    await server.register_command_handler(Look, look)
    with waited_for_by(["s0", "s1"]):
        assert (await caller.execute(Look())).value == ["s0", "s1"]
        assert (await caller.execute(Look(deeper=True))).value == ["s0", "s1"]
    assert (await caller.execute(Look())).value == []


async def test_an_event_is_waited_for_or_not(world: World) -> None:
    """Handlers of an event are waited for by the turn that waits for them, and by no other publisher."""
    seen: list[tuple[str, ...]] = []
    handled = asyncio.Event()

    async def note(event: Seen) -> None:
        seen.append(waiting_sessions())
        handled.set()

    client = world.client()
    await client.register_event_handler(Seen, note)
    with waited_for_by(["s1"]):
        await client.publish(Seen(), wait=True)
        handled.clear()
        await client.publish(Seen())
        await handled.wait()
    assert seen == [("s1",), ()]


async def test_what_a_turn_left_behind_is_not_waited_for() -> None:
    """A task that outlives the call that started it belongs to no turn any more."""
    go_on = asyncio.Event()

    async def later() -> tuple[str, ...]:
        before = waiting_sessions()
        await go_on.wait()
        return before + waiting_sessions()

    with waited_for_by(["s1"]):
        task = asyncio.create_task(later())
        await asyncio.sleep(0)
        assert await asyncio.to_thread(waiting_sessions) == ("s1",)
    go_on.set()
    assert await task == ("s1",)
