"""The router's actor: a service that is told the table of subscriptions by the supervisor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from llmgine.actors.bus.options import BusOptions
from llmgine.actors.bus.router.core import RouterCore
from llmgine.actors.bus.router.service import RouterService
from llmgine.actors.control import Boot, RuntimeActor
from llmgine.actors.link import StreamHandler

SUBSCRIPTIONS = "subscriptions"


class RouterActor(RuntimeActor):
    """Fans out events and commands; routes nothing before it has the table."""

    kind: ClassVar[str] = "router"

    def __init__(self, boot: Boot) -> None:
        super().__init__(boot)
        options = BusOptions.model_validate(self.settings["bus"])
        self.core = RouterCore(f"{self.name}.{self.identity.epoch}", options)
        self._service = RouterService(self.core)

    def handlers(self) -> Mapping[str, StreamHandler]:
        return self._service.handlers()

    def wants(self) -> tuple[str, ...]:
        return (SUBSCRIPTIONS,)

    def report(self) -> dict[str, Any]:
        """The table, from which a restarted supervisor learns it again, and where it has come to."""
        return {"subscriptions": self.core.snapshot()}

    async def opened(self) -> None:
        await super().opened()
        self._service.start()

    async def on_push(self, kind: str, body: Any) -> None:
        if kind != SUBSCRIPTIONS:
            return
        if "snapshot" in body:
            self._service.load(body["snapshot"])
        if "add" in body:
            self._service.add(body["add"])
        if "remove" in body:
            self._service.remove(body["remove"])

    async def drain(self, grace: float) -> None:
        """Let handlers finish what was admitted."""
        await self._service.settle(grace)

    async def abandon(self) -> None:
        await self._service.close()
        await super().abandon()

    async def statistics(self) -> dict[str, Any]:
        """Exact counters and gauges of the bus."""
        return self.core.statistics()
