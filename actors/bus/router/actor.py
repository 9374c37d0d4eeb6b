"""The router's actor: a service that is told the table of subscriptions by the supervisor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from llmgine.actors.bus.options import BusOptions
from llmgine.actors.bus.router.core import RouterCore
from llmgine.actors.bus.router.service import RouterService
from llmgine.actors.control import Boot, RuntimeActor, names
from llmgine.actors.link import StreamHandler
from llmgine.actors.store import StoreClient

SUBSCRIPTIONS = "subscriptions"


class RouterActor(RuntimeActor):
    """Fans out events and commands; routes nothing before it has the table."""

    kind: ClassVar[str] = "router"

    def __init__(self, boot: Boot) -> None:
        super().__init__(boot)
        self._options = BusOptions.model_validate(self.settings["bus"])
        self._shards = names.routers(self._options.shards)
        self._shard = self._shards.index(self.name)
        self.core = RouterCore(
            f"{self.name}.{self.identity.epoch}",
            self._options,
            shard=self._shard,
            shards=len(self._shards),
        )
        self._store: StoreClient | None = None
        self._service: RouterService | None = None

    def handlers(self) -> Mapping[str, StreamHandler]:
        return self.service.handlers()

    @property
    def service(self) -> RouterService:
        """Made with the first link, for it needs one to the store."""
        if self._service is None:
            self._store = StoreClient(self.peer(names.STORE), timeout=self._options.journal_timeout)
            self._service = RouterService(self.core, self._store, shard=self._shard, shards=len(self._shards))
        return self._service

    def wants(self) -> tuple[str, ...]:
        return (SUBSCRIPTIONS,)

    def report(self) -> dict[str, Any]:
        """The table, from which a restarted supervisor learns it again, and where it has come to."""
        return {"subscriptions": self.core.snapshot(), "filters": self.core.filters()}

    async def opened(self) -> None:
        await super().opened()
        self.service.start()

    async def on_push(self, kind: str, body: Any) -> None:
        if kind != SUBSCRIPTIONS:
            return
        # Filters first: nothing is routed before they hold.
        if "filters" in body:
            self.service.set_filters(body["filters"])
        if "snapshot" in body:
            self.service.load(body["snapshot"], restored=body["restored"])
        if "add" in body:
            self.service.add(body["add"])
        if "remove" in body:
            self.service.remove(body["remove"])
        if body.get("restored"):
            self.service.restored()

    async def drain(self, grace: float) -> None:
        """Let handlers finish what was admitted."""
        await self.service.settle(grace)

    async def abandon(self) -> None:
        if self._service is not None:
            await self._service.close()
        if self._store is not None:
            await self._store.close()
        await super().abandon()

    async def statistics(self) -> dict[str, Any]:
        """Exact counters and gauges of the bus."""
        return self.core.statistics()
