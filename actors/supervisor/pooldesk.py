"""Starts, scales and drains the actors of provider pools."""

from __future__ import annotations

import asyncio

from llmgine.actors.pools import PoolsOptions
from llmgine.actors.supervisor.children import Children
from llmgine.actors.supervisor.members import Members
from llmgine.actors.supervisor.pooltable import PoolTable
from llmgine.providers import UnknownModel
from llmgine.providers.options import ProvidersOptions

# A drained actor's streams run to their end; this is only the bound on one that never comes.
_DRAIN_GRACE = 3600.0


class PoolDesk:
    """What the supervisor does for pools. Callers are told of every change of the table."""

    def __init__(
        self,
        children: Children,
        members: Members,
        pools: PoolsOptions,
        providers: ProvidersOptions,
    ) -> None:
        self.table = PoolTable()
        self._children = children
        self._members = members
        self._pools = pools
        self._providers = providers
        self._draining: set[asyncio.Task[None]] = set()
        self._locks: dict[str, asyncio.Lock] = {}

    async def ensure(self, provider: str) -> list[str]:
        """The pool's actors; a pool that has none yet starts at its size of the settings."""
        async with self._lock(provider):
            if not self.table.members(provider):
                await self._resize(provider, max(1, self._pools.of(provider).size))
            return self.table.members(provider)

    async def scale(self, provider: str, size: int) -> list[str]:
        """The pool's actors, once exactly `size` take calls; surplus ones finish their streams first."""
        async with self._lock(provider):
            await self._resize(provider, size)
            return self.table.members(provider)

    async def gone(self, actor: str) -> None:
        """A provider actor will not come back."""
        if self.table.gone(actor):
            await self.tell()

    async def tell(self) -> None:
        await self._members.push("pools", self.table.snapshot())

    async def _resize(self, provider: str, size: int) -> None:
        change = self.table.resize(provider, size)
        num_cpus = self._pools.of(provider).num_cpus
        results = await asyncio.gather(
            *(self._children.start(actor, "provider", num_cpus=num_cpus) for actor in change.start),
            return_exceptions=True,
        )
        for actor, result in zip(change.start, results, strict=True):
            if result is None:
                self.table.joined(actor)
        await self.tell()
        for actor in change.drain:
            draining = asyncio.create_task(self._children.end(actor, _DRAIN_GRACE), name=f"drain {actor}")
            self._draining.add(draining)
            draining.add_done_callback(self._draining.discard)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def _lock(self, provider: str) -> asyncio.Lock:
        if provider not in self._providers.endpoints:
            known = ", ".join(sorted(self._providers.endpoints))
            raise UnknownModel(
                f"no provider is called {provider!r}; known are {known}; add one under providers.endpoints"
            )
        return self._locks.setdefault(provider, asyncio.Lock())
