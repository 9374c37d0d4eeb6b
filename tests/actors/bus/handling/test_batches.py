"""Handlers that take many events at a time."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from llmgine.actors.bus import wire
from llmgine.actors.bus.errors import InvalidMessage
from llmgine.actors.bus.handling.jobs import current_job
from llmgine.actors.bus.messages import CommandResult
from llmgine.actors.bus.middleware import Middleware

DONE = -1
LONG = 3_600.0


def policy(size: int, wait: float = 0.0) -> dict[str, Any]:
    return {"size": size, "wait": wait}


@pytest.mark.parametrize("plain", [False, True])
async def test_a_full_batch_goes_at_once(live: Any, noted: Any, plain: bool) -> None:
    """It goes when it is full, whatever the wait; its events and their deliveries come as lists."""
    seen: list[tuple[list[str], list[int]]] = []

    def in_thread(events: list[Any], deliveries: list[Any]) -> None:
        seen.append(([event.text for event in events], [one.missed for one in deliveries]))

    async def on_loop(events: list[Any], deliveries: list[Any]) -> None:
        in_thread(events, deliveries)

    side = live()
    side.serve(in_thread if plain else on_loop, batch=policy(3, LONG), concurrency=1)
    side.send(noted(text="a"), noted(text="b"))
    assert side.handlers.queued == 2
    entries = side.send(noted(text="c"), missed=2)
    answers = await side.answered(3)
    assert sorted(answers) == [(entry, DONE, None) for entry in range(1, entries[-1] + 1)]
    assert seen == [(["a", "b", "c"], [0, 0, 2])]


async def test_a_batch_goes_when_its_first_event_has_waited(live: Any, noted: Any) -> None:
    """What came until then goes together, full or not."""
    seen: list[int] = []

    async def handle(events: list[Any]) -> None:
        seen.append(len(events))

    side = live()
    side.serve(handle, batch=policy(100, 0.005))
    side.send(noted(), noted())
    side.send(noted(session_id="s1"))
    await side.answered(3)
    assert seen == [3]


async def test_a_batch_keeps_the_order_of_lanes(live: Any, noted: Any) -> None:
    """Events of one session share a batch in order; while it runs, those behind wait."""
    seen: list[list[str]] = []
    gate, both = asyncio.Event(), asyncio.Event()

    async def handle(events: list[Any]) -> None:
        seen.append([f"{event.session_id}{event.text}" for event in events])
        if len(seen) == 2:
            both.set()
        await gate.wait()

    side = live()
    side.serve(handle, batch=policy(3), concurrency=2)
    side.send(*(noted(session_id="a", text=str(n)) for n in range(4)))
    side.send(noted(session_id="b", text="0"))
    await both.wait()
    assert seen == [["a0", "a1", "a2"], ["b0"]]
    gate.set()
    await side.answered(5)
    assert seen[2:] == [["a3"]]


async def test_a_failed_batch_fails_each_of_its_events(live: Any, noted: Any) -> None:
    """Each is answered, in order of entries; only one of them counts as a failure of its own."""

    async def handle(events: list[Any]) -> Any:
        raise ValueError("no")

    side = live()
    side.serve(handle, batch=policy(3))
    entries = side.send(noted(session_id="b"), noted(session_id="b")) + side.send(noted(session_id="a"))
    answers = await side.answered(3)
    assert [entry for entry, _, _ in answers] == entries
    assert [detail[0] for _, _, detail in answers] == ["handler", "batch", "batch"]
    assert {detail[1] for _, _, detail in answers} == {"ValueError"}
    assert not side.inbox.queues[1].may_start
    assert side.inbox.queues[1].verdicts == 3


async def test_what_failed_in_company_is_tried_alone(live: Any, noted: Any) -> None:
    """A retried event makes a batch of its own, so that one bad event spoils no other for good."""
    seen: list[list[str]] = []

    async def handle(events: list[Any]) -> Any:
        seen.append([event.text for event in events])
        if any(event.text == "bad" for event in events):
            return CommandResult.failed("bad", "cannot be")
        return None

    side = live()
    side.serve(handle, batch=policy(10), concurrency=1)
    side.send(noted(text="bad"), noted(text="good"), attempt=2)
    side.send(noted(text="new"), noted(text="newer"))
    answers = await side.answered(1)
    assert [detail[:2] for _, _, detail in answers] == [["handler", "bad"]]
    side.inbox.verdict(1, answers[0][0], wire.KEEP)
    assert [code for _, code, _ in await side.answered(3)] == [DONE] * 3
    assert seen == [["bad"], ["good"], ["new", "newer"]]


async def test_what_cannot_be_decoded_is_left_out(live: Any, noted: Any) -> None:
    """It fails by itself; the others are handled."""
    seen: list[int] = []

    async def handle(events: list[Any]) -> None:
        seen.append(len(events))

    side = live()
    side.serve(handle, batch=policy(3, LONG))
    side.send(noted(), noted())
    side.deliver("BUS", [b"\xc1"])
    answers = sorted(await side.answered(3))
    assert [code for _, code, _ in answers] == [DONE, DONE, wire.FAILED]
    assert answers[2][2][0] == "undecodable"
    assert seen == [2]


async def test_a_batch_has_one_deadline(live: Any, noted: Any) -> None:
    """Past it the call is cancelled, and each event has failed."""

    async def handle(events: list[Any]) -> None:
        await asyncio.Event().wait()

    side = live()
    side.serve(handle, batch=policy(2), deadline=0.01)
    side.send(noted(), noted())
    answers = await side.answered(2)
    assert [detail[:2] for _, _, detail in answers] == [["deadline", "deadline"], ["batch", "deadline"]]


async def test_a_batch_in_a_thread_can_be_stuck(live: Any, noted: Any) -> None:
    """Its events are given up together, and their sessions go on."""
    gate = threading.Event()

    def handle(events: list[Any]) -> None:
        if events[0].text == "stuck":
            assert gate.wait(10)

    side = live()
    side.serve(handle, batch=policy(2), deadline=0.2, concurrency=2)
    side.send(*(noted(text="stuck", session_id="s1") for _ in range(2)))
    answers = await side.answered(2)
    assert [detail[0] for _, _, detail in answers] == ["stuck", "stuck"]
    side.send(noted(session_id="s1"))
    for entry, _, _ in answers:
        side.inbox.verdict(1, entry, wire.KEEP)
    assert [code for _, code, _ in await side.answered(1)] == [DONE]
    side.inbox.validate()
    gate.set()


async def test_middleware_sees_the_whole_batch(live: Any, noted: Any) -> None:
    """It wraps the call with the lists; where it refuses several, each is tried again alone."""
    seen: list[int] = []

    class Refuse(Middleware):
        async def handle(self, message: Any, delivery: Any, call_next: Any) -> Any:
            seen.append(len(message))
            if any(event.text == "bad" for event in message):
                raise InvalidMessage("bad")
            return await call_next(message, delivery)

    async def handle(events: list[Any]) -> None: ...

    side = live()
    side.serve(handle, batch=policy(2), middleware=[Refuse()])
    side.send(noted(text="bad"), noted())
    answers = await side.answered(2)
    assert [detail[0] for _, _, detail in answers] == ["batch", "batch"]
    for entry, _, _ in answers:
        side.inbox.verdict(1, entry, wire.LANE)
    side.send(noted(text="bad"), first=1, attempt=2)
    assert (await side.answered(3))[-1][2][0] == "invalid"
    assert seen == [2, 1]


async def test_what_a_batch_publishes_is_caused_by_all_of_it(live: Any, noted: Any) -> None:
    """Its depth is that of the deepest event, and its chain names each session that waits in it."""
    seen: list[Any] = []

    async def handle(events: list[Any]) -> None:
        job = current_job.get()
        assert job is not None
        assert job.extra is not None
        seen.append((job.head.depth, job.extra["chain"]))

    side = live()
    side.serve(handle, batch=policy(2, LONG))
    side.send(noted(session_id="a"), depth=3, extra={"chain": [[9, "x"]]})
    side.send(noted(session_id="b"), depth=5)
    await side.answered(2)
    assert seen == [(5, [[9, "x"], [1, "a"], [1, "b"]])]


async def test_a_reentrant_event_does_not_wait_for_company(live: Any, noted: Any) -> None:
    """A batch handler that waits for its own event gets it alone, beside itself."""
    seen: list[int] = []
    gate = asyncio.Event()

    async def handle(events: list[Any]) -> None:
        seen.append(len(events))
        if len(seen) == 1:
            await gate.wait()
        gate.set()

    side = live()
    side.serve(handle, batch=policy(2, LONG), concurrency=1)
    side.send(noted(), noted())
    side.send(noted(), reentrant=True)
    await side.answered(3)
    assert seen == [2, 1]
