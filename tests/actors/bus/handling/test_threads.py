"""Plain functions run in threads."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from typing import Any

import pytest

from llmgine.actors.bus import wire
from llmgine.actors.bus.handling.calling import runs_on_loop
from llmgine.actors.bus.handling.jobs import current_job
from llmgine.actors.bus.handling.threads import ThreadCall, Threads


class Handler:
    async def method(self, event: Any) -> None: ...
    def plain(self, event: Any) -> None: ...


class CallableHandler:
    async def __call__(self, event: Any) -> None: ...


class PlainCallable:
    def __call__(self, event: Any) -> None: ...


async def coroutine(extra: Any, event: Any) -> None: ...


def test_who_runs_on_the_loop() -> None:
    """Coroutine functions do, bound, partial or as objects; all else may block."""
    on_loop: list[Any] = [Handler().method, CallableHandler(), functools.partial(coroutine, 1)]
    in_thread: list[Any] = [Handler().plain, PlainCallable(), functools.partial(print, 1), [].append, print]
    assert all(map(runs_on_loop, on_loop))
    assert not any(map(runs_on_loop, in_thread))


async def test_a_blocking_function_holds_up_nobody(live: Any, noted: Any) -> None:
    """While a plain function blocks, the loop and other events of the same handler go on."""
    gate = threading.Event()
    inside = asyncio.Event()
    loop = asyncio.get_running_loop()
    threads: list[int] = []

    def handle(event: Any) -> None:
        threads.append(threading.get_ident())
        if event.text == "block":
            loop.call_soon_threadsafe(inside.set)
            assert gate.wait(10)

    side = live()
    side.serve(handle)
    blocked, free = side.send(noted(text="block"), noted(text="free"))
    await inside.wait()
    assert [entry for entry, _, _ in await side.answered(1)] == [free]
    gate.set()
    assert [entry for entry, _, _ in await side.answered(1)] == [blocked]
    assert threading.get_ident() not in threads


async def test_the_context_goes_along(live: Any, noted: Any) -> None:
    """A function sees the context of its registration, and what it causes knows its delivery."""
    word = contextvars.ContextVar("word", default="")
    word.set("registered")
    seen: list[Any] = []

    def handle(event: Any) -> None:
        job = current_job.get()
        assert job is not None
        seen.append((word.get(), job.sequence))

    side = live()
    side.serve(handle)
    word.set("later")
    side.send(noted())
    await side.answered(1)
    assert seen == [("registered", 1)]


async def test_a_function_may_return_an_awaitable(live: Any, add: Any) -> None:
    """It is awaited on the loop, and is the function's result."""
    home = threading.get_ident()

    async def total(left: int, right: int) -> int:
        assert threading.get_ident() == home
        return left + right

    side = live()
    side.serve(lambda command: total(command.left, command.right), add)
    side.send(add(left=2, right=3))
    [(_, code, detail)] = await side.answered(1)
    assert (code, detail[0], detail[1]) == (wire.VALUE, True, b"\x05")


class Panic(BaseException):
    """As extension modules raise it."""


@pytest.mark.parametrize(
    "error",
    [ValueError("no"), SystemExit("no"), StopIteration("no"), KeyboardInterrupt("no"), Panic("no")],
)
async def test_what_a_function_raises_is_its_failure(live: Any, noted: Any, error: BaseException) -> None:
    """Whatever it is, it ends the attempt and nothing else."""

    def handle(event: Any) -> None:
        raise error

    side = live()
    side.serve(handle)
    side.send(noted())
    [(_, code, detail)] = await side.answered(1)
    assert (code, detail[0]) == (wire.FAILED, "handler")


async def test_a_function_past_its_deadline_is_stuck(live: Any, noted: Any) -> None:
    """Nothing ends a thread: the event is given up by that name, the place stays taken until it ends."""
    gate = threading.Event()

    def handle(event: Any) -> None:
        if event.text == "stuck":
            assert gate.wait(10)

    side = live()
    side.serve(handle, deadline=0.2, concurrency=1)
    side.send(noted(text="stuck", session_id="s1"))
    [(entry, code, detail)] = await side.answered(1)
    assert (code, detail[0], detail[1]) == (wire.FAILED, "stuck", "stuck")
    assert side.handlers.report()["stuck"] == {"h": 1}
    side.inbox.verdict(1, entry, wire.KEEP)
    side.send(noted(text="next", session_id="s1"))
    assert side.handlers.queued == 1
    gate.set()
    assert [code for _, code, _ in await side.answered(1)] == [-1]
    assert side.handlers.report()["stuck"] == {}


async def test_threads_are_few_and_a_stuck_one_is_replaced() -> None:
    """No more threads than the limit, but for those that never come back."""
    pool = Threads()
    gate = threading.Event()
    stuck = ThreadCall(gate.wait, (10,))
    waiting = ThreadCall(lambda: "done", ())
    pool.submit(stuck, 1)
    pool.submit(waiting, 1)
    assert pool.count == 1
    pool.give_up(stuck)
    assert await waiting.result() == "done"
    assert pool.count == 1
    gate.set()
    await stuck.result()
    pool.give_up(stuck)
    assert pool.count == 1


async def test_a_thread_whose_function_waits_for_the_bus_has_left_its_place(until: Any) -> None:
    """What it waits for finds a thread, however many wait; once all go on, the threads are few again."""
    pool = Threads()
    gates = [threading.Event() for _ in range(3)]
    waiting = [ThreadCall(gate.wait, (10,)) for gate in gates]
    for call in waiting:
        pool.submit(call, 1)
        call.step_aside()
    awaited = ThreadCall(lambda: "done", ())
    pool.submit(awaited, 1)
    assert await awaited.result() == "done"
    for call, gate in zip(waiting, gates, strict=True):
        call.step_back()
        gate.set()
        assert await call.result()
    await until(lambda: pool.count == 1)
    waiting[0].step_back()
    assert pool.count == 1


async def test_a_call_that_has_not_begun_can_be_cancelled() -> None:
    """It is never made; one that a thread is in cannot be."""
    pool = Threads()
    gate, inside = threading.Event(), threading.Event()

    def block() -> None:
        inside.set()
        assert gate.wait(10)

    made: list[int] = []
    first, second = ThreadCall(block, ()), ThreadCall(lambda: made.append(1), ())
    pool.submit(first, 1)
    pool.submit(second, 1)
    assert inside.wait(10)
    assert second.cancel()
    assert not first.cancel()
    gate.set()
    await first.result()
    assert first.cancel()
    last = ThreadCall(lambda: made.append(2), ())
    pool.submit(last, 1)
    await last.result()
    assert made == [2]
