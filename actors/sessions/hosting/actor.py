"""The session actor: blank until it adopts a session, then the process of one or of many."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from llmgine.actors.bus import BusClient, BusOptions
from llmgine.actors.code import CodeUnavailable
from llmgine.actors.control import Lanes, names
from llmgine.actors.link import Stream, StreamHandler
from llmgine.actors.pools import PoolClient, PoolsOptions
from llmgine.actors.sessions.errors import SessionError
from llmgine.actors.sessions.hosting.announce import Announcer
from llmgine.actors.sessions.hosting.approvals import TABLE as APPROVALS
from llmgine.actors.sessions.hosting.bus import SessionBus
from llmgine.actors.sessions.hosting.code import SessionCode
from llmgine.actors.sessions.hosting.host import KINDS
from llmgine.actors.sessions.hosting.listeners import TABLE as LISTENERS
from llmgine.actors.sessions.hosting.listeners import Listeners
from llmgine.actors.sessions.hosting.missing import without_code
from llmgine.actors.sessions.hosting.opening import Opening, load_code, model_sizes, open_host
from llmgine.actors.sessions.hosting.serving import HandlerService, bus_identity
from llmgine.actors.sessions.hosting.slots import Slot, Slots
from llmgine.actors.sessions.hosting.subsessions import AskedSessions
from llmgine.actors.sessions.options import SessionOptions
from llmgine.actors.sessions.running.steps import unknown_size
from llmgine.actors.sessions.tools.toolset import ToolPorts
from llmgine.actors.store import StoreClient
from llmgine.actors.store.rows import ApprovalRow
from llmgine.actors.telemetry import ObservedActor
from llmgine.providers.clients.routes import server_of
from llmgine.providers.errors import LlmgineError
from llmgine.providers.options import ProvidersOptions
from llmgine.telemetry import TelemetryOptions
from llmgine.telemetry import names as spans

logger = logging.getLogger(__name__)

# How long the last events of a session may take on their way to the bus.
_LAST_EVENTS = 2.0
# How long the handlers of a session that has ended are there to hear of it.
_LAST_HANDLED = 10.0
# How long the last entries of its sessions may take on their way to the store.
_LAST_WRITES = 1.0
# How often sessions are looked over: as a part of the time until they count as idle, at most, and at the end.
_LOOKS = 4
_LONGEST_LOOK = 5.0
_LOOK = 0.05


class SessionActor(ObservedActor):
    """A process that sessions live in, each from `adopt` until it is released or ended.

    They share its endpoint, its end of the bus, its links to providers and the store. It takes what its
    supervisor gives it; once it has run a session's code, that is only more of the same code.
    """

    kind = "session"

    def __init__(self, boot: Any) -> None:
        super().__init__(boot)
        self._session_options = SessionOptions.model_validate(boot.settings["sessions"])
        self._providers = ProvidersOptions.model_validate(boot.settings["providers"])
        self._sample = TelemetryOptions.model_validate(boot.settings["telemetry"]).sample_loose
        self._slots = Slots(boot.name)
        self._runs = ""
        self._lanes = Lanes()
        self._models: PoolClient | None = None
        self._bus: BusClient | None = None
        self._announcer: Announcer | None = None
        self._listeners = Listeners()
        self._store: StoreClient | None = None
        self._holds: Callable[[str], int | None] = unknown_size
        self._watching: asyncio.Task[None] | None = None
        self._telling: set[asyncio.Task[None]] = set()
        self._ill = False
        # Sessions that are going to sleep, and those of them that a new life of the supervisor was told of.
        self._releasing: set[str] = set()
        self._reported: set[str] = set()

    def handlers(self) -> Mapping[str, StreamHandler]:
        return dict.fromkeys(KINDS, self._serve)

    def wants(self) -> tuple[str, ...]:
        return ("pools", LISTENERS, APPROVALS)

    def report(self) -> dict[str, Any]:
        self._reported |= self._releasing
        return {"runs": self._runs, "sessions": [_report(slot) for slot in self._slots]}

    def measure(self) -> None:
        self.recorder.metrics.gauge(spans.METRIC_ACTIVE_SESSIONS).set(len(self._slots))

    async def opened(self) -> None:
        await super().opened()
        pools = PoolsOptions.model_validate(self.settings["pools"])
        self._models = PoolClient(
            self.control,
            self.peer,
            self._providers,
            pools.failover,
            node=self.cluster.node,
            shares=pools.shares,
        )
        options = BusOptions.model_validate(self.settings["bus"])
        self._bus = BusClient(
            self.name,
            self.identity.epoch,
            [self.peer(router) for router in names.routers(options.shards)],
            self.control,
            options=options,
            recorder=self.recorder,
            sample=self._sample,
        )
        self._announcer = Announcer(self._bus.publish, self._listeners)
        self._store = StoreClient(self.peer(names.STORE))
        self._holds = model_sizes(self._providers)
        # A warm actor has its links when its first session comes.
        await self._bus.start()
        self._keep(asyncio.create_task(self._reach_store(self._store), name=f"lead {self.name} to the store"))
        self._watching = asyncio.create_task(self._watch(), name=f"watch the sessions of {self.name}")

    async def _reach_store(self, store: StoreClient) -> None:
        with suppress(LlmgineError, TimeoutError):
            await store.write(())

    async def on_push(self, kind: str, body: Any) -> None:
        if kind == "pools" and self._models is not None:
            self._models.update(body)
        elif kind == LISTENERS:
            self._listeners.update(body)
        elif kind == APPROVALS:
            self._look_for_answers(body)

    def _look_for_answers(self, told: dict[str, str] | None) -> None:
        """An approval was answered, or any may have been; a session that is not here is woken for its own."""
        if told is None:
            for slot in self._slots:
                slot.host.look_for_answers()
            return
        here = self._slots.get(told["session"])
        if here is None or not here.host.look_for_answers(told["id"]):
            self._tell("wake", told["session"], "an approval was answered")

    # What the supervisor asks for. Each may arrive twice.

    async def adopt(self, opening: dict[str, Any], code: Any = None, woken: bool = False) -> None:
        """Takes a session on; `code` is what `pack` wrote, or a `SessionCode` within one process.

        One that is `woken` goes on without code that cannot be loaded here.
        """
        wanted = Opening.model_validate(opening)
        async with self._lanes.of(wanted.session_id):
            await self._adopt(wanted, code, woken)

    async def _adopt(self, wanted: Opening, code: Any, woken: bool) -> None:
        slot = self._slots.get(wanted.session_id)
        if slot is not None and slot.opening == wanted:
            return
        if slot is not None or (self._runs and self._runs != wanted.runs):
            raise SessionError(
                f"{self.name} cannot take session {wanted.session_id!r}: it has an earlier opening of it, or "
                f"has run other code"
            )
        if self._models is None or self._store is None or self._bus is None:
            raise SessionError(f"{self.name} is not open; resolve its address first")
        self._runs = wanted.runs
        loaded = await self._loaded(wanted, code, woken)
        host = await open_host(
            wanted,
            loaded,
            self._models,
            self.recorder,
            self._session_options,
            store=self._store,
            owner=self.name,
            observer=self._announcer,
            holds=self._holds,
            ports=self._ports(wanted.session_id, live=isinstance(code, SessionCode)),
            anew=not woken,
            asked=self._asked,
            servers=partial(server_of, self._providers),
        )
        slot = Slot(wanted, host, self._now())
        host.on_fenced = partial(self._fenced, slot)
        host.own = HandlerService(
            host.session_id, loaded.handlers, host, partial(self._bus_of, host.session_id, host.epoch)
        )
        self._slots.put(slot)
        try:
            await host.own.open()
        except BaseException:
            self._slots.remove(slot)
            await host.leave("its handlers could not be registered")
            raise

    def _bus_of(self, session_id: str, epoch: int) -> BusClient:
        """An end of the bus for a session's own handlers, which go on as the same in its next life."""
        options = BusOptions.model_validate(self.settings["bus"])
        routers = [self.peer(router) for router in names.routers(options.shards)]
        return BusClient(
            bus_identity(session_id),
            epoch,
            routers,
            self.control,
            options=options,
            wakes=True,
            recorder=self.recorder,
            sample=self._sample,
        )

    def _ports(self, session_id: str, *, live: bool) -> ToolPorts:
        assert self._bus is not None
        return ToolPorts(
            session_id,
            SessionBus(self._bus, session_id),
            AskedSessions(session_id, self.control, self.peer, self._providers, live=live),
            tasks=self.cluster.tasks,
        )

    async def _loaded(self, wanted: Opening, code: Any, woken: bool) -> SessionCode:
        if not (wanted.runs or code):
            return SessionCode()
        try:
            if not code:
                raise CodeUnavailable("the store has not kept it; it did not travel beyond its own process")
            return await asyncio.to_thread(load_code, code)
        except CodeUnavailable as error:
            if not woken:
                raise
            logger.warning("session %s wakes without its code: %s", wanted.session_id, error)
            return without_code(wanted.tools, str(error))

    async def _asked(self, row: ApprovalRow) -> None:
        await self.control.call("approval_asked", row.id, row.expires)

    def _fenced(self, slot: Slot) -> None:
        """The session is not here any more: whoever asks for it is sent to where it is."""
        if self._slots.remove(slot):
            self._tell("session_left", self.name, slot.session_id)

    async def stay(self, session_id: str) -> None:
        """The session, which was to end with its last driver, stays."""
        async with self._lanes.of(session_id):
            slot = self._slots.get(session_id)
            if slot is not None:
                slot.opening = slot.opening.model_copy(update={"stay": True})
                await slot.host.stay()

    async def release(self, session_ids: Sequence[str]) -> list[str]:
        """Those of these sessions that live in the store alone now; the others are in use."""
        released = await asyncio.gather(*map(self._release, session_ids))
        return [session_id for session_id, gone in zip(session_ids, released, strict=True) if gone]

    async def _release(self, session_id: str) -> bool:
        async with self._lanes.of(session_id):
            slot = self._slots.get(session_id)
            if slot is None:
                return True
            self._releasing.add(session_id)
            try:
                if not await slot.host.passivate():
                    return False
            except Exception:
                logger.exception("session %s cannot go on in %s", session_id, self.name)
                await slot.host.leave("it could neither sleep nor go on")
                self._fenced(slot)
                return False
            finally:
                self._releasing.discard(session_id)
                was_reported = session_id in self._reported
                self._reported.discard(session_id)
            self._slots.remove(slot)
            if was_reported:
                # Whoever asked for it is not there to hear the answer.
                self._tell("session_left", self.name, session_id)
            return True

    async def end(self, session_id: str, grace: float, reason: str = "it was closed") -> bool:
        """Whether the session was here, and the store has its end; its turns have ended in any case."""
        async with self._lanes.of(session_id):
            slot = self._slots.get(session_id)
            if slot is None:
                return False
            kept = await slot.host.end(reason, grace)
            await self._say_last()
            self._slots.remove(slot, reason)
            self._see_out(slot)
            return kept

    def _see_out(self, slot: Slot) -> None:
        """Its own handlers hear of its end before they go."""
        own = slot.host.own
        if own is not None:

            async def close() -> None:
                await asyncio.sleep(_LAST_HANDLED)
                await own.close(0.0)

            self._keep(asyncio.create_task(close(), name=f"see session {slot.session_id} out"))

    async def leave(self, session_id: str) -> None:
        """Lets go of the session at once, where it stands."""
        async with self._lanes.of(session_id):
            slot = self._slots.get(session_id)
            if slot is not None and self._slots.remove(slot):
                await slot.host.leave("it was taken back")

    async def describe(self) -> list[dict[str, Any]]:
        """Every session of this actor as it stands."""
        return [slot.host.describe() for slot in self._slots]

    # Going.

    async def drain(self, grace: float) -> None:
        """Each session sleeps as soon as it is idle; what is not by then goes on where it wakes."""
        give_up = self._now() + grace
        while left := await self._kept():
            if self._now() >= give_up:
                break
            await asyncio.sleep(_LOOK)
        await asyncio.gather(*map(self.leave, left))
        if self._bus is not None:
            await self._bus.close(_LAST_EVENTS / 2)
        if self._store is not None:
            await self._store.close(_LAST_WRITES)

    async def _kept(self) -> list[str]:
        here = [slot.session_id for slot in self._slots]
        released = await self.release(here)
        return [session_id for session_id in here if session_id not in released]

    async def abandon(self) -> None:
        for task in (self._watching, *self._telling):
            if task is not None:
                task.cancel()
        if self._announcer is not None:
            self._announcer.close()
        await super().abandon()
        for slot in self._slots:
            await slot.host.leave("its actor is gone")
        if self._bus is not None:
            await self._bus.close(0.0)
        if self._store is not None:
            await self._store.close()

    async def _say_last(self) -> None:
        if self._announcer is None:
            return
        try:
            async with asyncio.timeout(_LAST_EVENTS):
                await self._announcer.flush()
        except TimeoutError:
            logger.warning("%s: its last events did not reach the bus in time", self.name)

    # Watching over its sessions.

    async def _watch(self) -> None:
        idle = self._session_options.idle
        while True:
            await asyncio.sleep(min(idle / _LOOKS, _LONGEST_LOOK))
            try:
                if not self._ill and not all(slot.host.healthy for slot in self._slots):
                    await self.control.call("retire_host", self.name, "threads of its tools do not come back")
                    self._ill = True
                if quiet := self._slots.idle(self._now(), idle):
                    await self.control.call("sessions_idle", self.name, quiet)
            except (LlmgineError, TimeoutError) as error:
                logger.info("%s tells its supervisor later: %s", self.name, error)

    def _tell(self, what: str, *arguments: str) -> None:
        self._keep(asyncio.create_task(self._told(what, *arguments), name=f"tell {what}"))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _told(self, what: str, *arguments: str) -> None:
        try:
            await self.control.call(what, *arguments)
        except (LlmgineError, TimeoutError) as error:
            logger.warning("%s could not tell its supervisor %s %s: %s", self.name, what, arguments, error)

    async def _serve(self, stream: Stream) -> None:
        await self._slots.serve(stream, self._now())

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


def _report(slot: Slot) -> dict[str, Any]:
    told = slot.opening.model_dump(
        include={"session_id", "opening", "model", "stay", "fingerprint", "placement", "runs", "parent"}
    )
    return {**told, "closing": slot.host.closing}
