"""The actors that a runtime cannot do without: started first, and started again until they are there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection

from llmgine.actors.control import names
from llmgine.actors.supervisor.children import Children
from llmgine.actors.supervisor.members import Members

logger = logging.getLogger(__name__)

# How long after a failure one of them is started again, in seconds.
_RESTART_PAUSE = 1.0


class Essentials:
    """Routers, the store, and the telemetry actor where there is one."""

    def __init__(
        self, wanted: Collection[str], children: Children, members: Members, num_cpus: float
    ) -> None:
        self.names = wanted
        self._children = children
        self._members = members
        self._num_cpus = num_cpus

    async def start(self) -> None:
        """Returns once all are up; raises why one of them is not."""
        await asyncio.gather(*map(self._start, self.names))

    async def bring_back(self, name: str) -> None:
        """Returns once it is there, however often it takes."""
        while name not in self._members:
            try:
                await self._start(name)
            except Exception as error:
                logger.error("%s is missing: %s", name, error)
                await asyncio.sleep(_RESTART_PAUSE)

    async def _start(self, name: str) -> None:
        kind = name if name in (names.STORE, names.TELEMETRY) else "router"
        await self._children.start(name, kind, num_cpus=self._num_cpus)
