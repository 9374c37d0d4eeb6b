"""The supervisor's hands on single actors: starting, asking after, and ending them."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

from llmgine.actors.bus.router.actor import RouterActor
from llmgine.actors.control import ActorAway, ActorGone, Boot, RuntimeActor, SpawnOptions, StartFailed, names
from llmgine.actors.handlers.actor import HandlerActor
from llmgine.actors.pools import PoolOptions
from llmgine.actors.pools.actor import ProviderActor
from llmgine.actors.sessions.hosting.actor import SessionActor
from llmgine.actors.store.actor import StoreActor
from llmgine.actors.supervisor.members import Members
from llmgine.actors.telemetry.actor import TelemetryActor

logger = logging.getLogger(__name__)

_CLASSES: dict[str, type[RuntimeActor]] = {
    "handler": HandlerActor,
    "provider": ProviderActor,
    "router": RouterActor,
    "session": SessionActor,
    "store": StoreActor,
    "telemetry": TelemetryActor,
}

# Ray starts a worker process in a second or two; on a full machine it queues for longer.
_START_PATIENCE = 60.0
# How long a provider actor may take to forget answers, of which some may be on their way to the store.
_CLEARING = 5.0
# Beyond the grace that an actor was given to drain, how long its answer may take.
_STOP_SLACK = 2.0
# How long an actor that listens may take to report itself before it is asked whether it still lives.
_REPORT_PATIENCE = 1.0
_PAUSE = 0.1
# How long an actor that is there and cannot be opened is left alone.
_TRY_AGAIN = 1.0


def _class_of(kind: str) -> type[RuntimeActor]:
    if kind != names.GATEWAY:
        return _CLASSES[kind]
    # Its HTTP server takes half a second to import, and most runtimes have none.
    from llmgine.actors.gateway.actor import GatewayActor

    return GatewayActor


class Children:
    """Every actor of the runtime but the supervisor itself."""

    def __init__(self, supervisor: RuntimeActor, members: Members) -> None:
        self._supervisor = supervisor
        self._members = members

    async def start(
        self, name: str, kind: str, *, num_cpus: float, restarts: bool = True, cargo: Any = None
    ) -> None:
        """Returns once the actor is up and known here; `StartFailed`, and then nothing of it is left."""
        boot = self._supervisor.boot.child(name, kind, cargo)
        # The files of store and telemetry are on one node's disk, the gateway is where its launcher is.
        at_home = kind in (names.STORE, names.TELEMETRY, names.GATEWAY)
        node = boot.home or None if at_home else None
        await self._start(boot, SpawnOptions(num_cpus, restarts, node), _START_PATIENCE)

    async def start_provider(self, name: str, room: PoolOptions, settings: dict[str, Any], form: int) -> None:
        """As `start`, for an actor of a pool; it waits for its place as long as the cluster has none.

        That it waits is what makes Ray's autoscaler add a node.
        """
        boot = replace(self._supervisor.boot.child(name, "provider", form), settings=settings)
        options = SpawnOptions(room.num_cpus, num_gpus=room.num_gpus, resources=room.resources)
        await self._start(boot, options, None)

    async def prepare(self, name: str) -> None:
        """Has an actor of a pool open its provider; raises why it cannot, and then nothing of it is left."""
        try:
            await self._supervisor.cluster.call(name, "prepare")
        except BaseException:
            await self.end(name, 0.0)
            raise

    async def _start(self, boot: Boot, options: SpawnOptions, patience: float | None) -> None:
        name = boot.name
        try:
            async with asyncio.timeout(patience):
                await self._supervisor.cluster.spawn(boot, _class_of(boot.kind), options)
                await self.up(name)
        except BaseException as error:
            await self.end(name, 0.0)
            if isinstance(error, TimeoutError):
                raise StartFailed(
                    f"{name} did not start within {patience:g} s; does the cluster have {options.num_cpus:g} "
                    f"CPUs free? `ray status` tells; with control.actor_cpus it asks for less"
                ) from None
            if isinstance(error, ActorGone):
                raise StartFailed(
                    f"{name} died while it started: {error}; is there memory left, and are the same versions "
                    f"installed on every node? `ray list actors --detail` tells"
                ) from None
            raise

    async def up(self, name: str) -> None:
        """Returns once the actor listens and has reported itself, however long Ray takes to restart it.

        `ActorGone` once it is known that it never will.
        """
        while name not in self._members:
            try:
                # Asking for its address opens it after a restart.
                await self._supervisor.cluster.resolve(name)
                async with asyncio.timeout(_REPORT_PATIENCE):
                    await self._members.here([name])
            except (ActorAway, TimeoutError):
                await asyncio.sleep(_PAUSE)

    async def clear_cache(self, name: str) -> None:
        """The provider actor answers with nothing that was said until now; raises where it is not asked."""
        await self._supervisor.cluster.call(name, "clear_cache", timeout=_CLEARING)

    async def comes_back(self, name: str) -> bool:
        """Whether the actor is here again, however long that takes to tell: a lost node says nothing."""
        while True:
            try:
                await self.up(name)
                return True
            except ActorGone:
                return False
            except Exception as error:
                logger.warning("%s is there and cannot be opened: %s", name, error)
                await asyncio.sleep(_TRY_AGAIN)

    async def end(self, name: str, grace: float) -> None:
        """Lets the actor drain for `grace` seconds, then ends it for good.

        Links to it are let be: whoever holds one reaches by it the actor that is started in its place.
        """
        cluster = self._supervisor.cluster
        try:
            if grace:
                await cluster.call(name, "stop", grace, timeout=grace + _STOP_SLACK)
        except ActorGone as gone:
            # Somebody else ended it meanwhile: that is what was wanted.
            logger.info("%s is gone already: %s", name, gone)
        except Exception as error:
            logger.warning("%s did not stop by itself: %s", name, error)
        # Not where this is cancelled: a supervisor that dies cuts no stream, its next life drains on.
        await cluster.kill(name)
