"""One driver's place in a runtime: its links, its membership, its end of the bus."""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from llmgine.actors.bus import BusClient
from llmgine.actors.control import (
    Cluster,
    ClusterGone,
    ControlError,
    Ground,
    Membership,
    RuntimeNotFound,
    RuntimeStopping,
    names,
)
from llmgine.actors.link import Identity, Peer, Transport
from llmgine.actors.sessions.client.asking import Link
from llmgine.actors.sessions.hosting.code import SessionCode, pack
from llmgine.actors.sessions.journal.loading import last_event
from llmgine.actors.store import StoreClient
from llmgine.actors.telemetry import TelemetryShipper
from llmgine.runtime.models import Models
from llmgine.runtime.schedules import Schedules
from llmgine.runtime.settings import Settings
from llmgine.telemetry import open_recorder

logger = logging.getLogger(__name__)

# How long a driver that came in waits until the supervisor knows it.
_WELCOME = 30.0
# How long a driver that leaves waits for what it had begun to undo.
_UNDOING = 10.0


class Driver:
    """What `Runtime` and its handles stand on, in the process that uses them.

    `owner` says that the runtime's life hangs on this driver's link.
    """

    def __init__(
        self,
        runtime: str,
        cluster: Cluster,
        transport: Transport,
        settings: Settings,
        *,
        owner: bool,
        in_process: bool = False,
    ) -> None:
        self.id = f"driver-{uuid.uuid4().hex[:12]}"
        self.runtime = runtime
        self.settings = settings
        self.owner = owner
        self.in_process = in_process
        identity = Identity(self.id, "driver", time.time_ns())
        self.ground = Ground(runtime, identity, cluster, transport)
        self.control = self.ground.control
        self.recorder = open_recorder(self.id, settings.telemetry)
        # The (session, handle) pairs that this driver holds; told anew to a restarted supervisor.
        self.attached: set[tuple[str, str]] = set()
        self._undoing: set[asyncio.Task[None]] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._shipper = TelemetryShipper(self.recorder, self.ground.peer(names.TELEMETRY), settings.telemetry)
        self._membership = Membership(
            self.ground.peer(names.SUPERVISOR),
            self._report,
            self._pushed,
            silence=settings.control.child_silence,
            on_silence=self._supervisor_silent,
        )
        self.bus = BusClient(
            self.id,
            identity.epoch,
            [self.ground.peer(router) for router in names.routers(settings.bus.shards)],
            self.control,
            options=settings.bus,
            recorder=self.recorder,
            sample=settings.telemetry.sample_loose,
        )
        self.store = StoreClient(self.ground.peer(names.STORE))
        self.schedules = Schedules(self.bus, settings.bus.max_payload_bytes)
        self.models = Models(
            self.control,
            self.ground.peer,
            settings.providers,
            settings.pools,
            self.ground.cluster.node,
            self.recorder,
        )

    async def open(self) -> None:
        """Returns once the supervisor knows this driver."""
        self._membership.start()
        try:
            async with asyncio.timeout(_WELCOME):
                await self._membership.welcomed()
        except TimeoutError:
            raise ControlError(
                f"the supervisor of the runtime {self.runtime!r} runs, and no link to it stands after "
                f"{_WELCOME:g} s; from another node it is reached over TCP only (control.tcp, at launch)"
            ) from None
        if self.settings.telemetry.enabled:
            self._shipper.start()
        await self.bus.start()

    async def pack(self, code: SessionCode) -> Any:
        """The session's code as it travels to its actor: bytes, or the live objects within one process."""
        return code if self.in_process else await asyncio.to_thread(pack, code)

    def link(self, session_id: str, actor: str | None = None) -> Link:
        """Where a session is reached: in `actor` at first, then wherever it lives or wakes."""

        async def locate() -> Peer:
            where = await self.control.call("locate_session", session_id)
            return self.ground.peer(where["actor"])

        async def ended(turn_id: str) -> list[Any] | None:
            return last_event(await self.store.turn(session_id, turn_id))

        return Link(locate, None if actor is None else self.ground.peer(actor), ended=ended)

    def undo(self, work: Coroutine[Any, Any, None]) -> None:
        """Undoes in the background what a call that was given up may have done."""
        task = asyncio.create_task(work, name=f"undo for {self.id}")
        self._undoing.add(task)
        task.add_done_callback(self._undoing.discard)

    def background(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Work that goes on until it ends, or this driver leaves."""
        task = asyncio.create_task(work, name=f"{name} for {self.id}")
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def flush_telemetry(self) -> bool:
        """Whether all that this driver recorded has reached the telemetry actor."""
        return await self._shipper.flush()

    async def settle(self) -> None:
        """Waits until what this driver published is handled, and hands over its spans."""
        await self._last("the bus", self.bus.drain)
        await self._last("telemetry", self._shipper.flush)

    async def close(self) -> None:
        """Says goodbye, unless the runtime went with it, and lets go of every link."""
        for task in self._background:
            task.cancel()
        await self._finish_undoing()
        # It has had its time in `settle`, and what it would wait for may have ended since.
        await self._last("the bus", lambda: self.bus.close(0.0))
        await self._last("the store", self.store.close)
        await self._last("telemetry", self._shipper.close)
        if not self.owner:
            await self._last(
                "the supervisor", lambda: self.control.call("driver_left", self.id, timeout=10.0)
            )
        await self._membership.close()
        self.ground.close()

    async def _finish_undoing(self) -> None:
        if self._undoing:
            _, late = await asyncio.wait(self._undoing, timeout=_UNDOING)
            for task in late:
                task.cancel()

    def _report(self) -> dict[str, Any]:
        return {
            "name": self.id,
            "kind": "driver",
            "epoch": self.ground.identity.epoch,
            "pid": os.getpid(),
            "wants": ["pools"],
            "owner": self.owner,
            "attached": [list(pair) for pair in sorted(self.attached)],
        }

    async def _pushed(self, kind: str, body: Any) -> None:
        if kind == "pools":
            self.models.update(body)

    async def _supervisor_silent(self) -> None:
        logger.error("the runtime %r has been silent for too long; it is taken for dead", self.runtime)

    async def _last(self, whom: str, goodbye: Callable[[], Awaitable[Any]]) -> None:
        """A goodbye that fails must not keep the others from theirs."""
        try:
            await goodbye()
        except (RuntimeNotFound, RuntimeStopping, ClusterGone) as error:
            logger.info("leaving the runtime %r: %s", self.runtime, error)
        except Exception as error:
            logger.warning("leaving the runtime %r: %s: %s", self.runtime, whom, error)
