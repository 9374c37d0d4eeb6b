"""Calls that wait in a provider actor: their order, their ends, and what their callers are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from llmgine.actors.pools import wire
from llmgine.providers import Done, ErrorKind, ErrorPhase
from tests.actors.pools.serving.stage import NAME, Stage

Until = Callable[..., Any]

BATCH = wire.Ask(priority="batch")


async def test_calls_beyond_the_limit_wait(stage: Stage, until: Until) -> None:
    """They are accepted, wait for a place, and all end well; no more ever run than may."""
    await stage.spawn(max_in_flight=2)
    calls = [await stage.call(str(number)) for number in range(6)]
    assert [call.verdict for call in calls] == [[wire.ACCEPTED, number + 1] for number in range(6)]
    await until(lambda: stage.provider.inside == 2)
    assert stage.section("admission")["waiting"] == {"interactive": 4, "batch": 0}
    for _ in calls:
        stage.provider.go_on.release()
    assert all([isinstance(await call.last(), Done) for call in calls])
    assert stage.provider.most == 2
    await until(lambda: stage.load == 0)
    assert stage.section("admission")["waiting"] == {"interactive": 0, "batch": 0}


async def test_who_waits_goes_in_order(stage: Stage, until: Until) -> None:
    """Interactive calls before batch, sessions in turns, and each session's calls in their order."""
    await stage.spawn(max_in_flight=1)
    calls = [await stage.call("first")]
    calls.append(await stage.call("bulk", session="m", ask=BATCH))
    for name in ("flood 1", "flood 2", "flood 3"):
        calls.append(await stage.call(name, session="flood"))
    calls.append(await stage.call("quiet", session="quiet"))
    for _ in calls:
        stage.provider.go_on.release()
    assert all([isinstance(await call.last(), Done) for call in calls])
    assert stage.provider.order == ["first", "flood 1", "quiet", "flood 2", "flood 3", "bulk"]
    assert stage.provider.most == 1


async def test_a_place_that_is_given_up_is_free_at_once(stage: Stage, until: Until) -> None:
    """Who gives up waiting costs nobody a turn and the provider no call; who runs lets the next in."""
    await stage.spawn(max_in_flight=1, admission={"waiting": 1})
    running, waiting = await stage.call("running"), await stage.call("waiting")
    waiting.give_up()
    await until(lambda: stage.load == 1)
    behind = await stage.call("behind")
    running.give_up()
    await until(lambda: stage.provider.order == ["running", "behind"])
    stage.provider.go_on.release()
    assert isinstance(await behind.last(), Done)
    assert _calls(stage) == {"begun": 3, "present": 0, "done": 1, "cancelled": 2, "failed": {}}


async def test_a_full_actor_says_when(stage: Stage) -> None:
    """With no room to wait a call is refused with how many the actor carries, when to come, and why."""
    await stage.spawn(max_in_flight=1, admission={"waiting": 1})
    await stage.call()
    await stage.call()
    refused = await stage.call()
    assert refused.verdict == [wire.REFUSED, 2, 1.0, wire.FULL]


async def test_a_caller_that_would_not_wait(stage: Stage) -> None:
    """It is refused at once where nothing is free, and let in at once where something is."""
    await stage.spawn(max_in_flight=1)
    now = wire.Ask(wait=0.0)
    assert (await stage.call(ask=now)).verdict[0] == wire.ACCEPTED
    assert (await stage.call(ask=now)).verdict == [wire.REFUSED, 1, 1.0, wire.BUSY]


async def test_a_caller_that_would_not_wait_so_long(stage: Stage) -> None:
    """Its call fails as one that was not sent anywhere, with when to come again and what to change."""
    await stage.spawn(max_in_flight=1)
    await stage.call()
    waiting = await stage.call(ask=wire.Ask(wait=0.01))
    assert waiting.verdict == [wire.ACCEPTED, 2]
    error = await waiting.error()
    assert (error.kind, error.phase, error.retry_after) == (ErrorKind.OVERLOADED, ErrorPhase.REQUEST, 1.0)
    assert "max_in_flight" in str(error)
    assert len(stage.provider.asked) == 1


async def test_a_deadline_that_passes_while_waiting(stage: Stage) -> None:
    """The call ends with its deadline, though it never ran."""
    await stage.spawn(max_in_flight=1)
    await stage.call()
    error = await (await stage.call(deadline=0.01)).error()
    assert (error.kind, error.phase) == (ErrorKind.TIMEOUT, ErrorPhase.REQUEST)
    assert _calls(stage)["failed"] == {"timeout": 1}


async def test_waiting_counts_against_the_deadline(stage: Stage, until: Until) -> None:
    """A call that waited is made with what is left of its time; one that did not, with all of it."""
    await stage.spawn(max_in_flight=1)
    calls = [await stage.call(deadline=50.0), await stage.call(deadline=50.0)]
    for call in calls:
        stage.provider.go_on.release()
        await call.last()
    first, second = (request.deadline for request in stage.provider.asked)
    assert first == 50.0
    assert second is not None
    assert 45.0 < second < 50.0


async def test_a_batch_call_leaves_a_full_queue_for_an_interactive_one(stage: Stage) -> None:
    """It fails as one that was not sent anywhere, so that its caller may take it elsewhere or wait."""
    await stage.spawn(max_in_flight=1, admission={"waiting": 1})
    await stage.call()
    bulk = await stage.call(ask=BATCH)
    chat = await stage.call()
    assert chat.verdict == [wire.ACCEPTED, 2]
    error = await bulk.error()
    assert (error.kind, error.phase, error.retry_after) == (ErrorKind.OVERLOADED, ErrorPhase.REQUEST, 1.0)


async def test_an_actor_that_drains_gives_back_what_waits(stage: Stage) -> None:
    """Waiting calls go elsewhere at once, new ones are refused, the running one ends well."""
    await stage.spawn(max_in_flight=1)
    running, waiting = await stage.call(), await stage.call()
    stopping = asyncio.create_task(stage.cluster.call(NAME, "stop", 5.0))
    error = await waiting.error()
    assert (error.kind, error.phase, error.retry_after) == (ErrorKind.OVERLOADED, ErrorPhase.REQUEST, None)
    assert (await stage.call()).verdict == [wire.REFUSED, 1, None, wire.DRAINING]
    assert not stopping.done()
    stage.provider.go_on.release()
    assert isinstance(await running.last(), Done)
    await stopping


async def test_embeddings_wait_too(stage: Stage) -> None:
    """A call of the other kind stands in the same queue, and fails in its own words."""
    await stage.spawn(max_in_flight=1)
    await stage.call()
    waiting = await stage.embed(ask=wire.Ask(wait=0.01))
    kind, *body = await waiting.stream.receive()
    assert kind == wire.FAILED
    error = wire.failure_from_wire(*body)
    assert "no place was free" in str(error)
    stage.provider.go_on.release()


async def test_a_flood_does_not_starve_others(stage: Stage, until: Until) -> None:
    """Among hundreds of one session's calls, another session's is next when a place gets free."""
    await stage.spawn(max_in_flight=4)
    flood = [await stage.call("flood", session="flood") for _ in range(200)]
    quiet = await stage.call("quiet", session="quiet")
    await until(lambda: stage.provider.inside == 4)
    for _ in range(2):
        stage.provider.go_on.release()
    await until(lambda: len(stage.provider.asked) == 6)
    assert stage.provider.order.index("quiet") <= 5
    for call in (*flood, quiet):
        call.give_up()
    await until(lambda: stage.load == 0)
    assert _calls(stage)["present"] == 0


def _calls(stage: Stage) -> dict[str, Any]:
    return stage.section("calls")


async def test_who_gives_up_while_the_provider_is_opened_leaves_at_once(stage: Stage, until: Until) -> None:
    """However long a key is looked for, nobody holds a place whose caller is gone."""
    await stage.spawn()
    actor = cast("Any", stage.cluster._actors[NAME])
    opening = asyncio.Event()

    async def opened() -> None:
        opening.set()
        await asyncio.Event().wait()

    actor._serving._keyed.open = opened
    call = asyncio.create_task(stage.call())
    await opening.wait()
    call.cancel()
    stage.hang_up()
    await until(lambda: stage.load == 0)
    assert _calls(stage) == {"begun": 1, "present": 0, "done": 0, "cancelled": 1, "failed": {}}
