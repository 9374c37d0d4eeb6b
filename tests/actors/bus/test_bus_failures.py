"""What holds when links break, routers restart and clients die."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmgine.actors.bus import Command, Delivery, Event
from llmgine.actors.bus.errors import RegistrationRefused

pytestmark = pytest.mark.timeout(30)

World = Any


class Work(Command[int]):
    number: int = 0


class Step(Event):
    number: int


async def numbered(publisher: Any, count: int, **fields: Any) -> None:
    await asyncio.gather(*(publisher.publish(Step(number=n, **fields)) for n in range(count)))


@pytest.mark.parametrize("session", ["BUS", "s1"])
async def test_nothing_is_lost_doubled_or_reordered_over_breaks(world: World, session: str) -> None:
    """Links that break again and again lose no event, double none, and keep the order."""
    seen: list[int] = []

    async def handle(event: Step) -> None:
        seen.append(event.number)
        if event.number % 50 == 7:
            world.break_links()
            await asyncio.sleep(0)

    consumer, publisher = world.client(), world.client()
    await consumer.register_event_handler(Step, handle)
    await numbered(publisher, 500, session_id=session)
    assert await publisher.drain() == 0
    assert seen == list(range(500))


@pytest.mark.parametrize("session", ["BUS", "s1"])
async def test_a_router_restart_loses_doubles_and_reorders_nothing(world: World, session: str) -> None:
    """Producers send again what was not settled, handlers suppress what they had finished."""
    seen: list[int] = []
    restarting = asyncio.Lock()

    async def handle(event: Step) -> None:
        seen.append(event.number)
        if event.number in (100, 300):
            async with restarting:
                await world.restart_router()

    consumer, publisher = world.client(), world.client()
    await consumer.register_event_handler(Step, handle)
    await numbered(publisher, 500, session_id=session)
    assert await publisher.drain() == 0
    assert seen == list(range(500))
    assert world.lives == 3


async def test_a_running_handler_is_not_entered_twice_over_a_break(world: World) -> None:
    """An event in a handler while the link breaks is answered by that very run."""
    entered = 0
    inside, gate = asyncio.Event(), asyncio.Event()

    async def handle(event: Step) -> None:
        nonlocal entered
        entered += 1
        inside.set()
        await gate.wait()

    consumer, publisher = world.client(), world.client()
    await consumer.register_event_handler(Step, handle)
    waiting = asyncio.create_task(publisher.publish(Step(number=1), wait=True))
    await inside.wait()
    world.break_links()
    await world.restart_router()
    await consumer.statistics()
    gate.set()
    receipt = await asyncio.wait_for(waiting, 5)
    assert [outcome.success for outcome in receipt.outcomes] == [True]
    assert entered == 1


async def test_a_command_runs_once_although_its_reply_is_lost(world: World) -> None:
    """The reply is lost with the link, asked for again, and given from what was kept."""
    runs: list[int] = []

    async def work(command: Work) -> int:
        runs.append(command.number)
        # The answer goes into a link that is gone.
        world.break_links()
        return command.number * 2

    server, caller = world.client(), world.client()
    await server.register_command_handler(Work, work)
    results = [await asyncio.wait_for(caller.execute(Work(number=n)), 5) for n in range(5)]
    assert [result.value for result in results] == [0, 2, 4, 6, 8]
    assert runs == [0, 1, 2, 3, 4]


async def test_a_command_runs_once_over_a_router_restart(world: World) -> None:
    """The new router asks the same handler again, which has the result or is still at it."""
    runs = 0
    inside, gate = asyncio.Event(), asyncio.Event()

    async def work(command: Work) -> int:
        nonlocal runs
        runs += 1
        inside.set()
        await gate.wait()
        return runs

    server, caller = world.client(), world.client()
    await server.register_command_handler(Work, work)
    calling = asyncio.create_task(caller.execute(Work()))
    await inside.wait()
    await world.restart_router()
    gate.set()
    result = await asyncio.wait_for(calling, 5)
    assert (result.value, runs) == (1, 1)


@pytest.mark.parametrize("same_process", [True, False])
async def test_a_late_handler_is_no_replacement(world: World, same_process: bool) -> None:
    """A handler that registered after its caller connected is asked again by a new router, not given up."""
    inside, gate = asyncio.Event(), asyncio.Event()

    async def work(command: Work) -> int:
        inside.set()
        await gate.wait()
        return 7

    caller = world.client()
    await caller.publish(Step(number=0))  # it is connected, and told where the table stands
    server = caller if same_process else world.client()
    await server.register_command_handler(Work, work)
    calling = asyncio.create_task(caller.execute(Work()))
    await inside.wait()
    await world.restart_router()
    gate.set()
    result = await asyncio.wait_for(calling, 5)
    assert (result.value, result.error) == (7, None)


@pytest.mark.parametrize("idempotent", [False, True])
async def test_a_command_whose_handler_died(world: World, idempotent: bool) -> None:
    """It runs again only where its handler is idempotent; else its outcome is unknown."""
    inside = asyncio.Event()

    async def dies(command: Work) -> int:
        inside.set()
        await asyncio.Event().wait()
        return 0

    first, caller = world.client("server"), world.client()
    await first.register_command_handler(Work, dies, name="work", idempotent=idempotent)
    calling = asyncio.create_task(caller.execute(Work()))
    await inside.wait()
    await world.kill(first)
    second = world.client("server", epoch=2)
    await second.register_command_handler(Work, lambda command: 42, name="work", idempotent=idempotent)
    result = await asyncio.wait_for(calling, 5)
    if idempotent:
        assert result.value == 42
    else:
        assert result.error is not None
        assert result.error.kind == "outcome_unknown"
    assert (await caller.execute(Work())).value == 42


async def test_a_command_whose_handler_is_removed_in_between(world: World) -> None:
    """The table's owner removes a dead client: what it had in hand is unknown, what it had not, unhandled."""
    inside = asyncio.Event()

    async def dies(command: Work) -> int:
        inside.set()
        await asyncio.Event().wait()
        return 0

    server, caller = world.client(prefetch=1), world.client()
    await server.register_command_handler(Work, dies, concurrency=1)
    first = asyncio.create_task(caller.execute(Work()))
    await inside.wait()
    await world.kill(server)
    second = asyncio.create_task(caller.execute(Work()))
    await caller.statistics()
    world.lose_client(server)
    kinds = [result.error and result.error.kind for result in (await first, await second)]
    assert kinds == ["outcome_unknown", "no_handler"]


async def test_an_away_handlers_events_wait_for_it(world: World) -> None:
    """Events for a client that is away wait, and reach its next life under the same handler name."""
    seen: list[int] = []
    first, publisher = world.client("worker"), world.client()
    await first.register_event_handler(Step, lambda event: seen.append(event.number), name="h")
    await publisher.publish(Step(number=1), wait=True)
    await world.kill(first)
    for number in (2, 3):
        assert (await publisher.publish(Step(number=number))).admitted
    second = world.client("worker", epoch=2)
    await second.register_event_handler(Step, lambda event: seen.append(event.number), name="h")
    assert await publisher.drain() == 0
    assert seen == [1, 2, 3]


async def test_a_takeover_lets_the_former_owner_finish(world: World) -> None:
    """The same name registering again takes over; what the former one had in hand is not run twice."""
    seen: list[tuple[str, int]] = []
    gate, inside = asyncio.Event(), asyncio.Event()

    async def old(event: Step) -> None:
        inside.set()
        await gate.wait()
        seen.append(("old", event.number))

    one, two, publisher = world.client(), world.client(), world.client()
    former = await one.register_event_handler(Step, old, name="h", session_id="s1")
    await publisher.publish(Step(number=0, session_id="s1"))
    await inside.wait()
    await publisher.publish(Step(number=1, session_id="s1"))
    await two.register_event_handler(
        Step, lambda event: seen.append(("new", event.number)), name="h", session_id="s1"
    )
    await publisher.publish(Step(number=2, session_id="s1"))
    assert not seen
    gate.set()
    assert await publisher.drain() == 0
    assert seen == [("old", 0), ("new", 1), ("new", 2)]
    assert not former.active
    await former.remove()
    assert (await publisher.statistics())["registered_handlers"] == 1


async def test_registering_again_in_the_same_process_replaces(world: World) -> None:
    """A handler registered again under its name replaces the former function and is called once."""
    seen: list[str] = []
    client = world.client()
    await client.register_event_handler(Step, lambda event: seen.append("old"), name="h")
    await client.register_event_handler(Step, lambda event: seen.append("new"), name="h")
    await client.publish(Step(number=0), wait=True)
    assert seen == ["new"]


async def test_an_older_life_is_refused(world: World) -> None:
    """A former life of a client that comes late takes nothing over."""
    new, old = world.client("c", epoch=2), world.client("c", epoch=1)
    await new.register_event_handler(Step, lambda event: None, name="h")
    with pytest.raises(RegistrationRefused, match="life 1"):
        await old.register_event_handler(Step, lambda event: None, name="h")


async def test_publishing_inside_a_handler_never_waits_for_a_router(world: World) -> None:
    """A handler that publishes while the router is away goes on; its event is delivered later."""
    seen: list[int] = []
    done = asyncio.Event()

    async def handle(event: Step) -> None:
        seen.append(event.number)
        if event.number == 0:
            await world.stop_router()
            receipt = await asyncio.wait_for(client.publish(Step(number=1)), 2)
            assert not receipt.admitted
            done.set()

    client = world.client()
    await client.register_event_handler(Step, handle)
    await client.publish(Step(number=0))
    await done.wait()
    await world.start_router()
    assert await client.drain() == 0
    assert seen == [0, 1]


async def test_publishing_inside_a_handler_never_waits_for_room(make_world: Any) -> None:
    """A handler that fills its own mailbox is told so and goes on; everything is handled in the end."""
    world = await make_world(mailbox_capacity=2, prefetch=1)
    admitted: list[bool] = []
    seen: list[int] = []

    async def handle(event: Step, delivery: Delivery) -> None:
        seen.append(event.number)
        if event.number == 0:
            for number in range(1, 9):
                receipt = await client.publish(Step(number=number, session_id="s1"))
                admitted.append(receipt.admitted)

    client = world.client()
    await client.register_event_handler(Step, handle, session_id="s1")
    await client.publish(Step(number=0, session_id="s1"))
    assert await client.drain() == 0
    assert seen == list(range(9))
    assert False in admitted


async def test_a_dead_producers_admitted_events_are_delivered(world: World) -> None:
    """What was admitted survives the death of its producer."""
    seen: list[int] = []
    gate = asyncio.Event()

    async def handle(event: Step) -> None:
        await gate.wait()
        seen.append(event.number)

    consumer, publisher = world.client(), world.client()
    await consumer.register_event_handler(Step, handle, session_id="s1")
    await numbered(publisher, 20, session_id="s1")
    await world.kill(publisher)
    gate.set()
    # Each answer of the router comes after what it had to say of earlier deliveries.
    while (await consumer.statistics())["unsettled"]:
        pass
    assert seen == list(range(20))


async def test_sequences_survive_forgotten_sessions(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A producer of very many sessions forgets idle ones, and no event of theirs is taken for an old one."""
    monkeypatch.setattr("llmgine.actors.bus.client.outbox._IDLE_LINES", 10)
    seen: list[int] = []
    consumer, publisher = world.client(), world.client()
    await consumer.register_event_handler(Step, lambda event: seen.append(event.number))
    for number in range(100):
        await publisher.publish(Step(number=number, session_id=f"s{number % 25}"), wait=True)
        if number == 60:
            world.break_links()
    assert seen == list(range(100))
    assert len(publisher._shards[0].outbox.lines) <= 11
