"""Handlers that run as actors of their own, as a driver holds them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from typing import Any

from llmgine.actors.control import ControlClient
from llmgine.actors.handlers import DeployedCode, DeploymentRefused


class Deployment:
    """What `runtime.bus.deploy` made; it lives as long as the runtime, or until `remove`."""

    def __init__(self, control: ControlClient, name: str, replicas: Sequence[str]) -> None:
        self._control = control
        self.name = name
        self._replicas = tuple(replicas)

    def __repr__(self) -> str:
        return f"<Deployment {self.name!r} with {len(self._replicas)} replicas>"

    @property
    def replicas(self) -> Sequence[str]:
        """The names of its actors, as this handle has last heard of them."""
        return self._replicas

    async def scale(self, replicas: int) -> Sequence[str]:
        """Returns the names of its actors once exactly so many serve; surplus ones end what they run."""
        self._replicas = tuple(await self._control.call("scale_deployment", self.name, replicas))
        return self._replicas

    async def remove(self) -> None:
        """Its handlers receive nothing more; does nothing the second time."""
        await self._control.call("remove_deployment", self.name)
        self._replicas = ()


async def deploy(
    control: ControlClient,
    handler_class: type[Any],
    *,
    replicas: int,
    name: str | None,
    arguments: Mapping[str, Any] | None,
    num_cpus: float,
    in_process: bool,
) -> Deployment:
    """A deployment whose replicas all serve; `runtime.bus.deploy` says the rest."""
    if not isinstance(arguments, Mapping | None):
        raise DeploymentRefused(f"arguments={arguments!r}: keyword arguments by their names, as a dict")
    if not isinstance(num_cpus, int | float) or not 0 <= num_cpus < math.inf:
        raise DeploymentRefused(f"num_cpus={num_cpus!r}: a number from 0")
    if not isinstance(name, str | None):
        raise DeploymentRefused(f"name={name!r}: a text")
    code = DeployedCode(handler_class, dict(arguments or {}))
    called = name or handler_class.__name__
    travelling = code if in_process else await asyncio.to_thread(code.pack)
    started = await control.call("deploy", called, travelling, replicas, num_cpus)
    return Deployment(control, called, started)
