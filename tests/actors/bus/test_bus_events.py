"""Events, with real clients, a real router and real links in one loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from llmgine.actors.bus import BatchPolicy, BreakerPolicy, CommandResult, Delivery, Event, RetryPolicy

pytestmark = pytest.mark.timeout(20)

World = Any


class Noted(Event):
    text: str = ""


class Louder(Noted):
    volume: int = 11


ONCE = RetryPolicy(retries=0)
# No wait worth mentioning before a retry.
AGAIN = RetryPolicy(base=1e-6)


def texts(seen: list[str]) -> Any:
    """A handler on the loop, so that what it sees is in order."""

    async def handle(event: Noted) -> None:
        seen.append(event.text)

    return handle


def volumes(seen: list[int]) -> Any:
    async def handle(event: Louder) -> None:
        seen.append(event.volume)

    return handle


async def test_publish_and_wait_returns_the_outcomes_of_its_own_handlers(world: World) -> None:
    """It returns when each of the event's handlers has run once, failed ones told as outcomes."""
    ran: list[str] = []

    async def good(event: Noted) -> None:
        await asyncio.sleep(0)
        ran.append("good")

    def bad(event: Noted) -> None:
        ran.append("bad")
        raise RuntimeError("no")

    client, publisher = world.client(), world.client()
    await client.register_event_handler(Noted, good)
    await client.register_event_handler(Noted, bad, name="bad", retry=ONCE)
    receipt = await publisher.publish(Noted(), wait=True)
    assert sorted(ran) == ["bad", "good"]
    assert receipt.admitted
    assert len(receipt.outcomes) == 2
    [failed] = [outcome for outcome in receipt.outcomes if not outcome.success]
    assert (failed.handler, failed.kind, failed.text, failed.reason) == (
        "bad",
        "RuntimeError",
        "no",
        "handler",
    )


async def test_a_waiting_publish_waits_for_no_other_event(world: World) -> None:
    """A publish that waits returns although another event's handler has not ended."""
    gate = asyncio.Event()

    async def slow(event: Louder) -> None:
        await gate.wait()

    client = world.client()
    await client.register_event_handler(Louder, slow)
    await client.register_event_handler(Noted, lambda event: None)
    other = asyncio.create_task(client.publish(Louder(), wait=True))
    await asyncio.wait_for(client.publish(Noted(), wait=True), 2)
    assert not other.done()
    gate.set()
    await other


async def test_a_handler_may_publish_and_wait(world: World) -> None:
    """Publishing and waiting inside a handler re-enters the same handler beside its suspended self."""
    depth: list[int] = []

    async def recurse(event: Louder, delivery: Delivery) -> None:
        depth.append(delivery.depth)
        if event.volume > 0:
            await client.publish(Louder(volume=event.volume - 1, session_id=event.session_id), wait=True)

    client = world.client()
    await client.register_event_handler(Louder, recurse, concurrency=1)
    for session in ("BUS", "s1"):
        depth.clear()
        await asyncio.wait_for(client.publish(Louder(volume=5, session_id=session), wait=True), 3)
        assert depth == [0, 1, 2, 3, 4, 5]


async def test_endless_causation_is_cut(make_world: Any) -> None:
    """Events that cause one another without end stop at the depth that is allowed, and are counted."""
    world = await make_world(max_depth=10)
    count = 0
    ended = asyncio.Event()

    async def again(event: Noted) -> None:
        nonlocal count
        count += 1
        receipt = await client.publish(Noted())
        if receipt.refused:
            assert receipt.refused == (("", "depth"),)
            assert not receipt.admitted
            ended.set()

    client = world.client()
    await client.register_event_handler(Noted, again)
    await client.publish(Noted())
    await asyncio.wait_for(ended.wait(), 3)
    await client.drain()
    assert count == 11
    assert (await client.statistics())["failures"] == {"depth": 1}


async def test_scopes(world: World) -> None:
    """A bus event reaches bus handlers only; a session event its session's handlers and the bus's."""
    seen: list[tuple[str, str]] = []
    client = world.client()
    for scope in ("BUS", "s1", "s2"):
        await client.register_event_handler(
            Noted, lambda event, scope=scope: seen.append((scope, event.text)), session_id=scope
        )
    await client.publish(Noted(text="bus"), wait=True)
    await client.publish(Noted(text="one", session_id="s1"), wait=True)
    await client.publish(Noted(text="other", session_id="s3"), wait=True)
    assert sorted(seen) == [("BUS", "bus"), ("BUS", "one"), ("BUS", "other"), ("s1", "one")]


async def test_an_event_nobody_handles_is_no_error(world: World) -> None:
    """It is admitted, settled and counted."""
    client = world.client()
    receipt = await client.publish(Noted())
    assert receipt.admitted
    assert (await client.publish(Noted(), wait=True)).outcomes == ()
    await client.drain()
    statistics = await client.statistics()
    assert statistics["events_published_total"] == statistics["events_processed_total"] == 2


async def test_a_failing_handler_stops_nobody(world: World) -> None:
    """Others and later events go on; the failure is counted and recorded."""
    seen: list[str] = []

    def bad(event: Noted) -> None:
        raise KeyError(event.text)

    client = world.client()
    await client.register_event_handler(Noted, bad, retry=ONCE)
    await client.register_event_handler(Noted, texts(seen))
    for number in range(3):
        await client.publish(Noted(text=str(number)))
    assert await client.drain() == 0
    assert seen == ["0", "1", "2"]
    statistics = await client.statistics()
    assert statistics["events_published_total"] == statistics["events_failed_total"] == 3
    assert [failure.kind for failure in world.core.failures] == ["KeyError"] * 3


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
async def test_priority_is_strict(world: World, order: tuple[int, ...]) -> None:
    """A lower number runs first and to its end, whatever the order of registration, across processes."""
    story: list[str] = []
    witness = world.client()

    def handler(priority: int) -> Any:
        async def handle(event: Noted) -> None:
            story.append(f"begin {priority}")
            # The router has said all that it has to say before it answers this.
            await witness.statistics()
            story.append(f"end {priority}")

        return handle

    for priority in order:
        await world.client().register_event_handler(Noted, handler(priority), priority=priority)
    await world.client().publish(Noted(), wait=True)
    assert story == ["begin 0", "end 0", "begin 1", "end 1", "begin 2", "end 2"]


async def test_publishes_before_the_start_are_delivered_after_it(make_world: Any, until: Any) -> None:
    """What is published before there is a router is delivered once there is, exactly once."""
    world = await make_world(router=False)
    seen: list[str] = []
    client = world.client()
    publishes = [asyncio.create_task(client.publish(Noted(text=str(number)))) for number in range(3)]
    registering = asyncio.create_task(client.register_event_handler(Noted, texts(seen)))
    await world.start_router(load=False)
    await until(lambda: world.core.statistics()["connected_clients"])
    assert not any(task.done() for task in publishes)
    world.service.load(world.table.snapshot())
    await asyncio.wait_for(asyncio.gather(registering, *publishes), 5)
    await client.drain()
    assert seen == ["0", "1", "2"]


async def test_a_burst_is_processed_completely(world: World) -> None:
    """A burst larger than any batch or window is handled in order without a further call."""
    seen: list[int] = []
    client, publisher = world.client(), world.client()
    await client.register_event_handler(Louder, volumes(seen))
    await asyncio.gather(*(publisher.publish(Louder(volume=number)) for number in range(5_000)))
    assert await publisher.drain() == 0
    assert seen == list(range(5_000))


async def test_a_burst_beyond_the_mailbox_is_held_back_not_lost(make_world: Any) -> None:
    """With the default policy publishers wait for room, and everything arrives in order."""
    world = await make_world(mailbox_capacity=20, prefetch=8, max_unadmitted=50)
    seen: list[int] = []

    async def handle(event: Louder) -> None:
        await asyncio.sleep(0)
        seen.append(event.volume)

    client, publisher = world.client(), world.client()
    await client.register_event_handler(Louder, handle, session_id="s1")
    await asyncio.gather(
        *(publisher.publish(Louder(volume=number, session_id="s1")) for number in range(1_000))
    )
    assert await publisher.drain() == 0
    assert seen == list(range(1_000))
    statistics = await client.statistics()
    assert statistics["backpressure_on_total"] == statistics["backpressure_off_total"] >= 1
    assert statistics["queue_size"] == statistics["in_flight"] == statistics["backpressure_active"] == 0


async def test_reject_new_keeps_what_is_queued_and_tells_the_producer(make_world: Any) -> None:
    """Beyond its capacity the mailbox refuses, and the receipt names the handler."""
    world = await make_world(mailbox_capacity=3)
    gate = asyncio.Event()
    seen: list[int] = []

    async def handle(event: Louder) -> None:
        await gate.wait()
        seen.append(event.volume)

    client = world.client()
    await client.register_event_handler(Louder, handle, name="h", overflow="reject_new", concurrency=1)
    receipts = [await client.publish(Louder(volume=number)) for number in range(6)]
    assert [receipt.refused for receipt in receipts] == [()] * 4 + [(("h", "overflow"),)] * 2
    gate.set()
    await client.drain()
    assert seen == [0, 1, 2, 3]


async def test_drop_oldest_keeps_the_newest_in_order(make_world: Any) -> None:
    """What waits longest makes room; the drops are counted."""
    world = await make_world(mailbox_capacity=3)
    gate = asyncio.Event()
    seen: list[int] = []

    async def handle(event: Louder) -> None:
        await gate.wait()
        seen.append(event.volume)

    client = world.client()
    await client.register_event_handler(Louder, handle, overflow="drop_oldest", concurrency=1)
    for number in range(10):
        await client.publish(Louder(volume=number))
    gate.set()
    await client.drain()
    assert seen == [0, 7, 8, 9]
    assert (await client.statistics())["failures"] == {"dropped": 6}


async def test_a_full_mailbox_lets_go_of_its_copy_after_a_while(make_world: Any) -> None:
    """A stuck handler delays only itself: others get the event at once, the publisher goes on."""
    world = await make_world(mailbox_capacity=1, block_timeout=0.2)
    gate = asyncio.Event()
    seen: list[int] = []

    async def stuck(event: Louder) -> None:
        await gate.wait()

    client = world.client()
    await client.register_event_handler(Louder, stuck, name="stuck", concurrency=1)
    await client.register_event_handler(Louder, volumes(seen))
    for number in range(2):
        await client.publish(Louder(volume=number))
    late = await asyncio.wait_for(client.publish(Louder(volume=2)), 3)
    assert seen == [0, 1, 2]
    assert late.refused == (("stuck", "overflow"),)
    gate.set()


# Failures


@pytest.mark.parametrize("how", ["raises", "returns"])
async def test_a_failed_attempt_is_made_again(world: World, how: str) -> None:
    """A handler that fails, by raising or by what it returns, is tried again and succeeds in its budget."""
    attempts: list[int] = []

    async def handle(event: Noted, delivery: Delivery) -> Any:
        attempts.append(delivery.attempt)
        if delivery.attempt < 3:
            if how == "raises":
                raise RuntimeError("not yet")
            return CommandResult.failed("not yet", "later")
        return None

    client = world.client()
    await client.register_event_handler(Noted, handle, retry=AGAIN)
    receipt = await client.publish(Noted(), wait=True)
    assert attempts == [1, 2, 3]
    assert [(outcome.success, outcome.attempts) for outcome in receipt.outcomes] == [(True, 3)]


async def test_a_used_up_event_is_given_up_once(world: World) -> None:
    """After its retries it has failed for good, with its attempts; nothing else is held up."""
    seen: list[str] = []

    async def handle(event: Noted) -> None:
        seen.append(event.text)
        if event.text == "bad":
            raise RuntimeError("never")

    client = world.client()
    await client.register_event_handler(Noted, handle, retry=RetryPolicy(retries=2, base=1e-6))
    receipt = await client.publish(Noted(text="bad"), wait=True)
    await client.publish(Noted(text="good"), wait=True)
    assert [(one.success, one.kind, one.attempts) for one in receipt.outcomes] == [(False, "RuntimeError", 3)]
    assert seen == ["bad", "bad", "bad", "good"]
    assert len(world.core.failures) == 1


@pytest.mark.parametrize(("session", "order"), [("s1", "session"), ("BUS", "strict")])
async def test_retries_keep_the_order(world: World, session: str, order: Any) -> None:
    """What comes behind a failed event waits for its retries: in a session, and with "strict" on the bus."""
    seen: list[str] = []
    failed: set[str] = set()

    async def handle(event: Noted) -> None:
        if int(event.text) % 3 == 0 and event.text not in failed:
            failed.add(event.text)
            raise RuntimeError("once")
        seen.append(event.text)

    client = world.client()
    await client.register_event_handler(
        Noted, handle, retry=AGAIN, order=order, breaker=BreakerPolicy(failures=100)
    )
    await asyncio.gather(*(client.publish(Noted(text=str(n), session_id=session)) for n in range(30)))
    assert await client.drain() == 0
    assert seen == [str(number) for number in range(30)]
    assert len(failed) == 10


async def test_a_retry_on_the_bus_holds_nobody_back(make_world: Any) -> None:
    """Bus events start in order, and those behind a failed one go on while it waits for its retry."""
    world = await make_world()
    seen: list[str] = []

    async def handle(event: Noted, delivery: Delivery) -> None:
        if event.text == "bad" and delivery.attempt == 1:
            raise RuntimeError("once")
        seen.append(event.text)

    client = world.client()
    await client.register_event_handler(Noted, handle, retry=RetryPolicy(base=0.2))
    for text in ("bad", "one", "two"):
        await client.publish(Noted(text=text))
    assert await client.drain() == 0
    assert seen in (["one", "two", "bad"], ["bad", "one", "two"])


async def test_an_open_breaker_calls_nobody_and_hurts_nobody(world: World) -> None:
    """After its threshold of failures the handler is left alone, and its events wait; others go on."""
    calls = 0
    seen: list[str] = []

    async def bad(event: Noted) -> None:
        nonlocal calls
        calls += 1
        raise RuntimeError("down")

    client = world.client()
    policy = BreakerPolicy(failures=3)
    await client.register_event_handler(Noted, bad, name="bad", retry=ONCE, breaker=policy, concurrency=1)
    await client.register_event_handler(Noted, texts(seen))
    for number in range(20):
        await client.publish(Noted(text=str(number)))
    while len(seen) < 20:
        await client.statistics()
    assert seen == [str(number) for number in range(20)]
    assert calls == 3


async def test_a_thread_that_never_ends_is_given_up(world: World) -> None:
    """Its event has failed as stuck and is not tried beside itself; others of the handler go on."""
    gate = threading.Event()
    seen: list[str] = []

    def handle(event: Noted) -> None:
        if event.text == "stuck":
            assert gate.wait(10)
        seen.append(event.text)

    client = world.client()
    await client.register_event_handler(Noted, handle, name="h", deadline=0.2, concurrency=2)
    receipt = await client.publish(Noted(text="stuck", session_id="s1"), wait=True)
    assert [(one.reason, one.attempts) for one in receipt.outcomes] == [("stuck", 1)]
    await client.publish(Noted(text="next", session_id="s1"), wait=True)
    assert seen == ["next"]
    assert client.report()["stuck"] == {"h": 1}
    gate.set()


async def test_a_batch_handler_gets_its_events_together(world: World) -> None:
    """One bad event makes its batch fail, and in the end only itself."""
    seen: list[str] = []
    sizes: list[int] = []

    async def handle(events: list[Noted]) -> None:
        sizes.append(len(events))
        if any(event.text == "bad" for event in events):
            raise ValueError("bad")
        seen.extend(event.text for event in events)

    client = world.client()
    batch = BatchPolicy(size=10, wait=0.005)
    await client.register_event_handler(Noted, handle, batch=batch, retry=RetryPolicy(retries=1, base=1e-6))
    names = ["0", "1", "bad", "2", "3"]
    receipts = await asyncio.gather(
        *(client.publish(Noted(text=text, session_id="s1"), wait=True) for text in names)
    )
    assert [receipt.outcomes[0].success for receipt in receipts] == [text != "bad" for text in names]
    assert seen == ["0", "1", "2", "3"]
    assert sizes == [5, 1, 1, 1, 1, 1]
