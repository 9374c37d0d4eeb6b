"""The control plane inside one process: the same shells, held in a dict, over memory links."""

from __future__ import annotations

import asyncio
from typing import Any

from llmgine.actors.control.actor import RuntimeActor
from llmgine.actors.control.cluster import Boot, SpawnOptions
from llmgine.actors.control.errors import ActorGone
from llmgine.actors.link import Address, MemoryTransport, Transport


class LocalCluster:
    """Actors of one runtime as plain objects on the loop of their creator."""

    node = "local"

    def __init__(self) -> None:
        self._actors: dict[str, RuntimeActor] = {}

    async def spawn(self, boot: Boot, actor: type[RuntimeActor], options: SpawnOptions) -> None:
        self._actors[boot.name] = actor(boot)

    async def call(self, name: str, method: str, *arguments: Any, timeout: float | None = None) -> Any:
        async with asyncio.timeout(timeout):
            return await getattr(self._actor(name), method)(*arguments)

    async def kill(self, name: str) -> None:
        actor = self._actors.pop(name, None)
        if actor is not None:
            await actor.abandon()

    async def names(self) -> list[str]:
        return sorted(self._actors)

    async def resolve(self, name: str) -> Address:
        return Address.from_wire(await self.call(name, "address"))

    async def spans_nodes(self) -> bool:
        return False

    def _actor(self, name: str) -> RuntimeActor:
        try:
            return self._actors[name]
        except KeyError:
            raise ActorGone(f"no actor {name!r} in this process") from None


class LocalWorld:
    """One process as a whole world; every actor shares its cluster and its transport."""

    owns_process = False

    def __init__(self) -> None:
        self._cluster = LocalCluster()
        self._transport = MemoryTransport()

    def cluster(self) -> LocalCluster:
        return self._cluster

    def transport(self, cluster: Any, *, tcp: bool) -> Transport:
        return self._transport
