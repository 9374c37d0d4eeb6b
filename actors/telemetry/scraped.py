"""What the telemetry actor tells those who scrape the cluster, again and again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from llmgine.telemetry.exporters.prometheus import Meters, PrometheusPublisher
from llmgine.telemetry.metrics import Series

logger = logging.getLogger(__name__)


class Scraped:
    """Publishes all series each `seconds`, in a thread, and once more at the end."""

    def __init__(self, read: Callable[[], Iterable[Series]], meters: Meters, seconds: float) -> None:
        self._read = read
        self._publisher = PrometheusPublisher(meters)
        self._seconds = seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, on the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="publish metrics")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
            await self._publish()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            await self._publish()

    async def _publish(self) -> None:
        try:
            await asyncio.to_thread(self._publisher.publish, list(self._read()))
        except Exception:  # whatever the meters raise: traces and exports go on
            logger.exception("metrics could not be published")
