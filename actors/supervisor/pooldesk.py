"""Starts, scales and drains the actors of provider pools."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from llmgine.actors.control import Lanes
from llmgine.actors.pools import PoolsOptions
from llmgine.actors.supervisor.children import Children
from llmgine.actors.supervisor.members import Members
from llmgine.actors.supervisor.pooltable import PoolTable
from llmgine.actors.supervisor.work import Work
from llmgine.providers import UnknownModel
from llmgine.providers.options import ProvidersOptions

logger = logging.getLogger(__name__)

# A drained actor's streams run to their end; this is only the bound on one that never comes.
_DRAIN_GRACE = 3600.0


class PoolDesk:
    """What the supervisor does for pools. Callers are told of every change of the table."""

    def __init__(
        self,
        children: Children,
        members: Members,
        work: Work,
        pools: PoolsOptions,
        providers: ProvidersOptions,
    ) -> None:
        self.table = PoolTable()
        self._children = children
        self._members = members
        self._work = work
        self._pools = pools
        self._providers = providers
        self._lanes = Lanes()

    async def ensure(self, provider: str) -> list[list[str]]:
        """The pool's actors and their nodes; a pool that has none yet starts at its size of the settings.

        One actor that takes calls is enough; raises why the first failed where none does.
        """
        self._check(provider)
        async with self._lanes.of(provider):
            if not self.table.members(provider):
                failures = await self._resize(provider, max(1, self._pools.of(provider).size))
                if failures and not self.table.members(provider):
                    raise failures[0]
            return self.table.places(provider)

    async def scale(self, provider: str, size: int) -> list[str]:
        """The pool's actors, once exactly `size` take calls; surplus ones finish their streams first."""
        self._check(provider)
        async with self._lanes.of(provider):
            failures = await self._resize(provider, size)
            if failures:
                raise failures[0]
            return self.table.members(provider)

    async def placed(self, actor: str, node: str) -> None:
        """A provider actor says where it lives, in each of its lives."""
        if self.table.placed(actor, node):
            await self.tell()

    async def gone(self, actor: str) -> None:
        """A provider actor will not come back."""
        if self.table.gone(actor):
            await self.tell()

    def drain(self, actors: Iterable[str]) -> None:
        """Lets actors that callers are not told of any more end their streams, and ends them."""
        for actor in actors:
            self._work.start(self._children.end(actor, _DRAIN_GRACE), f"drain {actor}")

    async def tell(self) -> None:
        """Tells callers the table."""
        await self._members.push("pools", self.table.snapshot())

    async def _resize(self, provider: str, size: int) -> list[BaseException]:
        """Brings the pool as near to its size as it can; the errors of the actors that did not start."""
        change = self.table.resize(provider, size)
        num_cpus = self._pools.of(provider).num_cpus
        results = await asyncio.gather(
            *(self._children.start(actor, "provider", num_cpus=num_cpus) for actor in change.start),
            return_exceptions=True,
        )
        failures: list[BaseException] = []
        for actor, failure in zip(change.start, results, strict=True):
            if failure is None:
                self.table.joined(actor)
            else:
                logger.warning("%s: %s", actor, failure)
                failures.append(failure)
        await self.tell()
        self.drain(change.drain)
        return failures

    def _check(self, provider: str) -> None:
        if provider not in self._providers.endpoints:
            known = ", ".join(sorted(self._providers.endpoints))
            raise UnknownModel(
                f"no provider is called {provider!r}; known are {known}; add one under providers.endpoints"
            )
