"""The ground that every runtime actor stands on: its endpoint, its peers, its place in the runtime.

A subclass says what it serves (`handlers`), what it reports to the supervisor (`report`), what it
does once it is up (`opened`), with what is pushed to it (`on_push`), and before it goes (`drain`).
It is a plain class: Ray wraps it where it is spawned, `LocalCluster` makes an instance.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from llmgine.actors.control import names
from llmgine.actors.control.client import ControlClient
from llmgine.actors.control.cluster import Boot, Cluster
from llmgine.actors.control.errors import ActorGone
from llmgine.actors.control.ground import Ground
from llmgine.actors.control.logfiles import keep_logs, read_logs
from llmgine.actors.control.membership import KEPT, Membership
from llmgine.actors.control.options import ControlOptions
from llmgine.actors.link import Endpoint, Identity, Peer, StreamHandler
from llmgine.telemetry import TelemetryOptions, open_recorder

logger = logging.getLogger(__name__)

# How long an actor that must end itself waits for Ray to do it before it leaves by force.
_EXIT_PATIENCE = 5.0


class RuntimeActor:
    """One actor of a runtime.

    `address()` opens it, once in each life: Ray may have restarted the process since. The epoch of
    its identity is the wall clock at its birth in nanoseconds, so a later life always has a larger one.
    """

    kind: ClassVar[str]

    def __init__(self, boot: Boot) -> None:
        self.boot = boot
        self.name = boot.name
        self.settings = boot.settings
        self.options = ControlOptions.model_validate(boot.settings["control"])
        self.identity = Identity(boot.name, boot.kind, time.time_ns())
        self.cluster: Cluster = boot.world.cluster()
        self._logs = boot.world.log_folder()
        if self._logs is not None:
            keep_logs(boot.name, self._logs, self.options.log_level)
        self.recorder = open_recorder(boot.name, TelemetryOptions.model_validate(boot.settings["telemetry"]))
        self._ground: Ground | None = None
        self._endpoint: Endpoint | None = None
        self._membership: Membership | None = None
        self._open_task: asyncio.Task[None] | None = None
        self._stop_task: asyncio.Task[None] | None = None
        self._stopped = False
        self._told_to_keep: dict[str, Any] = {}

    # What a subclass says of itself.

    def handlers(self) -> Mapping[str, StreamHandler]:
        """The kinds of stream that this actor serves to whoever dials it."""
        return {}

    def report(self) -> dict[str, Any]:
        """What a restarted supervisor must know of this actor; msgpack values."""
        return {}

    def wants(self) -> tuple[str, ...]:
        """The tables that the supervisor shall push to this actor."""
        return ()

    async def opened(self) -> None:
        """The endpoint listens; the supervisor does not know this life yet."""

    async def on_push(self, kind: str, body: Any) -> None:
        """A table that this actor wants has changed."""

    async def drain(self, grace: float) -> None:
        """Finishes what was taken on, within `grace` seconds."""

    async def drained(self) -> None:
        """The last moment with links."""

    # What others call.

    async def address(self) -> list[Any]:
        """Where this actor listens, as wire; opens it first in this life of its process.

        `ActorGone` once it has stopped, though its process waits to be ended.
        """
        if self._stop_task is not None and self._stop_task.done():
            raise ActorGone(f"{self.name} has stopped")
        if self._open_task is None:
            self._open_task = asyncio.create_task(self._open(), name=f"open {self.name}")
        opening = self._open_task
        try:
            await asyncio.shield(opening)
        except BaseException:
            if opening.done() and self._open_task is opening:
                self._open_task = None  # the next who asks may have more luck
            raise
        assert self._endpoint is not None
        return self._endpoint.address.to_wire()

    async def logs_on(self) -> str:
        """The node whose logs this actor reads; "" where none are kept."""
        return "" if self._logs is None else self.cluster.node

    async def logs(self, positions: dict[str, int], tail: int) -> tuple[list[str], dict[str, int]]:
        """What the actors of this node have logged since those positions, and the next ones."""
        if self._logs is None:
            return [], {}
        return await asyncio.to_thread(read_logs, self._logs, positions, tail)

    async def stop(self, grace: float) -> None:
        """Takes nothing new, drains, and lets go of every link; the process stays for its owner to end.

        Asked again, it waits for the end of the first draining.
        """
        if self._stop_task is None:
            self._stop_task = asyncio.create_task(self._stop(grace), name=f"stop {self.name}")
        await asyncio.shield(self._stop_task)

    async def abandon(self) -> None:
        """Lets go of everything at once, as a crash would, but leaves no task behind."""
        self._stopped = True
        for task in (self._open_task, self._stop_task):
            if task is not None and task is not asyncio.current_task():
                task.cancel()
        if self._membership is not None:
            await self._membership.close()
        await self._let_go()

    # What a subclass uses.

    @property
    def stopped(self) -> bool:
        return self._stopped

    @property
    def ground(self) -> Ground:
        """The links of this process; there once the actor is open."""
        if self._ground is None:
            raise RuntimeError(f"{self.name} is not open")
        return self._ground

    def peer(self, name: str) -> Peer:
        """The link to another actor."""
        return self.ground.peer(name)

    @property
    def control(self) -> ControlClient:
        """What this actor may ask the supervisor for."""
        return self.ground.control

    def tell(self, kind: str, body: Any) -> None:
        """Says something to the supervisor that is not worth a call; nobody waits for it to arrive."""
        if self._membership is not None:
            self._membership.tell(kind, body)

    async def end_self(self) -> None:
        """Ends this actor for good, Ray's restart included."""
        try:
            async with asyncio.timeout(_EXIT_PATIENCE):
                await self.cluster.kill(self.name)
        except Exception:
            logger.exception("%s could not be ended through the cluster", self.name)
        if self.boot.world.owns_process:
            await asyncio.sleep(_EXIT_PATIENCE)
            os._exit(1)

    async def _stop(self, grace: float) -> None:
        self._stopped = True
        try:
            await self.drain(grace)
            await self.drained()
        finally:
            await self.abandon()

    async def _open(self) -> None:
        tcp = self.options.tcp == "always" or (
            self.options.tcp == "auto" and await self.cluster.spans_nodes()
        )
        transport = self.boot.world.transport(self.cluster, tcp=tcp)
        self._ground = Ground(self.boot.runtime, self.identity, self.cluster, transport)
        try:
            self._endpoint = await transport.listen(self.identity, self.handlers())
            await self.opened()
        except BaseException:
            await self._let_go()
            raise
        if self.boot.world.owns_process:
            # What is loaded by now lives as long as the process: a collection of garbage that looked at
            # all of it would hold everybody up for 50 ms.
            gc.freeze()
        if self.name == names.SUPERVISOR:
            return
        self._membership = Membership(
            self.peer(names.SUPERVISOR),
            self._full_report,
            self._pushed,
            silence=self.options.child_silence,
            on_silence=self.end_self,
        )
        self._membership.start()

    async def _pushed(self, kind: str, body: Any) -> None:
        if kind == KEPT:
            self._told_to_keep = body
        else:
            await self.on_push(kind, body)

    async def _let_go(self) -> None:
        if self._ground is not None:
            self._ground.close()
        if self._endpoint is not None:
            await self._endpoint.close()

    def _full_report(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.boot.kind,
            "epoch": self.identity.epoch,
            "pid": os.getpid(),
            "wants": [KEPT, *self.wants()],
            "kept": self._told_to_keep,
            "stopping": self._stopped,
            **self.report(),
        }
