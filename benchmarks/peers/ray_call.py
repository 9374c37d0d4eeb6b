"""One Ray actor call per event, straight from the publisher to the handler's actor."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from benchmarks.contract import Effort, Measure, Round
from benchmarks.load import SESSIONS, TEXT, Ledger, check, latency_figures, pace_count, paced
from benchmarks.peers.ray_local import local_ray

_IN_FLIGHT: Final = 1_000


class Handler:
    """Takes events, one by one or in batches; an actor where Ray spawns it."""

    def __init__(self) -> None:
        self._ledger = Ledger()

    def handle(self, event: dict[str, Any]) -> None:
        self._ledger.take(event["session_id"], event["number"], event["sent"])

    def handle_many(self, events: list[dict[str, Any]]) -> None:
        for event in events:
            self._ledger.take(event["session_id"], event["number"], event["sent"])

    def report(self) -> dict[str, Any]:
        """What was handled since the last report."""
        report, self._ledger = self._ledger.report(), Ledger()
        return report


def event(session: int, number: int, sent: int) -> dict[str, Any]:
    return {"session_id": f"s{session}", "number": number, "sent": sent, "text": TEXT}


@asynccontextmanager
async def stage(case: str) -> AsyncIterator[Measure]:
    import ray

    with local_ray():
        handler = ray.remote(Handler).remote()

        async def measure(effort: Effort) -> Round:
            count = effort.count(10_000, 500)
            throughput = await asyncio.to_thread(_throughput, handler, count)
            latencies = await _latencies(handler, pace_count(effort))
            figures = {"events_per_s": throughput, **latency_figures(latencies)}
            return Round(figures, {"p99_us": latencies})

        yield measure


def _throughput(handler: Any, count: int) -> float:
    import ray

    pending: deque[Any] = deque()
    begun = time.perf_counter()
    for index in range(count):
        pending.append(handler.handle.remote(event(index % SESSIONS, index // SESSIONS, 0)))
        if len(pending) >= _IN_FLIGHT:
            ray.get([pending.popleft() for _ in range(_IN_FLIGHT // 2)])
    ray.get(list(pending))
    seconds = time.perf_counter() - begun
    check(ray.get(handler.report.remote()), count)
    return count / seconds


async def _latencies(handler: Any, count: int) -> list[float]:
    pending = []
    async for number in paced(count):
        pending.append(handler.handle.remote(event(0, number, time.monotonic_ns())))
    await asyncio.gather(*pending)
    report = await handler.report.remote()
    check(report, count)
    latencies: list[float] = report["latencies"]
    return latencies
