"""An actor whose spans and counts reach the telemetry actor."""

from __future__ import annotations

import asyncio
from typing import Final

from llmgine.actors.control import RuntimeActor, names
from llmgine.actors.telemetry.client import TelemetryShipper
from llmgine.telemetry import TelemetryOptions

MEASURE_SECONDS: Final = 1.0


class ObservedActor(RuntimeActor):
    """Ships what its recorder holds while it lives, and what is left when it stops."""

    _shipper: TelemetryShipper | None = None
    _measuring: asyncio.TimerHandle | None = None

    def measure(self) -> None:
        """Brings the metrics of this actor up to what it counts anyway; called each second."""

    async def opened(self) -> None:
        options = TelemetryOptions.model_validate(self.settings["telemetry"])
        if self._shipper is not None:  # of an attempt to open that failed
            await self._shipper.close(timeout=0)
        if options.enabled:
            self._shipper = TelemetryShipper(self.recorder, self.peer(names.TELEMETRY), options)
            self._shipper.start()
            self._measure_each_second()

    async def drained(self) -> None:
        if self._shipper is not None:
            self.measure()
            await self._shipper.flush()

    async def abandon(self) -> None:
        if self._measuring is not None:
            self._measuring.cancel()
        if self._shipper is not None:
            await self._shipper.close(timeout=0)
        await super().abandon()

    def _measure_each_second(self) -> None:
        if self._measuring is not None:
            self._measuring.cancel()
        self._measuring = asyncio.get_running_loop().call_later(MEASURE_SECONDS, self._measure_each_second)
        self.measure()
