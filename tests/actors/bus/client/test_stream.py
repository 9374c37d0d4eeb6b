"""What a client says to a router, and what it makes of what it hears."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmgine.actors.bus import AskRefused, BusError, wire
from tests.actors.bus.client.conftest import MakeHouse, ScriptedRouter
from tests.actors.bus.client.messages import Double, Noted

pytestmark = pytest.mark.timeout(20)


async def nothing(message: Any) -> None: ...


async def test_what_is_published_before_a_router_is_there_comes_once_it_is(make_house: MakeHouse) -> None:
    """A client that starts before the runtime keeps its events, and their order."""
    house = make_house()
    client = house.client()
    published = [asyncio.ensure_future(client.publish(Noted(number=number))) for number in range(3)]
    router = await house.script()
    hello = await router.welcome()
    [[run]] = await router.hear(wire.PUBLISH)
    assert (hello["client"], hello["member_of"], run[2], len(run[7])) == ("client-1", "", 1, 3)
    router.say(wire.ADMITTED, [["BUS", 1, 3, [], False]], 0)
    receipts = await asyncio.gather(*published)
    assert all(receipt.admitted for receipt in receipts)


async def test_a_burst_is_on_its_way_before_it_is_whole(make_house: MakeHouse) -> None:
    """The router begins with the first part while the rest of the same turn is published yet; all arrives."""
    house = make_house()
    router, client = await house.script(), house.client()
    await client.start()
    await router.welcome()
    first = asyncio.ensure_future(client.publish(Noted()))
    await router.hear(wire.PUBLISH)
    published = [first, *(asyncio.ensure_future(client.publish(Noted(number=n))) for n in range(300))]
    parts: list[int] = []
    while sum(parts) < 300:
        [[run]] = await router.hear(wire.PUBLISH)
        parts.append(len(run[7]))
    assert parts == [256, 44]
    router.say(wire.ADMITTED, [["BUS", 1, 301, [], False]], 0)
    await asyncio.gather(*published)


async def test_the_deadline_of_a_command_travels_with_it(make_house: MakeHouse) -> None:
    """The router is told how long the caller waits, so that it tries no longer."""
    house = make_house(command_deadline=7.0)
    router, client = await house.script(), house.client()
    calls = [
        asyncio.ensure_future(client.execute(Double(number=1))),
        asyncio.ensure_future(client.execute(Double(number=2), deadline=3.0, durable=True)),
    ]
    await router.welcome()
    [[default, own]] = await router.hear(wire.PUBLISH)
    assert (default[5], default[6]) == (wire.COMMAND, {"deadline": 7.0})
    assert (own[5], own[6]) == (wire.COMMAND | wire.DURABLE, {"deadline": 3.0})
    answer = [True, b"\x02", "", "", False, 1, 0.0]
    router.say(wire.RESULT, [["BUS", 1, answer], ["BUS", 2, answer]])
    assert [(await call).value for call in calls] == [2, 2]


async def test_a_message_that_comes_twice_is_taken_once(make_house: MakeHouse) -> None:
    """A doubled delivery is neither run nor answered a second time."""
    house = make_house()
    client, seen = house.client(), []

    async def handle(event: Noted) -> None:
        seen.append(event.number)

    router = await house.script()
    registering = asyncio.ensure_future(client.register_event_handler(Noted, handle))
    await router.welcome()
    router.say(wire.ATTACHED, [1], 0)
    await registering
    body = await packed(Noted(number=5), router, client)
    run = ["other", 1, "s", Noted.__wire_name__, 1, 1, 0, 0, None, [body]]
    router.say(wire.DELIVER, [run], [[1, 1, 0, 1, 1, False, False, 0]])
    router.say_raw([3, wire.DELIVER, [run], [[1, 2, 0, 1, 1, False, False, 0]]])
    assert await router.hear(wire.DONE) == [[[1, 1, 1]]]
    assert seen == [5]


async def packed(event: Noted, router: ScriptedRouter, client: Any) -> bytes:
    publishing = asyncio.ensure_future(client.publish(event))
    [[run]] = await router.hear(wire.PUBLISH)
    publishing.cancel()
    return bytes(run[7][0])


async def test_a_missing_message_ends_the_stream_before_anything_is_done(make_house: MakeHouse) -> None:
    """What follows a gap is not acted on; the client comes again, and says where it stands."""
    house = make_house()
    router, client = await house.script(), house.client()
    publishing = asyncio.ensure_future(client.publish(Noted()))
    await router.welcome()
    await router.hear(wire.PUBLISH)
    router.say_raw([3, wire.ADMITTED, [["BUS", 1, 1, [], False]], 0])
    hello = await router.welcome()
    assert hello["lines"] == [["BUS", 1, 1]]
    assert not publishing.done()
    await router.hear(wire.PUBLISH)
    router.say(wire.ADMITTED, [["BUS", 1, 1, [], False]], 0)
    assert (await publishing).admitted


async def test_a_question_is_asked_again_after_a_break(make_house: MakeHouse) -> None:
    """Its answer is waited for over any number of streams, and a refusal is an error with its kind."""
    house = make_house()
    router, client = await house.script(), house.client()
    asking = asyncio.ensure_future(client.ask("schedule", {"id": "x"}))
    await router.welcome()
    number, *question = await router.hear(wire.ASK)
    house.break_links()
    await router.welcome()
    assert await router.hear(wire.ASK) == [number, *question] == [number, "schedule", {"id": "x"}]
    router.say(wire.ANSWER, number, False, ["past", "the time is over"])
    with pytest.raises(AskRefused, match="the time is over") as refused:
        await asking
    assert refused.value.kind == "past"


async def test_a_question_that_nobody_answers_names_the_option(make_house: MakeHouse) -> None:
    """The error says which router was asked, and how long it was waited for."""
    house = make_house(connect_timeout=0.01)
    client = house.client()
    with pytest.raises(BusError, match=r"router 0.*'statistics'.*connect_timeout"):
        await client.statistics()


async def test_a_command_that_a_breaker_refuses_says_so(make_house: MakeHouse) -> None:
    """The router's reason is the result's kind, and whether it is worth trying again."""
    house = make_house()
    router, client = await house.script(), house.client()
    call = asyncio.ensure_future(client.execute(Double(number=1)))
    await router.welcome()
    await router.hear(wire.PUBLISH)
    router.say(wire.RESULT, [["BUS", 1, wire.failed_answer("breaker_open", "it rests", retryable=True)]])
    result = await call
    assert result.error is not None
    assert (result.error.kind, result.error.retryable) == ("breaker_open", True)
    assert await router.hear(wire.CONFIRM) == [[["BUS", 1]]]


async def test_who_leaves_says_so_before_giving_back(make_house: MakeHouse) -> None:
    """The router must not hand out again to it what it gives back; what runs is answered yet."""
    house = make_house()
    client = house.client(member_of="sums")
    gate, inside = asyncio.Event(), asyncio.Event()

    async def handle(event: Noted) -> None:
        inside.set()
        await gate.wait()

    router = await house.script()
    registering = asyncio.ensure_future(client.register_event_handler(Noted, handle, name="h", concurrency=1))
    assert (await router.welcome())["member_of"] == "sums"
    router.say(wire.ATTACHED, [1], 0)
    await registering
    body = await packed(Noted(), router, client)
    run = ["other", 1, "BUS", Noted.__wire_name__, 1, 1, 0, 0, None, [body, body]]
    router.say(wire.DELIVER, [run], [[1, 1, 0, 2, 1, False, False, 0]])
    await inside.wait()
    retiring = asyncio.ensure_future(client.retire(5.0))
    assert await router.hear(wire.ATTACH) == [[]]
    assert await router.hear(wire.OUTCOME) == [[[1, 2, wire.RETURNED, None]]]
    on_its_way = ["other", 1, "BUS", Noted.__wire_name__, 3, 1, 0, 0, None, [body]]
    router.say(wire.DELIVER, [on_its_way], [[1, 3, 0, 1, 1, False, False, 0]])
    assert await router.hear(wire.OUTCOME) == [[[1, 3, wire.RETURNED, None]]]
    gate.set()
    assert await router.hear(wire.DONE) == [[[1, 1, 1]]]
    assert await retiring == 0
    await client.close(timeout=0.0)
    assert house.registry.removed == []


async def test_the_last_word_of_a_client_is_heard(make_house: MakeHouse) -> None:
    """Who closes waits until its router has read that its handler is done, and is kept by nothing."""
    house = make_house()
    client = house.client(member_of="sums")
    done = asyncio.Event()

    async def handle(event: Noted) -> None:
        done.set()

    router = await house.script()
    registering = asyncio.ensure_future(client.register_event_handler(Noted, handle, name="h"))
    await router.welcome()
    router.say(wire.ATTACHED, [1], 0)
    await registering
    body = await packed(Noted(), router, client)
    router.say(
        wire.DELIVER,
        [["other", 1, "BUS", Noted.__wire_name__, 1, 1, 0, 0, None, [body]]],
        [[1, 1, 0, 1, 1, False, False, 0]],
    )
    await done.wait()
    await client.retire(1.0)
    await client.close(timeout=0.0)
    heard = [router.said.get_nowait() for _ in range(router.said.qsize())]
    assert [wire.DONE, [[1, 1, 1]]] in heard
    assert [wire.ATTACH, []] in heard
