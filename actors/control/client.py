"""What lower rooms and drivers ask of the supervisor, as calls that outlive its restarts."""

from __future__ import annotations

import asyncio
from typing import Any

from llmgine.actors.control import names
from llmgine.actors.control.cluster import Cluster
from llmgine.actors.control.errors import ActorAway, ActorGone, RuntimeNotFound

# The pause between two tries while Ray restarts the supervisor, which takes about a second.
_RETRY_PAUSE = 0.1


class ControlClient:
    """Calls the supervisor; while it restarts, a call waits for up to `patience` seconds.

    Every verb may reach the supervisor twice and is idempotent there. No verb fails with `ActorGone` or
    `ActorAway` of another actor, so these always speak of the supervisor.
    """

    def __init__(self, cluster: Cluster, runtime: str, *, patience: float = 20.0) -> None:
        self._cluster = cluster
        self._runtime = runtime
        self._patience = patience

    async def call(self, method: str, *arguments: Any, timeout: float | None = None) -> Any:
        """The supervisor's answer or its error; `RuntimeNotFound` once it is gone for good."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._patience
        while True:
            try:
                return await self._cluster.call(names.SUPERVISOR, method, *arguments, timeout=timeout)
            except ActorGone as error:
                raise RuntimeNotFound(f"the runtime {self._runtime!r} has stopped ({error})") from None
            except ActorAway:
                if loop.time() >= give_up:
                    raise
                await asyncio.sleep(_RETRY_PAUSE)

    async def subscribe(self, record: dict[str, Any]) -> int:
        """The number of the subscription, once every router that is not away routes by it."""
        return int(await self.call("subscribe", record))

    async def unsubscribe(self, number: int, client: str, epoch: int) -> None:
        """Returns once no router routes to it; does nothing where another client has taken it over."""
        await self.call("unsubscribe", number, client, epoch)

    async def add_filter(self, client: str, filter: dict[str, Any]) -> int:
        """The number of a filter of the whole bus, once every router that is not away holds to it."""
        return int(await self.call("add_filter", client, filter))

    async def remove_filter(self, number: int) -> None:
        """Returns once no router holds to it; does nothing the second time."""
        await self.call("remove_filter", number)

    async def ensure_pool(self, provider: str) -> list[list[str]]:
        """The names and nodes of the provider's actors, after starting its pool where there was none."""
        return list(await self.call("ensure_pool", provider))
