"""Keeps the gateway up where the settings want one; the runtime does without it for a while."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from llmgine.actors.control import Boot, names
from llmgine.actors.gateway import GatewayOptions
from llmgine.actors.supervisor.children import Children
from llmgine.actors.supervisor.members import Member, Members
from llmgine.actors.supervisor.work import Work

logger = logging.getLogger(__name__)

# How long after a failure the gateway is started again, in seconds.
_PAUSE = 3.0


class GatewayDesk:
    """One gateway or none. It has the port that it had, as long as somebody of the two of us lives."""

    def __init__(self, boot: Boot, children: Children, members: Members, work: Work, num_cpus: float) -> None:
        self._cargo = boot.cargo
        self._options = GatewayOptions.model_validate(boot.settings["gateway"])
        self._children = children
        self._members = members
        self._work = work
        self._num_cpus = num_cpus
        self._failure: str | None = None
        self._tried = asyncio.Event()
        self._stopping = False
        self.port: int | None = None

    @property
    def wanted(self) -> bool:
        """Whether there is to be a gateway; it takes somebody who brings its way into the runtime."""
        return self._options.enabled and self._cargo is not None

    def begin(self) -> None:
        """Has it started, and started again until it is there."""
        if self.wanted:
            self._work.start(self.bring_back(), "start the gateway")

    def joined(self, member: Member) -> None:
        """A process has reported itself."""
        if member.name == names.GATEWAY:
            self.port, self._failure = member.report["port"], None
            self._tried.set()

    async def bring_back(self) -> None:
        """Returns when the gateway is there."""
        while names.GATEWAY not in self._members and not self._stopping:
            try:
                await self._children.start(
                    names.GATEWAY, names.GATEWAY, num_cpus=self._num_cpus, cargo=self._cargo
                )
            except Exception as error:
                logger.error("the gateway is missing: %s", error)
                self._failure = str(error)
                self._tried.set()
                await asyncio.sleep(_PAUSE)

    async def where(self) -> dict[str, Any]:
        """Once it was tried: the port that it listens on, or why it does not."""
        if self.wanted:
            await self._tried.wait()
        return {"wanted": self.wanted, "port": self.port, "failure": self._failure}

    async def end(self, grace: float) -> None:
        """Lets answers that are under way end, and then ends it for good."""
        self._stopping = True
        if self.wanted:
            await self._children.end(names.GATEWAY, grace)
