"""An actor whose spans and counts reach the telemetry actor."""

from __future__ import annotations

from llmgine.actors.control import RuntimeActor, names
from llmgine.actors.telemetry.client import TelemetryShipper
from llmgine.telemetry import TelemetryOptions


class ObservedActor(RuntimeActor):
    """Ships what its recorder holds while it lives, and what is left when it stops."""

    _shipper: TelemetryShipper | None = None

    async def opened(self) -> None:
        options = TelemetryOptions.model_validate(self.settings["telemetry"])
        if self._shipper is not None:  # of an attempt to open that failed
            await self._shipper.close(timeout=0)
        if options.enabled:
            self._shipper = TelemetryShipper(self.recorder, self.peer(names.TELEMETRY), options)
            self._shipper.start()

    async def drained(self) -> None:
        if self._shipper is not None:
            await self._shipper.flush()

    async def abandon(self) -> None:
        if self._shipper is not None:
            await self._shipper.close(timeout=0)
        await super().abandon()
