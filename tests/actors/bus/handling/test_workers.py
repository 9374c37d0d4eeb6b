"""Who calls a handler: workers that go from one delivery to the next."""

from __future__ import annotations

import asyncio
import contextvars
from typing import Any

from llmgine.actors.bus import wire

DONE = -1


async def rest() -> None:
    """Until everything that can go on has done so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_worker_goes_from_delivery_to_delivery(live: Any, noted: Any) -> None:
    """Also where it had nothing to do meanwhile."""
    tasks: list[Any] = []

    async def handle(event: Any) -> None:
        tasks.append(asyncio.current_task())

    side = live()
    side.serve(handle)
    for _ in range(3):
        side.send(noted(), noted())
        await side.answered(2)
        await rest()
    assert len(tasks) == 6
    assert len(set(tasks)) == 1


async def test_a_suspended_handler_lets_the_next_begin(live: Any, noted: Any) -> None:
    """They begin in order, as many as may run at a time, and one worker is left waiting."""
    begun: list[str] = []
    go_on = asyncio.Event()
    tasks: set[Any] = set()

    async def handle(event: Any) -> None:
        begun.append(event.text)
        tasks.add(asyncio.current_task())
        await go_on.wait()

    side = live()
    side.serve(handle, concurrency=3)
    side.send(*(noted(text=str(number)) for number in range(5)))
    await rest()
    assert begun == ["0", "1", "2"]
    go_on.set()
    await side.answered(5)
    await rest()
    assert begun == ["0", "1", "2", "3", "4"]
    assert sum(not task.done() for task in tasks) == 1


async def test_what_a_handler_sets_in_its_context_does_not_last(live: Any, noted: Any) -> None:
    """A later delivery sees the context of the registration, before and after it was suspended."""
    word = contextvars.ContextVar("word", default="nothing")
    seen: list[str] = []

    async def handle(event: Any) -> None:
        seen.append(word.get())
        word.set(event.text)
        await asyncio.sleep(0)
        seen.append(word.get())

    side = live()
    word.set("registered")
    side.serve(handle)
    word.set("delivered")
    for text in ("one", "two"):
        side.send(noted(text=text))
        await side.answered(1)
        await rest()
    assert seen == ["registered", "one", "registered", "two"]


async def test_a_handler_registered_again_has_its_own_context(live: Any, noted: Any) -> None:
    """No worker of the former one calls it."""
    word = contextvars.ContextVar("word", default="")
    seen: list[str] = []

    async def handle(event: Any) -> None:
        seen.append(word.get())

    side = live()
    for text in ("first", "second"):
        word.set(text)
        side.serve(handle)
        side.send(noted())
        await side.answered(1)
        await rest()
    assert seen == ["first", "second"]


async def test_a_cut_off_delivery_does_not_touch_the_next(live: Any, noted: Any) -> None:
    """The worker that was cancelled at a deadline takes further ones, whose own timeouts hold."""
    ends: list[str] = []
    tasks: set[Any] = set()
    now = [100.0]

    async def handle(event: Any) -> None:
        tasks.add(asyncio.current_task())
        if event.text == "late":
            now[0] += 1.0
            await asyncio.Event().wait()
        try:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        except TimeoutError:
            ends.append("own timeout")

    side = live(lambda: now[0])
    side.serve(handle, deadline=0.01, concurrency=1)
    (entry,) = side.send(noted(text="late"))
    (answer,) = await side.answered(1)
    assert answer[2][0] == "deadline"
    side.inbox.verdict(1, entry, wire.KEEP)
    side.send(noted())
    assert [code for _, code, _ in await side.answered(1)] == [DONE]
    assert ends == ["own timeout"]
    assert len(tasks) == 1


async def test_who_waits_for_work_holds_up_no_end(live: Any, noted: Any) -> None:
    """Settling waits for what has started, and for no worker without work."""
    tasks: list[Any] = []

    async def handle(event: Any) -> None:
        tasks.append(asyncio.current_task())

    side = live()
    side.serve(handle)
    side.send(noted())
    await side.answered(1)
    await rest()
    assert not tasks[0].done()
    async with asyncio.timeout(5):
        assert await side.handlers.settle(60.0) == 0
    assert tasks[0].done()


async def test_a_handler_that_is_removed_leaves_no_worker(live: Any, noted: Any) -> None:
    """It ends with the last link over which deliveries could come."""
    tasks: list[Any] = []

    async def handle(event: Any) -> None:
        tasks.append(asyncio.current_task())

    side = live()
    side.serve(handle)
    side.send(noted())
    await side.answered(1)
    await rest()
    side.handlers.remove(1)
    await rest()
    assert tasks[0].done()
