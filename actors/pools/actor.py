"""One provider actor: the only process that imports the provider's SDK and holds its key."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from llmgine.actors.control import Boot, names
from llmgine.actors.link import StreamHandler
from llmgine.actors.pools.figures import Figures
from llmgine.actors.pools.options import PoolsOptions
from llmgine.actors.pools.quota.messages import QUOTA
from llmgine.actors.pools.serving import Leasing, LoopLag, Serving
from llmgine.actors.store import StoreClient
from llmgine.actors.telemetry import ObservedActor
from llmgine.providers.options import ProvidersOptions


class ProviderActor(ObservedActor):
    """Serves model calls of one provider, as many at once as it bears; others wait or are refused."""

    kind = "provider"

    def __init__(self, boot: Boot) -> None:
        super().__init__(boot)
        self._pool, _ = names.parse_provider(boot.name)
        providers = ProvidersOptions.model_validate(boot.settings["providers"])
        options = PoolsOptions.model_validate(boot.settings["pools"]).of(self._pool)
        self._leasing = Leasing(self.name, self.identity.epoch, self._pool, providers, self.tell)
        self._serving = Serving(
            boot.name,
            self._pool,
            providers,
            options,
            self.recorder,
            self._leasing,
            lambda: StoreClient(self.peer(names.STORE), timeout=options.cache.store_timeout),
        )
        self._lag = LoopLag()
        self._figures = Figures(self.statistics, self.tell)

    def handlers(self) -> Mapping[str, StreamHandler]:
        return self._serving.handlers()

    def report(self) -> dict[str, Any]:
        return {
            "pool": self._pool,
            "node": self.cluster.node,
            "form": self.boot.cargo or 0,
            "quota": self._leasing.report(),
        }

    def wants(self) -> tuple[str, ...]:
        return (QUOTA,)

    async def on_push(self, kind: str, body: Any) -> None:
        if kind == QUOTA:
            self._leasing.granted(body)

    def statistics(self) -> dict[str, dict[str, Any]]:
        """How each part of the actor stands, as plain values."""
        return {**self._serving.statistics(), "loop": {"lag": self._lag.seconds}}

    async def opened(self) -> None:
        await super().opened()
        self._lag.start()
        self._figures.start()

    async def clear_cache(self) -> None:
        """No answer that was given until now is given again from this actor's memory."""
        await self._serving.clear_cache()

    async def prepare(self) -> None:
        """Opens the provider, which else the first call does; raises why it cannot be opened."""
        await self._serving.open()

    async def drain(self, grace: float) -> None:
        self._serving.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._serving.ended()
        self._leasing.finish()

    async def abandon(self) -> None:
        self._lag.stop()
        self._figures.stop()
        self._serving.close()
        await super().abandon()
        await self._serving.aclose()
