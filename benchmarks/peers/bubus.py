"""bubus with one handler, in one process: an in-process bus is all that it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from pydantic import create_model

from benchmarks.contract import Effort, Measure, Round
from benchmarks.load import NS_PER_US, RATE, TEXT, latency_figures, pace_count, paced

# It refuses more than 100 pending events; awaiting each 50th keeps it busy and below that.
_BURST: Final = 50
_TOO_SLOW: Final = f"it does not keep up with {RATE} events/s, so there is no latency at that rate"


@asynccontextmanager
async def stage(case: str) -> AsyncIterator[Measure]:
    import logging

    from bubus import BaseEvent, EventBus

    logging.getLogger("bubus").setLevel(logging.ERROR)
    latencies: list[float] = []

    numbered = create_model(
        "Numbered", __base__=BaseEvent, number=(int, ...), sent=(int, ...), text=(str, ...)
    )

    async def handle(event: Any) -> None:
        if event.sent:
            latencies.append((time.monotonic_ns() - event.sent) / NS_PER_US)

    bus = EventBus(name="benchmark")
    bus.on(numbered, handle)

    async def measure(effort: Effort) -> Round:
        throughput = await _throughput(bus, numbered, effort.count(5_000, 200))
        figures = {"events_per_s": throughput, "local_events_per_s": throughput}
        if throughput < RATE:
            return Round(figures, notes=[_TOO_SLOW])
        latencies.clear()
        async for number in paced(pace_count(effort)):
            await _dispatched(bus, numbered(number=number, sent=time.monotonic_ns(), text=TEXT))
        await bus.wait_until_idle()
        figures |= latency_figures(latencies)
        figures["local_p99_us"] = figures["p99_us"]
        return Round(figures, {"p99_us": list(latencies)})

    yield measure
    await bus.stop(timeout=5)


async def _dispatched(bus: Any, event: Any) -> None:
    """As soon as the bus takes it; the wait counts, for the event says when it was made."""
    while True:
        try:
            bus.dispatch(event)
            return
        except RuntimeError:
            await asyncio.sleep(0)


async def _throughput(bus: Any, numbered: Any, count: int) -> float:
    begun = time.perf_counter()
    for number in range(count):
        event = bus.dispatch(numbered(number=number, sent=0, text=TEXT))
        if number % _BURST == _BURST - 1:
            await event
    await bus.wait_until_idle()
    return count / (time.perf_counter() - begun)
