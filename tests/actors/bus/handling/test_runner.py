"""Handlers that run: what is measured, wrapped, cut off and said of them."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest

from llmgine.actors.bus import Delivery, wire
from llmgine.actors.bus.errors import InvalidMessage
from llmgine.actors.bus.handling.durations import BOUNDS, Durations
from llmgine.actors.bus.handling.watch import LoopWatch, task_name
from llmgine.actors.bus.messages import CommandResult
from llmgine.actors.bus.middleware import Middleware
from llmgine.actors.bus.tracing import Tracing
from llmgine.telemetry import SpanRecorder, names

DONE = -1


class Clock:
    """Time as the test says."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


# What a handler is told


async def test_a_delivery_says_how_it_came(live: Any, noted: Any) -> None:
    """Attempt, redelivery and what was missed before it."""
    seen: list[Delivery] = []

    async def handle(event: Any, delivery: Delivery) -> None:
        seen.append(delivery)

    side = live()
    side.serve(handle)
    side.send(noted(), noted(), missed=7)
    side.send(noted(), attempt=3)
    side.send(noted(), redelivered=True)
    await side.answered(4)
    assert [(one.attempt, one.redelivered, one.missed) for one in seen] == [
        (1, False, 7),
        (1, False, 0),
        (3, False, 0),
        (1, True, 0),
    ]
    assert seen[0].id == "p:1:BUS:1/h"


async def test_a_replay_says_of_what(live: Any, noted: Any) -> None:
    """The envelope of a replayed message names the original."""
    seen: list[Any] = []

    async def handle(event: Any) -> None:
        seen.append(event.envelope.replay_of)

    side = live()
    side.serve(handle)
    side.send(noted(), extra={"replay_of": "x:1:BUS:9"})
    await side.answered(1)
    assert seen == ["x:1:BUS:9"]


# What is said of it


class Panic(BaseException):
    """As extension modules raise it."""


@pytest.mark.parametrize("steps", [0, 1])
@pytest.mark.parametrize("batch", [None, {"size": 1, "wait": 0.0}])
async def test_whatever_a_handler_raises_ends_its_attempt(
    live: Any, noted: Any, steps: int, batch: dict[str, Any] | None
) -> None:
    """An error that derives from no Exception is a failure like any other, and the next event is handled."""

    async def handle(event: Any) -> None:
        for _ in range(steps):
            await asyncio.sleep(0)
        raise Panic("no")

    side = live()
    side.serve(handle, batch=batch)
    for _ in range(2):
        [entry] = side.send(noted())
        [(_, code, detail)] = await side.answered(1)
        assert (code, detail[:3]) == (wire.FAILED, ["handler", "Panic", "no"])
        side.inbox.verdict(1, entry, wire.KEEP)


async def test_a_slow_success_is_told_apart(live: Any, noted: Any) -> None:
    """An attempt that takes as long as the breaker calls slow is reported with its duration."""
    clock = Clock()

    async def handle(event: Any) -> None:
        clock.now += float(event.text)

    side = live(clock)
    side.serve(handle, slow_after=0.5)
    side.send(noted(text="0.4"))
    side.send(noted(text="0.5"))
    side.send(noted(text="0"))
    answers = sorted(await side.answered(3))
    assert [code for _, code, _ in answers] == [DONE, wire.HANDLED, DONE]
    assert answers[1][2] == [1, pytest.approx(0.5)]


async def test_durations_are_counted_exactly(live: Any, noted: Any, add: Any) -> None:
    """Each attempt is in one bucket, quick ones, slow ones and failures; events and commands apart."""
    clock = Clock()

    async def handle(event: Any) -> None:
        clock.now += float(event.text)
        if event.text == "3":
            raise ValueError("no")

    side = live(clock)
    side.serve(handle)
    side.serve(lambda command: 1, add, number=2)
    for text in ("0", "0.0001", "0.02", "3"):
        side.send(noted(text=text))
    side.send(add(), number=2)
    await side.answered(5)
    report = side.handlers.report()
    row = report["event_processing_duration"]["h"]
    assert (row["count"], row["sum"]) == (4, pytest.approx(3.0201))
    assert {bound: count for bound, count in row["buckets"].items() if count} == {
        "0.001": 2,
        "0.025": 1,
        "5.0": 1,
    }
    assert report["command_processing_duration"]["h"]["count"] == 1


def test_buckets_hold_what_took_at_most_so_long() -> None:
    """A bound belongs to its bucket; beyond the last there is one more."""
    durations = Durations()
    for bound in BOUNDS:
        durations.add(bound)
    durations.add(BOUNDS[-1] * 2)
    assert durations.counts == [1] * (len(BOUNDS) + 1)


async def test_a_commands_failure_is_an_attempt(live: Any, add: Any) -> None:
    """It is reported as a failed attempt, with whether trying again may help."""
    side = live()
    side.serve(lambda command: CommandResult.failed("busy", "later", retryable=True), add)
    side.send(add())
    [(_, code, detail)] = await side.answered(1)
    assert (code, detail[:4], detail[5]) == (wire.FAILED, ["handler", "busy", "later", 1], True)


async def test_an_async_handler_that_ignores_its_end_is_stuck(live: Any, noted: Any) -> None:
    """It is cancelled at its deadline; where it goes on, its event is given up and it keeps its place."""
    clock, gate = Clock(), asyncio.Event()
    inside, cancelled = asyncio.Event(), asyncio.Event()

    async def handle(event: Any) -> None:
        inside.set()
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                cancelled.set()

    side = live(clock)
    side.serve(handle, deadline=5.0)
    side.send(noted())
    await inside.wait()
    clock.now += 5.0
    side.handlers._check_deadlines()
    await cancelled.wait()
    clock.now += 2.0
    side.handlers._check_deadlines()
    [(_, code, detail)] = await side.answered(1)
    assert (code, detail[0]) == (wire.FAILED, "stuck")
    assert side.handlers.report()["stuck"] == {"h": 1}
    gate.set()


# Middleware


class Trace(Middleware):
    def __init__(self, name: str, seen: list[str]) -> None:
        self._name, self._seen = name, seen

    async def handle(self, message: Any, delivery: Any, call_next: Any) -> Any:
        self._seen.append(f"before {self._name}")
        try:
            return await call_next(message, delivery)
        finally:
            self._seen.append(f"after {self._name}")


@pytest.mark.parametrize("plain", [False, True])
async def test_middleware_wraps_events_and_commands(live: Any, noted: Any, add: Any, plain: bool) -> None:
    """The process's is outside in the order given, the handler's own inside; each can be removed."""
    seen: list[str] = []

    async def on_loop(message: Any) -> int:
        seen.append("handler")
        return 1

    def in_thread(message: Any) -> int:
        seen.append("handler")
        return 1

    handler = in_thread if plain else on_loop
    side = live()
    remove = side.handlers.add_middleware(Trace("one", seen))
    side.serve(handler, middleware=[Trace("own", seen)])
    side.serve(handler, add, number=2)
    side.handlers.add_middleware(Trace("two", seen))
    side.send(noted())
    await side.answered(1)
    around = ["before one", "before two", "before own", "handler", "after own", "after two", "after one"]
    assert seen == around
    seen.clear()
    side.send(add(), number=2)
    [(_, code, _)] = await side.answered(1)
    assert (code, seen) == (wire.VALUE, [step for step in around if "own" not in step])
    seen.clear()
    remove()
    remove()
    side.send(noted())
    await side.answered(1)
    assert seen == [step for step in around if "one" not in step]


async def test_a_middleware_may_refuse(live: Any, noted: Any) -> None:
    """A message that does not validate never reaches its handler, and trying again is not asked for."""

    class Refuse(Middleware):
        async def handle(self, message: Any, delivery: Any, call_next: Any) -> Any:
            raise InvalidMessage("bad")

    seen: list[Any] = []
    side = live()
    side.serve(seen.append, middleware=[Refuse()])
    side.send(noted())
    [(_, code, detail)] = await side.answered(1)
    assert (code, detail[:3], seen) == (wire.FAILED, ["invalid", "invalid", "bad"], [])


# Who holds up the loop


async def test_a_handler_that_blocks_the_loop_is_reported_by_name() -> None:
    """It is counted and named, with where it stands, while it still blocks."""
    told = threading.Event()
    said: list[str] = []

    class Tell(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())
            told.set()

    logger = logging.getLogger("llmgine.actors.bus.handling.watch")
    tell = Tell()
    logger.addHandler(tell)
    watch = LoopWatch.here(0.005)
    try:

        async def greedy() -> None:
            assert told.wait(10), "nobody has noticed"

        await asyncio.create_task(greedy(), name=task_name("greedy"))
        assert watch.blocked == {"greedy": 1}
        assert "handler greedy keeps the loop" in said[0]
        assert "told.wait(10)" in said[0]
    finally:
        watch.close()
        logger.removeHandler(tell)


async def test_one_watch_serves_a_loop() -> None:
    """Everybody on a loop shares its watch, which ends with the last of them."""
    one, two = LoopWatch.here(1.0), LoopWatch.here(1.0)
    assert one is two
    one.close()
    assert LoopWatch.here(1.0) is one
    one.close()
    one.close()
    other = LoopWatch.here(1.0)
    assert other is not one
    other.close()


async def test_many_quick_events_let_the_loop_breathe(live: Any, noted: Any) -> None:
    """A long row of events does not keep the loop: a worker has its turn, then others have theirs."""
    clock = Clock()
    turns = 0

    async def handle(event: Any) -> None:
        clock.now += 0.0005

    side = live(clock)
    side.serve(handle, concurrency=1)
    side.send(*(noted(session_id="s1") for _ in range(100)))
    while side.handlers.queued:
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 40


def test_durations_reach_the_metrics_of_the_process() -> None:
    """What each handler's own histogram counts, the process's count alike, quick ones many at a time."""
    recorder = SpanRecorder("here")
    measures = Tracing(recorder, 0).measures("event")
    for durations in (Durations(measures), Durations(measures)):
        durations.add_quick(10, 0.002)
        durations.add(0.2)
        durations.add(7.0)
    assert [one.name for one in measures] == [names.METRIC_EVENT_SECONDS, names.METRIC_PROCESS_DURATION]
    assert dict(measures[1].labels)[names.MESSAGING_SYSTEM] == "llmgine"
    for one in measures:
        assert one.count == 24
        assert one.counts[0] == 20  # less than the least bound of both
        assert one.sum == pytest.approx(14.404)
    (command, _) = Tracing(recorder, 0).measures("command")
    assert command.count == 0
