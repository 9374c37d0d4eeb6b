"""How many dead letters there are, as a metric: the store has them, and no router knows all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from llmgine.actors.store import StoreClient, StoreError
from llmgine.telemetry import Metrics
from llmgine.telemetry.names import METRIC_DEAD_LETTERS

EVERY = 10.0


async def count_letters(
    store: StoreClient, metrics: Metrics, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Counts them again and again; while the store is away the last count stands."""
    gauge = metrics.gauge(METRIC_DEAD_LETTERS)
    while True:
        with contextlib.suppress(StoreError):
            gauge.set(await store.count_letters())
        await sleep(EVERY)
