"""Two runtimes side by side, one that is observed and one that is not; and what one span costs."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks.contract import Effort, Measure, Round, Violation
from benchmarks.ours.bus import Publisher
from benchmarks.ours.bus_parts import Books
from benchmarks.spans import ATTRIBUTES, us_per_span
from llmgine.runtime import Runtime, Session
from llmgine.telemetry import SpanRecorder

_MODEL: Final = "scripted/talks"
_ANSWER: Final = " ".join(["word"] * 60)  # streamed a word at a time
_SESSIONS: Final = 16
_MEMORY: Final = Path("/dev/shm")  # how fast a disk is says nothing of telemetry
_DRAIN: Final = 60.0
_PAIRS: Final = 8  # of a hundred turns each, after which sessions are new: fifty turns are much for one
_SETTINGS: Final[dict[str, Any]] = {
    "providers": {"scripts": {"talks": {"replies": [{"text": _ANSWER}]}}},
    "pools": {"by_provider": {"scripted": {"max_in_flight": 4_000}}},
}

Slice = Callable[[int], Awaitable[float]]


class Side:
    """One of the two runtimes."""

    def __init__(self, runtime: Runtime, publisher: Publisher) -> None:
        self._runtime = runtime
        self._publisher = publisher
        self._names = itertools.count()

    async def events(self, count: int) -> float:
        """Events a second."""
        return await self._publisher.throughput(count)

    @asynccontextmanager
    async def turns(self) -> AsyncIterator[Slice]:
        """Turns a second of some new sessions, each of which answers one at a time."""
        sessions = [
            self._runtime.session(f"s{next(self._names)}", model=_MODEL, placement="pooled")
            for _ in range(_SESSIONS)
        ]
        await asyncio.gather(*(session.open() for session in sessions))

        async def measured(count: int) -> float:
            numbers = iter(range(count))
            begun = time.perf_counter()
            await asyncio.gather(*(_talk(session, numbers) for session in sessions))
            return count / (time.perf_counter() - begun)

        yield measured
        await asyncio.gather(*(session.leave() for session in sessions))


async def _talk(session: Session, numbers: Iterator[int]) -> None:
    for _ in numbers:
        if (await session.ask("And now?")).text != _ANSWER:
            raise Violation("a turn gave another answer")


@asynccontextmanager
async def stage(case: str) -> AsyncIterator[Measure]:
    async with _side("on", observed=True) as on, _side("off", observed=False) as off:

        async def measure(effort: Effort) -> Round:
            pairs = effort.count(40, 8)
            bus = await loss_percent(on.events, off.events, 5_000, pairs)
            turn = []
            for _ in range(pairs // _PAIRS):
                async with on.turns() as turns_on, off.turns() as turns_off:
                    turn.append(await loss_percent(turns_on, turns_off, 100, _PAIRS))
            return Round(
                {
                    "loss_percent_bus": bus,
                    "loss_percent_turn": median(turn),
                    "us_per_span": us_per_span(_recording(), effort.count(50_000, 5_000)),
                }
            )

        yield measure


async def loss_percent(on: Slice, off: Slice, count: int, pairs: int) -> float:
    """How much slower `on` is than `off`, in percent: the median of pairs measured one after the other.

    Which of the two comes first changes from pair to pair.
    """
    losses = []
    for number in range(pairs):
        if number % 2:
            with_it, without = await on(count), await off(count)
        else:
            without, with_it = await off(count), await on(count)
        losses.append(100.0 * (1.0 - with_it / without))
    return median(losses)


@asynccontextmanager
async def _side(name: str, *, observed: bool) -> AsyncIterator[Side]:
    with TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        settings = {**_SETTINGS, "data_dir": folder, "telemetry": {"enabled": observed}}
        async with _launched(settings, f"telemetry-{name}") as side:
            yield side


@asynccontextmanager
async def _launched(settings: dict[str, Any], name: str) -> AsyncIterator[Side]:
    async with Runtime.launch(settings, name=name) as runtime:
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
