"""The supervisor's hands on single actors: starting, asking after, and ending them."""

from __future__ import annotations

import asyncio
import logging

from llmgine.actors.bus.actor import RouterActor
from llmgine.actors.control import ActorAway, ActorGone, RuntimeActor, SpawnOptions
from llmgine.actors.pools.actor import ProviderActor
from llmgine.actors.sessions.actor import SessionActor
from llmgine.actors.supervisor.members import Members
from llmgine.actors.telemetry.actor import TelemetryActor

logger = logging.getLogger(__name__)

_CLASSES: dict[str, type[RuntimeActor]] = {
    "provider": ProviderActor,
    "router": RouterActor,
    "session": SessionActor,
    "telemetry": TelemetryActor,
}

# Ray starts a worker process in a second or two; on a full machine it queues for longer.
_START_PATIENCE = 60.0
# Beyond the grace that an actor was given to drain, how long its answer may take.
_STOP_SLACK = 2.0


class Children:
    """Every actor of the runtime but the supervisor itself."""

    def __init__(self, supervisor: RuntimeActor, members: Members) -> None:
        self._supervisor = supervisor
        self._members = members

    async def start(self, name: str, kind: str, *, num_cpus: float, restarts: bool = True) -> None:
        """Returns once the actor is up and known here; TimeoutError names what Ray may lack."""
        boot = self._supervisor.boot.child(name, kind)
        await self._supervisor.cluster.spawn(boot, _CLASSES[kind], SpawnOptions(num_cpus, restarts))
        try:
            async with asyncio.timeout(_START_PATIENCE):
                await self.up(name)
        except TimeoutError:
            await self.end(name, 0.0)
            raise TimeoutError(
                f"{name} did not start within {_START_PATIENCE:g} s; does the cluster have {num_cpus:g} CPUs "
                f"free? `ray status` tells, and control.actor_cpus and pools.default.num_cpus ask for less"
            ) from None

    async def up(self, name: str) -> None:
        """Returns once the actor listens and has reported itself; asking opens it after a restart."""
        while name not in self._members:
            try:
                await self._supervisor.cluster.resolve(name)
            except ActorAway:
                await asyncio.sleep(0.1)
                continue
            await self._members.here([name])

    async def alive(self, name: str) -> bool:
        """Whether the actor lives or is being restarted."""
        try:
            await self._supervisor.cluster.resolve(name)
        except ActorGone:
            return False
        except (ActorAway, TimeoutError):
            pass
        return True

    async def end(self, name: str, grace: float) -> None:
        """Lets the actor drain for `grace` seconds, then ends it for good."""
        if grace:
            try:
                await self._supervisor.cluster.call(name, "stop", grace, timeout=grace + _STOP_SLACK)
            except (ActorGone, ActorAway, TimeoutError) as error:
                logger.warning("%s did not stop by itself: %s", name, error)
        await self._supervisor.cluster.kill(name)
        self._supervisor.ground.forget(name)
