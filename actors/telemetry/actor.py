"""The telemetry actor: the one place of a runtime where spans and metrics come together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from llmgine.actors.control import Boot, RuntimeActor
from llmgine.actors.link import StreamHandler
from llmgine.actors.telemetry.host import TelemetryHost
from llmgine.actors.telemetry.observing import open_observers
from llmgine.actors.telemetry.scraped import Scraped
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
        meters = self.cluster.meters if options.prometheus else None
        read = self.host.assembler.metrics.read
        self._scraped = None if meters is None else Scraped(read, meters, options.prometheus_seconds)

    def handlers(self) -> Mapping[str, StreamHandler]:
        return self.host.handlers()

    async def opened(self) -> None:
        self.host.open()
        if self._scraped is not None:
            await self._scraped.close()  # of an attempt to open that failed
            self._scraped.start()

    async def drain(self, grace: float) -> None:
        if self._scraped is not None:
            await self._scraped.close()
        await self.host.close(grace)

    async def abandon(self) -> None:
        self.host.abandon()
        await super().abandon()
