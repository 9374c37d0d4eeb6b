"""Two runtimes side by side, one that is observed and one that is not; and what one span costs."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from benchmarks.contract import Effort, Measure, Round, Violation
from benchmarks.ours.bus import Publisher
from benchmarks.ours.bus_parts import Books
from benchmarks.spans import ATTRIBUTES, us_per_span
from llmgine.runtime import Runtime
from llmgine.telemetry import SpanRecorder

_MODEL: Final = "scripted/yes"
_SESSIONS: Final = 16
_DRAIN: Final = 60.0
_SETTINGS: Final[dict[str, Any]] = {
    "providers": {"scripts": {"yes": {"replies": [{"text": "Yes."}]}}},
    "pools": {"by_provider": {"scripted": {"max_in_flight": 4_000}}},
}

Slice = Callable[[int], Awaitable[float]]


class Side:
    """One of the two runtimes: events a second and turns a second, of a given number."""

    def __init__(self, runtime: Runtime, publisher: Publisher) -> None:
        self._runtime = runtime
        self._publisher = publisher
        self._names = itertools.count()

    async def events(self, count: int) -> float:
        return await self._publisher.throughput(count)

    async def turns(self, count: int) -> float:
        """Turns a second over some new sessions, each of which answers one at a time."""
        sessions = [
            self._runtime.session(f"s{next(self._names)}", model=_MODEL, placement="pooled")
            for _ in range(_SESSIONS)
        ]
        await asyncio.gather(*(session.open() for session in sessions))
        numbers = iter(range(count))

        async def work(session: Any) -> None:
            for _ in numbers:
                if (await session.ask("And now?")).text != "Yes.":
                    raise Violation("a turn gave another answer")

        begun = time.perf_counter()
        await asyncio.gather(*(work(session) for session in sessions))
        seconds = time.perf_counter() - begun
        await asyncio.gather(*(session.leave() for session in sessions))
        return count / seconds


@asynccontextmanager
async def stage(case: str) -> AsyncIterator[Measure]:
    async with _side("on", observed=True) as on, _side("off", observed=False) as off:

        async def measure(effort: Effort) -> Round:
            events = effort.count(25_000, 2_500)
            turns = effort.count(400, 80)
            return Round(
                {
                    "loss_percent_bus": await loss_percent(on.events, off.events, events),
                    "loss_percent_turn": await loss_percent(on.turns, off.turns, turns),
                    "us_per_span": us_per_span(_recording(), effort.count(50_000, 5_000)),
                }
            )

        yield measure


async def loss_percent(on: Slice, off: Slice, count: int) -> float:
    """How much slower `on` is than `off`, in percent; both take their turns, in either order."""
    seconds = {True: 0.0, False: 0.0}
    for observed in (True, False, False, True, True, False, False, True):
        seconds[observed] += count / await (on if observed else off)(count)
    return 100.0 * (1.0 - seconds[False] / seconds[True])


@asynccontextmanager
async def _side(name: str, *, observed: bool) -> AsyncIterator[Side]:
    settings = {**_SETTINGS, "data_dir": name, "telemetry": {"enabled": observed}}
    async with Runtime.launch(settings, name=f"telemetry-{name}") as runtime:
        books = Books()
        await books.register(runtime.bus.register_event_handler)

        async def drain() -> int:
            give_up = time.monotonic() + _DRAIN
            while True:
                left = int((await runtime.bus.statistics())["client"]["unsettled"])
                if not left or time.monotonic() > give_up:
                    return left
                await asyncio.sleep(0.005)

        yield Side(runtime, Publisher(runtime.bus.publish, drain, books.report))


def _recording() -> Callable[[], None]:
    """Records one span; each 256 of them are packed, as they are for their way."""
    recorder = SpanRecorder("benchmark")
    numbers = itertools.count(1)

    def record() -> None:
        recorder.start("chat gpt-4o", kind="client", attributes=dict(ATTRIBUTES)).end()
        if not next(numbers) % 256 and (batch := recorder.drain(256)) is not None:
            batch.pack()

    return record
