"""Sessions of a runtime on Ray: pooled by the thousand, and dedicated ones beside them."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.contract import Effort, Measure, Round, Violation
from benchmarks.disk import fsync_us
from benchmarks.figures import percentile
from benchmarks.memory import grown, resident_mb
from llmgine.runtime import Runtime, Session

_MODEL: Final = "scripted/yes"
_IDLE: Final = 1.0
_OPENING: Final = 32
_IN_FLIGHT: Final = 100
_ROOMS: Final = 200  # sessions over which turns are counted

_SETTINGS: Final[dict[str, Any]] = {
    "data_dir": "data",
    "providers": {"scripts": {"yes": {"replies": [{"text": "Yes."}]}}},
    "sessions": {"idle": _IDLE, "open_sessions": 200_000},
    "pools": {"by_provider": {"scripted": {"max_in_flight": 4_000}}},
}


class Crowd:
    """Sessions that stay open from round to round, and sleep while nobody asks them."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._sessions: list[Session] = []
        self._before: dict[int, float] = {}
        self.mb_per_1000 = 0.0

    def __len__(self) -> int:
        return len(self._sessions)

    async def grow(self, count: int) -> None:
        """Opens what is missing, and asks each new session once; others go to sleep meanwhile."""
        if not self._sessions:
            self._before = await _resident_mb(self._runtime)
        new = [
            self._runtime.session(f"crowd-{number}", model=_MODEL, placement="pooled", stay=True)
            for number in range(len(self), count)
        ]
        waiting = iter(new)

        async def work() -> None:
            for session in waiting:
                await session.open()
                await session.ask(f"I am {session.id}.")

        await asyncio.gather(*(work() for _ in range(_OPENING)))
        self._sessions += new
        held = grown(self._before, await _resident_mb(self._runtime))
        self.mb_per_1000 = held / len(self) * 1_000

    async def wake(self, count: int) -> list[float]:
        """How long a turn took of each of some sessions that slept, which must know what was said before."""
        await asyncio.sleep(3 * _IDLE)
        taken = []
        for session in self._sessions[:: max(1, len(self) // count)]:
            begun = time.perf_counter()
            await session.ask("Who am I?")
            taken.append((time.perf_counter() - begun) * 1e3)
            history = await session.history()
            if len(history) < 4 or history[0].text != f"I am {session.id}.":
                raise Violation(f"session {session.id} woke with {len(history)} messages")
        return taken


@asynccontextmanager
async def stage(case: str) -> AsyncIterator[Measure]:
    async with Runtime.launch(_SETTINGS, name="benchmark") as runtime:
        names = (f"s{number}" for number in itertools.count())
        crowd = Crowd(runtime)

        async def measure(effort: Effort) -> Round:
            await _opened(runtime, next(names), "pooled")
            await _at_rest(runtime)
            pooled = [await _opened(runtime, next(names), "pooled") for _ in range(effort.count(300, 50))]
            dedicated = []
            for _ in range(effort.count(10, 3)):
                await _at_rest(runtime)
                dedicated.append(await _opened(runtime, next(names), "dedicated"))
            cold = await _cold(effort.count(8, 2))
            rate = await _turns(runtime, [next(names) for _ in range(_ROOMS)], effort.count(4_000, 500))
            await crowd.grow(effort.count(10_000, 200))
            woken = await crowd.wake(effort.count(300, 30))
            figures = {
                "open_sessions": float(len(crowd)),
                "mb_per_1000_sessions": crowd.mb_per_1000,
                "activation_ms_p50": median(pooled),
                "activation_ms_p99": percentile(pooled, 99),
                "dedicated_activation_ms_p99": percentile(dedicated, 99),
                "cold_ms_p50": median(cold),
                "wake_ms_p99": percentile(woken, 99),
                "durable_turns_per_s": rate,
                "fsync_us": fsync_us(Path.cwd()),
            }
            samples = {"activation_ms_p99": pooled, "wake_ms_p99": woken, "cold_ms_p50": cold}
            return Round(figures, samples)

        yield measure


async def _resident_mb(runtime: Runtime) -> dict[int, float]:
    """The driver and every actor; Ray starts and ends workers of its own, which are nobody's sessions."""
    actors = (await runtime.status())["actors"]
    return resident_mb([os.getpid(), *(int(actor["pid"]) for actor in actors)])


async def _at_rest(runtime: Runtime) -> None:
    """Returns once a blank actor stands ready, none is being started, and every session sleeps."""
    while True:
        hosts = (await runtime.status())["hosts"]
        if hosts["warm"] and not hosts["starting"] and not hosts["sessions"]:
            return
        await asyncio.sleep(0.2)


async def _opened(runtime: Runtime, name: str, placement: Any) -> float:
    """How long one session took to open, in milliseconds."""
    session = runtime.session(name, model=_MODEL, placement=placement)
    begun = time.perf_counter()
    await session.open()
    taken = (time.perf_counter() - begun) * 1e3
    await session.leave()
    return taken


async def _cold(count: int) -> list[float]:
    """How long sessions took to open, one after the other, where no actor is kept ready for them."""
    unready = {**_SETTINGS, "data_dir": "cold", "sessions": {"warm": 0}}
    async with Runtime.launch(unready, name="cold") as runtime:
        return [await _opened(runtime, f"s{number}", "dedicated") for number in range(count)]


async def _turns(runtime: Runtime, names: list[str], count: int) -> float:
    """Turns a second over some sessions, each of which answers one at a time."""
    sessions = [runtime.session(name, model=_MODEL, placement="pooled") for name in names]
    await asyncio.gather(*(session.open() for session in sessions))
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await sessions[number % len(sessions)].ask("And now?")

    begun = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(_IN_FLIGHT)))
    seconds = time.perf_counter() - begun
    held = sum([len(await session.history()) for session in sessions])
    if held != 2 * count:
        raise Violation(f"the sessions hold {held} messages of {count} turns")
    await asyncio.gather(*(session.leave() for session in sessions))
    return count / seconds
