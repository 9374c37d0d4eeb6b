"""Ray actor calls with up to 100 events each, batched by hand.

At full load batches are full. At a fixed rate a batch holds what came while the one before it was
under way, which is the least delay that batching by hand can give.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from benchmarks.contract import Effort, Measure, Round
from benchmarks.load import SESSIONS, check, latency_figures, pace_count, paced
from benchmarks.peers.ray_call import Handler, event
from benchmarks.peers.ray_local import local_ray

_BATCH: Final = 100
_IN_FLIGHT: Final = 20


@asynccontextmanager
async def stage(case: str) -> AsyncIterator[Measure]:
    import ray

    with local_ray():
        handler = ray.remote(Handler).remote()

        async def measure(effort: Effort) -> Round:
            batches = effort.count(2_000, 100)
            throughput = await asyncio.to_thread(_throughput, handler, batches)
            latencies = await _latencies(handler, pace_count(effort))
            figures = {"events_per_s": throughput, **latency_figures(latencies)}
            return Round(figures, {"p99_us": latencies})

        yield measure


def _throughput(handler: Any, batches: int) -> float:
    import ray

    pending: deque[Any] = deque()
    begun = time.perf_counter()
    for batch in range(batches):
        numbers = range(batch * _BATCH, (batch + 1) * _BATCH)
        events = [event(index % SESSIONS, index // SESSIONS, 0) for index in numbers]
        pending.append(handler.handle_many.remote(events))
        if len(pending) >= _IN_FLIGHT:
            ray.get(pending.popleft())
    ray.get(list(pending))
    seconds = time.perf_counter() - begun
    check(ray.get(handler.report.remote()), batches * _BATCH)
    return batches * _BATCH / seconds


async def _latencies(handler: Any, count: int) -> list[float]:
    waiting: list[dict[str, Any]] = []
    more = asyncio.Event()

    async def publish() -> None:
        async for number in paced(count):
            waiting.append(event(0, number, time.monotonic_ns()))
            more.set()

    async def deliver() -> None:
        left = count
        while left:
            await more.wait()
            batch = waiting[:_BATCH]
            del waiting[: len(batch)]
            if not waiting:
                more.clear()
            await handler.handle_many.remote(batch)
            left -= len(batch)

    await asyncio.gather(publish(), deliver())
    report = await handler.report.remote()
    check(report, count)
    latencies: list[float] = report["latencies"]
    return latencies
