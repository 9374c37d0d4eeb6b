"""Commands, with real clients, a real router and real links in one loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmgine.actors.bus import Command, CommandResult, Event, HandlerExists, RetryPolicy

pytestmark = pytest.mark.timeout(20)

World = Any


class Add(Command[int]):
    left: int
    right: int


class Said(Event): ...


async def test_a_command_runs_its_handler_under_its_session(world: World) -> None:
    """Executing runs the one handler, returns its result, and the handler sees the session id."""
    seen: list[str] = []

    async def add(command: Add) -> int:
        seen.append(command.session_id)
        return command.left + command.right

    server, caller = world.client(), world.client()
    await server.register_command_handler(Add, add)
    result = await caller.execute(Add(left=2, right=3, session_id="s1"))
    assert result.success
    assert result.unwrap() == 5
    assert seen == ["s1"]


async def test_a_second_command_handler_is_refused(world: World) -> None:
    """A second handler for a command in the same scope is refused, naming class and scope."""
    client = world.client()
    await client.register_command_handler(Add, lambda command: 1)
    with pytest.raises(HandlerExists, match=r"Add.*bus scope"):
        await client.register_command_handler(Add, lambda command: 2)
    await client.register_command_handler(Add, lambda command: 3, session_id="s1")
    with pytest.raises(HandlerExists, match=r"Add.*'s1'"):
        await client.register_command_handler(Add, lambda command: 4, session_id="s1")


async def test_a_command_nobody_handles_fails_promptly(world: World) -> None:
    """A command without a handler gets a failed result that names the class."""
    result = await asyncio.wait_for(world.client().execute(Add(left=1, right=1)), 2)
    assert not result.success
    assert result.error is not None
    assert result.error.kind == "no_handler"
    assert "Add" in result.error.text


async def test_a_raising_handler_gives_a_failed_result(world: World) -> None:
    """The error's kind and text reach the caller, and everything lives on."""

    def explode(command: Add) -> int:
        if command.left == 0:
            raise ValueError("left is zero")
        return command.left

    client = world.client()
    await client.register_command_handler(Add, explode)
    result = await client.execute(Add(left=0, right=0))
    assert (result.success, result.error and result.error.kind) == (False, "ValueError")
    assert result.error is not None
    assert result.error.text == "left is zero"
    assert (await client.execute(Add(left=7, right=0))).value == 7


async def test_a_returned_failure_is_a_failure(world: World) -> None:
    """A handler that returns a failed CommandResult is treated like one that raises."""
    client = world.client()
    await client.register_command_handler(Add, lambda command: CommandResult.failed("busy", "later"))
    result = await client.execute(Add(left=0, right=0))
    assert result.error is not None
    assert (result.error.kind, result.error.text) == ("busy", "later")
    statistics = await client.statistics()
    assert (statistics["commands_sent_total"], statistics["commands_failed_total"]) == (1, 1)


async def test_the_sessions_handler_wins_over_the_bus(world: World) -> None:
    """The session's handler wins, else the bus's runs; another session's is never seen."""
    client = world.client()
    await client.register_command_handler(Add, lambda command: 0)
    await client.register_command_handler(Add, lambda command: 1, session_id="s1")
    await client.register_command_handler(Add, lambda command: 2, session_id="s2")
    sessions = ("s1", "s2", "s3", "BUS")
    results = await asyncio.gather(*(client.execute(Add(left=0, right=0, session_id=s)) for s in sessions))
    assert [result.value for result in results] == [1, 2, 0, 0]


async def test_a_result_of_the_wrong_type_is_a_failure(world: World) -> None:
    """What the handler returns is checked against the R of the command's class."""
    client = world.client()
    await client.register_command_handler(Add, lambda command: "many")
    result = await client.execute(Add(left=0, right=0))
    assert result.error is not None
    assert result.error.kind == "invalid_result"


async def test_a_command_past_its_deadline_is_cancelled(world: World) -> None:
    """The caller gets a failed result at its deadline, and the handler is cancelled."""
    inside, cancelled = asyncio.Event(), asyncio.Event()

    async def forever(command: Add) -> int:
        inside.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return 0

    client = world.client()
    await client.register_command_handler(Add, forever)
    result = await client.execute(Add(left=0, right=0), deadline=0.5)
    assert inside.is_set()
    assert result.error is not None
    assert result.error.kind == "deadline"
    await asyncio.wait_for(cancelled.wait(), 2)


async def test_a_command_behind_events_without_room_fails_at_its_deadline(
    make_world: Any, eventually: Any
) -> None:
    """Its caller hears in time, though nothing of its session can be sent; it never runs."""
    world = await make_world(mailbox_capacity=1, max_unadmitted=4, block_timeout=60.0, answer_grace=60.0)
    gate = asyncio.Event()
    ran: list[Add] = []

    async def stuck(event: Said) -> None:
        await gate.wait()

    server, caller = world.client(), world.client()
    await server.register_event_handler(Said, stuck, session_id="s1")
    await server.register_command_handler(Add, ran.append)
    publishes = [asyncio.create_task(caller.publish(Said(session_id="s1"))) for _ in range(8)]
    await eventually(lambda: caller.report()["unsettled"] == 8)
    result = await asyncio.wait_for(caller.execute(Add(left=1, right=1, session_id="s1"), deadline=0.05), 5)
    assert result.error is not None
    assert (result.error.kind, result.error.retryable) == ("deadline", True)
    assert "waited for room" in result.error.text
    gate.set()
    await asyncio.gather(*publishes)
    await caller.drain()
    assert ran == []


async def test_two_handlers_that_call_each_other_do_not_deadlock(world: World) -> None:
    """Commands that call each other in a circle end, with one place per handler, also many at once."""

    class Ping(Command[int]):
        left: int

    class Pong(Command[int]):
        left: int

    async def ping(command: Ping) -> int:
        return 1 + (await one.execute(Pong(left=command.left - 1))).unwrap() if command.left else 0

    async def pong(command: Pong) -> int:
        return 1 + (await two.execute(Ping(left=command.left - 1))).unwrap() if command.left else 0

    one, two = world.client(), world.client()
    await one.register_command_handler(Ping, ping, concurrency=1)
    await two.register_command_handler(Pong, pong, concurrency=1)
    results = await asyncio.wait_for(asyncio.gather(*(one.execute(Ping(left=6)) for _ in range(20))), 10)
    assert [result.value for result in results] == [6] * 20


async def test_a_commands_failure_is_final_unless_asked_otherwise(world: World) -> None:
    """Only an idempotent handler, or one with a retry policy of its own, is called again."""
    calls: list[str] = []

    def handler(name: str) -> Any:
        async def handle(command: Add) -> int:
            calls.append(name)
            if calls.count(name) == 1:
                raise RuntimeError("once")
            return 1

        return handle

    client = world.client()
    again = RetryPolicy(base=1e-6)
    await client.register_command_handler(Add, handler("plain"), session_id="plain")
    await client.register_command_handler(Add, handler("own"), session_id="own", retry=again)
    await client.register_command_handler(
        Add, handler("idempotent"), session_id="idempotent", idempotent=True, retry=again
    )
    results = [
        await client.execute(Add(left=0, right=0, session_id=session))
        for session in ("plain", "own", "idempotent")
    ]
    assert [(result.success, result.attempts) for result in results] == [(False, 1), (True, 2), (True, 2)]
