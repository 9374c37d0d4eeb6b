"""One client and several routers that share the sessions."""

from __future__ import annotations

import asyncio
from collections import defaultdict

import pytest

from llmgine.actors.bus import (
    CommandResult,
    Middleware,
    RetryPolicy,
    SessionFilter,
    TypeFilter,
    shard_of,
)
from llmgine.actors.bus.errors import InvalidOption
from llmgine.actors.store import StoreUnavailable
from tests.actors.bus.client.conftest import House
from tests.actors.bus.client.messages import Double, Noted

pytestmark = pytest.mark.timeout(20)

SESSIONS = [f"s{number}" for number in range(12)]


async def test_each_session_has_one_router_and_a_handler_hears_them_all(house: House) -> None:
    """Every event arrives once, each session's in order, and each router has had its share."""
    seen: dict[str, list[int]] = defaultdict(list)

    async def handle(event: Noted) -> None:
        seen[event.session_id].append(event.number)

    consumer, publisher = house.client(), house.client()
    await consumer.register_event_handler(Noted, handle)
    await asyncio.gather(
        *(
            publisher.publish(Noted(session_id=name, number=n), wait=True)
            for n in range(10)
            for name in SESSIONS
        )
    )
    assert seen == {name: list(range(10)) for name in SESSIONS}
    shares = [core.statistics()["events_published_total"] for core in house.cores]
    expected = [10 * sum(shard_of(name, 3) == shard for name in SESSIONS) for shard in range(3)]
    assert shares == expected
    assert min(shares) > 0


async def test_commands_go_where_their_session_is(house: House) -> None:
    """One handler answers for all routers, also from within a handler of another session."""
    client = house.client()

    async def double(command: Double) -> CommandResult[int]:
        if command.number > 0 and command.session_id in SESSIONS[:-1]:
            other = SESSIONS[SESSIONS.index(command.session_id) + 1]
            inner = await client.execute(Double(session_id=other, number=command.number - 1))
            return CommandResult.succeeded(inner.unwrap() + 2)
        return CommandResult.succeeded(command.number * 2)

    await client.register_command_handler(Double, double, concurrency=1)
    result = await client.execute(Double(session_id=SESSIONS[0], number=6))
    assert result.unwrap() == 12
    assert client.report()["running"] == 0


async def test_the_statistics_are_those_of_all_routers(house: House) -> None:
    """Counts are added up, the table is counted once, and the client's own figures stand beside."""
    client = house.client()
    await client.register_event_handler(Noted, ignore, name="h")
    for name in SESSIONS:
        await client.publish(Noted(session_id=name), wait=True)
    figures = await client.statistics()
    assert figures["events_published_total"] == figures["events_processed_total"] == len(SESSIONS)
    assert figures["registered_handlers"] == 1
    assert figures["client"]["unsettled"] == 0


async def ignore(event: Noted) -> None: ...


async def test_a_broken_router_holds_back_its_own_sessions_only(house: House) -> None:
    """Others go on meanwhile, and what had to wait comes after all, once."""
    seen: list[str] = []

    async def handle(event: Noted) -> None:
        seen.append(event.session_id)

    client = house.client()
    await client.register_event_handler(Noted, handle)
    for _ in range(5):
        house.break_links(shard=1)
        await asyncio.gather(*(client.publish(Noted(session_id=name), wait=True) for name in SESSIONS))
    assert sorted(seen) == sorted(SESSIONS * 5)


async def test_a_removed_handler_is_gone_from_every_router(house: House) -> None:
    """Nobody calls it any more, whichever session an event is of."""
    client, seen = house.client(), []

    async def handle(event: Noted) -> None:
        seen.append(event.session_id)

    subscription = await client.register_event_handler(Noted, handle)
    assert subscription.active
    await subscription.remove()
    await asyncio.gather(*(client.publish(Noted(session_id=name), wait=True) for name in SESSIONS))
    assert not subscription.active
    assert seen == []
    assert all(core.statistics()["registered_handlers"] == 0 for core in house.cores)


@pytest.mark.parametrize("error", [RuntimeError("observer"), asyncio.CancelledError()])
async def test_every_event_is_observed_once_and_no_more_once_that_is_switched_off(
    house: House, error: BaseException
) -> None:
    """Whichever router it goes to; a failing observer disturbs nobody, and none adds an event."""
    client, seen = house.client(), []

    def failing(event: object) -> None:
        raise error

    client.add_observer(failing)
    off = client.add_observer(lambda event: seen.append(event.session_id))
    for name in SESSIONS:
        await client.publish(Noted(session_id=name))
    off()
    await client.publish(Noted())
    assert seen == SESSIONS
    figures = await client.statistics()
    assert figures["events_published_total"] == len(SESSIONS) + 1
    assert figures["client"]["observer_failures"] == len(SESSIONS) + 1


async def test_a_handlers_filter_changes_while_it_runs(house: House) -> None:
    """Its subscription stays, and events are passed or held back from then on."""
    client, seen = house.client(), []

    async def handle(event: Noted) -> None:
        seen.append(event.text)

    subscription = await client.register_event_handler(Noted, handle, filter=SessionFilter(include=("s1",)))
    number = subscription.number
    await client.publish(Noted(text="kept out", session_id="s2"), wait=True)
    await client.publish(Noted(text="one", session_id="s1"), wait=True)
    await subscription.set_filter(SessionFilter(include=("s2",)))
    await client.publish(Noted(text="kept out", session_id="s1"), wait=True)
    await client.publish(Noted(text="two", session_id="s2"), wait=True)
    await subscription.set_filter(None)
    await client.publish(Noted(text="three", session_id="s1"), wait=True)
    assert seen == ["one", "two", "three"]
    assert (subscription.number, subscription.active) == (number, True)
    await subscription.remove()
    with pytest.raises(InvalidOption, match="register it again"):
        await subscription.set_filter(None)


async def test_a_filter_of_the_bus_holds_for_every_publisher_until_it_is_removed(house: House) -> None:
    """Whoever publishes to whichever router, what does not pass reaches no handler."""
    consumer, publisher, seen = house.client(), house.client(), []

    async def handle(event: Noted) -> None:
        seen.append(event.session_id)

    await consumer.register_event_handler(Noted, handle)
    held = await consumer.add_filter(TypeFilter(exclude=(Noted,)))
    await asyncio.gather(*(publisher.publish(Noted(session_id=name), wait=True) for name in SESSIONS))
    assert seen == []
    await held.remove()
    await held.remove()
    await asyncio.gather(*(publisher.publish(Noted(session_id=name), wait=True) for name in SESSIONS))
    assert sorted(seen) == sorted(SESSIONS)


async def test_middleware_wraps_handlers_from_outside_in(house: House) -> None:
    """The process's stands around the handler's own, and is gone once it is removed."""
    client, seen = house.client(), []

    class Named(Middleware):
        def __init__(self, name: str) -> None:
            self.name = name

        async def handle(self, message, delivery, call_next):  # type: ignore[no-untyped-def]  # as users write it
            seen.append(self.name)
            return await call_next(message, delivery)

    async def handle(event: Noted) -> None:
        seen.append("handler")

    await client.register_event_handler(Noted, handle, middleware=[Named("own")])
    off = client.add_middleware(Named("process"))
    await client.publish(Noted(), wait=True)
    off()
    await client.publish(Noted(), wait=True)
    assert seen == ["process", "own", "handler", "own", "handler"]


async def test_a_closed_client_leaves_its_durable_handlers(house: House) -> None:
    """They wait for who serves them next under that name; the others are gone."""
    client = house.client()
    await client.register_event_handler(Noted, ignore, name="plain")
    durable = await client.register_event_handler(Noted, ignore, name="kept", durable=True)
    await client.close()
    assert [record.name for record in house.registry.table] == ["kept"]
    again = await house.client().register_event_handler(Noted, ignore, name="kept", durable=True)
    assert again.number == durable.number


async def test_a_durable_handler_goes_only_once_the_store_knows(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the store is away, whoever removes it hears of that and it goes on; later it can be removed."""
    client = house.client()

    async def away(number: int, client: str, epoch: int) -> None:
        raise StoreUnavailable("no store")

    durable = await client.register_event_handler(Noted, ignore, name="kept", durable=True)
    with monkeypatch.context() as patch:
        patch.setattr(house.registry, "unsubscribe", away)
        with pytest.raises(StoreUnavailable):
            await durable.remove()
    assert durable.active
    await durable.remove()
    assert not durable.active
    assert house.registry.removed == [durable.number]


async def test_a_story_says_why_a_handler_was_not_called(house: House) -> None:
    """It is told by handler over all routers, and by session by the one that has it."""
    client = house.client()

    async def failing(event: Noted) -> None:
        raise RuntimeError("no")

    await client.register_event_handler(Noted, failing, name="failing", retry=RetryPolicy(retries=0))
    for name in SESSIONS[:3]:
        await client.publish(Noted(session_id=name), wait=True)
    by_handler = await client.story({"handler": "failing"})
    by_session = await client.story({"session": SESSIONS[0]})
    assert {line.session_id for line in by_handler} == set(SESSIONS[:3])
    assert {(line.what, line.handler) for line in by_session} >= {("attempt failed", "failing")}
    assert "no" in by_session[0].text
    assert [line.at for line in by_handler] == sorted(line.at for line in by_handler)
