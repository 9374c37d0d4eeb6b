"""The bus as it is: publisher, router and handler in three processes; and all three in one.

Every guarantee is on: order, acknowledgements, duplicate suppression, deadlines, bounded mailboxes.
After each measurement the publisher waits until every handler is done, and each handler's ledger must
show every event exactly once and in order.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from benchmarks.child import started
from benchmarks.contract import Effort, Measure, Round, Violation
from benchmarks.load import NS_PER_S, SESSIONS, TEXT, UNDER_WAY, check, latency_figures, pace_count, paced
from benchmarks.ours.bus_parts import FAN, Books, connected
from benchmarks.ours.events import Fanned, Kept, Numbered
from llmgine.runtime import Event, Runtime

_PARTS = "benchmarks.ours.bus_parts"
_DRAIN = 60.0

Report = Callable[[int, int], Awaitable[dict[str, Any]]]


class Publisher:
    """Publishes on a bus and asks the handlers' side what came of it."""

    def __init__(
        self,
        publish: Callable[[Any], Awaitable[Any]],
        drain: Callable[[], Awaitable[int]],
        report: Report,
        fsync_us: float = 0.0,
    ) -> None:
        self.fsync_us = fsync_us
        self._publish = publish
        self._drain = drain
        self._report = report

    async def throughput(
        self, count: int, *, sessions: int = SESSIONS, made: type[Event] = Numbered
    ) -> float:
        """Events per second, from the first publish to the last event handled.

        So many publishes are under way at any time, each an `await publish`, taking turns by session.
        """
        names = [f"s{number}" for number in range(sessions)]
        indices = iter(range(count))

        async def publish() -> None:
            for index in indices:
                session, number = names[index % sessions], index // sessions
                await self._publish(made(session_id=session, number=number, sent=0, text=TEXT))

        begun = time.monotonic_ns()
        await asyncio.gather(*(publish() for _ in range(UNDER_WAY)))
        report = await self._settled(count, FAN if made is Fanned else 1)
        return count * NS_PER_S / float(report["finished"] - begun)

    async def latencies(self, count: int) -> list[float]:
        """From publish to handler, in microseconds, at a fixed rate that waits for nothing."""
        publishes = set()
        async for number in paced(count):
            event = Numbered(session_id="s0", number=number, sent=time.monotonic_ns(), text=TEXT)
            publishes.add(asyncio.ensure_future(self._publish(event)))
        await asyncio.gather(*publishes)
        latencies: list[float] = (await self._settled(count, 1))["latencies"]
        return latencies

    async def _settled(self, sent: int, handlers: int) -> dict[str, Any]:
        left = await self._drain()
        if left:
            raise Violation(f"{left} events were not settled within {_DRAIN:g} s")
        report = await self._report(handlers, sent * handlers)
        check(report, sent * handlers)
        return report


@asynccontextmanager
async def stage(case: str) -> AsyncIterator[Measure]:
    async with _across() as across, _local() as local:

        async def measure(effort: Effort) -> Round:
            figures = {"events_per_s": await across.throughput(effort.count(100_000, 5_000))}
            latencies = await across.latencies(pace_count(effort))
            figures |= latency_figures(latencies)
            figures["local_events_per_s"] = await local.throughput(effort.count(50_000, 5_000))
            local_latencies = await local.latencies(pace_count(effort))
            figures["local_p99_us"] = latency_figures(local_latencies)["p99_us"]
            figures["fanout_10_events_per_s"] = await across.throughput(
                effort.count(20_000, 1_000), made=Fanned
            )
            figures["durable_events_per_s"] = await across.throughput(effort.count(20_000, 1_000), made=Kept)
            figures["fsync_us"] = across.fsync_us
            figures["sessions_1000_events_per_s"] = await across.throughput(
                effort.count(100_000, 5_000), sessions=1_000
            )
            return Round(figures, {"p99_us": latencies, "local_p99_us": local_latencies})

        yield measure


@asynccontextmanager
async def _across() -> AsyncIterator[Publisher]:
    """This process publishes; router, handler and, for what is durable, the store are others."""
    folder = str(Path.cwd())
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(started(f"{_PARTS}:store", folder=folder))
        kept = await store.hear()
        router = await stack.enter_async_context(
            started(f"{_PARTS}:router", folder=folder, store=kept["address"])
        )
        address = (await router.hear())["address"]
        handler = await stack.enter_async_context(
            started(f"{_PARTS}:handler", folder=folder, address=address)
        )
        await handler.hear()
        client, peer = connected(folder, address, "publisher")
        stack.callback(peer.close)
        stack.push_async_callback(client.close)

        async def report(handlers: int, count: int) -> dict[str, Any]:
            return await handler.ask(handlers=handlers, count=count)

        yield Publisher(client.publish, lambda: client.drain(_DRAIN), report, kept["fsync_us"])


@asynccontextmanager
async def _local() -> AsyncIterator[Publisher]:
    """Publisher, router and handler in this process and loop."""
    async with Runtime.in_process() as runtime:
        books = Books()
        await books.register(runtime.bus.register_event_handler)

        async def report(handlers: int, count: int) -> dict[str, Any]:
            return await books.report(handlers, count)

        async def drain() -> int:
            give_up = time.monotonic() + _DRAIN
            while True:
                left = int((await runtime.bus.statistics())["client"]["unsettled"])
                if not left or time.monotonic() > give_up:
                    return left
                await asyncio.sleep(0.005)

        yield Publisher(runtime.bus.publish, drain, report)
