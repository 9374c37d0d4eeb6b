"""The telemetry actor: the one place of a runtime where spans and metrics come together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from llmgine.actors.control import Boot, RuntimeActor
from llmgine.actors.link import StreamHandler
from llmgine.actors.telemetry.host import TelemetryHost
from llmgine.actors.telemetry.observing import open_observers
from llmgine.telemetry import TelemetryOptions, open_exporters


class TelemetryActor(RuntimeActor):
    """A `TelemetryHost` with an endpoint. Kept traces and sums outlive it; what ran when it died does not."""

    kind: ClassVar[str] = "telemetry"

    def __init__(self, boot: Boot) -> None:
        super().__init__(boot)
        options = TelemetryOptions.model_validate(self.settings.get("telemetry", {}))
        exporters = open_exporters(options, boot.runtime)
        observers = open_observers(options)
        self.host = TelemetryHost(options, exporters, observers=observers, runtime=boot.runtime)

    def handlers(self) -> Mapping[str, StreamHandler]:
        return self.host.handlers()

    async def opened(self) -> None:
        await self.host.open()

    async def drain(self, grace: float) -> None:
        await self.host.close(grace)

    async def abandon(self) -> None:
        self.host.abandon()
        await super().abandon()
