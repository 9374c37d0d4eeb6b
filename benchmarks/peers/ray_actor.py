"""One bare Ray actor per session, which holds its messages in a list."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median
from typing import Any, Final

from benchmarks.contract import Effort, Measure, Round, Violation
from benchmarks.memory import grown, resident_mb
from benchmarks.peers.ray_local import local_ray

_IN_FLIGHT: Final = 100


class Conversation:
    """A list of messages; an actor where Ray spawns it."""

    def __init__(self) -> None:
        self._messages: list[str] = []

    def ask(self, prompt: str) -> int:
        self._messages += [prompt, "Yes."]
        return len(self._messages)


@asynccontextmanager
async def stage(case: str) -> AsyncIterator[Measure]:
    import ray

    with local_ray():
        kind = ray.remote(Conversation).options(num_cpus=0)

        async def measure(effort: Effort) -> Round:
            count = effort.count(20, 4)
            before = resident_mb()
            opened = [await _opened(kind) for _ in range(count)]
            sessions, cold = [session for session, _ in opened], [ms for _, ms in opened]
            rate = await _turns(sessions, effort.count(5_000, 200))
            figures = {
                "open_sessions": float(count),
                "mb_per_1000_sessions": grown(before, resident_mb()) / count * 1_000,
                "cold_ms_p50": median(cold),
                "turns_per_s": rate,
            }
            for session in sessions:
                ray.kill(session)
            return Round(figures, {"cold_ms_p50": cold})

        yield measure


async def _opened(kind: Any) -> tuple[Any, float]:
    begun = time.perf_counter()
    session = kind.remote()
    await session.ask.remote("Hello?")
    return session, (time.perf_counter() - begun) * 1e3


async def _turns(sessions: list[Any], count: int) -> float:
    """Turns a second over all sessions, each of which answers one at a time."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await sessions[number % len(sessions)].ask.remote("And now?")

    begun = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(_IN_FLIGHT)))
    seconds = time.perf_counter() - begun
    held = sum([await session.ask.remote("Done?") for session in sessions])
    if held != 2 * (count + 2 * len(sessions)):
        raise Violation(f"the actors hold {held} messages of {count} turns")
    return count / seconds
