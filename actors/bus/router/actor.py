"""The router's actor: a service that is told the table of subscriptions by the supervisor."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, ClassVar

from llmgine.actors.bus.options import BusOptions
from llmgine.actors.bus.router.core import RouterCore
from llmgine.actors.bus.router.measuring import RouterMeasures
from llmgine.actors.bus.router.service import RouterService
from llmgine.actors.bus.tracing import Tracing
from llmgine.actors.control import Boot, names
from llmgine.actors.link import StreamHandler
from llmgine.actors.store import StoreClient
from llmgine.actors.telemetry import ObservedActor
from llmgine.providers.errors import LlmgineError

logger = logging.getLogger(__name__)

SUBSCRIPTIONS = "subscriptions"


class RouterActor(ObservedActor):
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
        self._measures = RouterMeasures(self.recorder.metrics, first=not self._shard)
        self._store: StoreClient | None = None
        self._service: RouterService | None = None
        self._waking: dict[str, asyncio.Task[None]] = {}

    def handlers(self) -> Mapping[str, StreamHandler]:
        return self.service.handlers()

    @property
    def service(self) -> RouterService:
        """Made with the first link, for it needs one to the store."""
        if self._service is None:
            self._store = StoreClient(self.peer(names.STORE), timeout=self._options.journal_timeout)
            self._service = RouterService(
                self.core,
                self._store,
                shard=self._shard,
                shards=len(self._shards),
                wake_session=self._wake_session,
                tracing=Tracing(self.recorder, 0),
            )
        return self._service

    def _wake_session(self, session_id: str) -> None:
        if session_id not in self._waking:
            task = asyncio.create_task(self._woken(session_id), name=f"wake session {session_id}")
            self._waking[session_id] = task

    async def _woken(self, session_id: str) -> None:
        try:
            await self.control.call("wake", session_id, "something waits for its handlers")
        except LlmgineError as error:
            # While it waits, the session is asked for again.
            logger.warning("session %s could not be woken: %s", session_id, error)
        finally:
            del self._waking[session_id]

    def wants(self) -> tuple[str, ...]:
        return (SUBSCRIPTIONS,)

    def report(self) -> dict[str, Any]:
        """The table, from which a restarted supervisor learns it again, and where it has come to."""
        return {"subscriptions": self.core.snapshot(), "filters": self.core.filters()}

    def measure(self) -> None:
        self._measures.take(self.core.levels())

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
        for task in self._waking.values():
            task.cancel()
        if self._service is not None:
            await self._service.close()
        if self._store is not None:
            await self._store.close()
        await super().abandon()

    async def statistics(self) -> dict[str, Any]:
        """Exact counters and gauges of the bus."""
        return self.core.statistics()
