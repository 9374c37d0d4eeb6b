"""Starts, watches, restarts and ends the actors of a runtime; the only room that knows all their classes.

It holds four tables: the directory of sessions and drivers, the pools, the deployments, and the
subscriptions, of which the durable ones alone are in the store. After its own restart it finds its
children by name, waits for them and for the drivers to report themselves, and goes on. Until then every
verb waits.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

from llmgine.actors.bus import BusClient, BusOptions
from llmgine.actors.control import Boot, names
from llmgine.actors.control.membership import MEMBER
from llmgine.actors.link import StreamHandler
from llmgine.actors.pools.figures import FIGURES
from llmgine.actors.pools.quota.messages import QUOTA
from llmgine.actors.sessions import SessionOptions
from llmgine.actors.store import StoreClient, StoreUnavailable
from llmgine.actors.store.options import MEMORY
from llmgine.actors.supervisor.approvaldesk import ApprovalDesk
from llmgine.actors.supervisor.children import Children
from llmgine.actors.supervisor.deploymentdesk import DeploymentDesk
from llmgine.actors.supervisor.directory import Directory, Leases
from llmgine.actors.supervisor.entries import Decision, DropClient, EndRuntime, EndSession
from llmgine.actors.supervisor.essentials import Essentials
from llmgine.actors.supervisor.gatewaydesk import GatewayDesk
from llmgine.actors.supervisor.hostdesk import HostDesk
from llmgine.actors.supervisor.lettercount import count_letters
from llmgine.actors.supervisor.lodging import Lodging
from llmgine.actors.supervisor.members import Member, Members
from llmgine.actors.supervisor.pooldesk import PoolDesk
from llmgine.actors.supervisor.sessiondesk import SessionDesk
from llmgine.actors.supervisor.sessionkeeping import SessionKeeping
from llmgine.actors.supervisor.sessionrecords import SessionRecords
from llmgine.actors.supervisor.subscriptiondesk import SubscriptionDesk
from llmgine.actors.supervisor.verbs import Verbs
from llmgine.actors.supervisor.work import Work
from llmgine.telemetry import TelemetryOptions

logger = logging.getLogger(__name__)

# How often leases are looked at, in seconds.
_TICK = 0.5
# How long a restarted supervisor waits for one living child to report itself.
_RECOVERY = 15.0
# How long a launch waits for the store to give back durable subscriptions before it goes on without.
_RESTORING = 5.0
# How long the end waits until the store has what this actor wrote.
_WRITING = 2.0
# How long the last actor waits for whoever stopped the runtime to end it.
_FAREWELL = 5.0


class SupervisorActor(Verbs):
    """The one actor of a runtime that every other can do without for a while."""

    kind = "supervisor"

    def __init__(self, boot: Boot) -> None:
        super().__init__(boot)
        leases = Leases(owner=self.options.owner_grace, sessions=self.options.driver_grace)
        # Openings are numbered from the clock, so that no later life of this actor repeats a number.
        self._directory = Directory(
            leases, owned=not boot.detached, first_opening=time.time_ns() // 1_000_000
        )
        self._members = Members(self._joined, self._lost, self._told)
        self._children = Children(self, self._members)
        self._work = Work()
        self._pools = PoolDesk(self._children, self._members, self._work, boot.settings, self._now)
        self._hosts = HostDesk(
            self._children,
            self._work,
            SessionOptions.model_validate(boot.settings["sessions"]),
            self.options.actor_cpus,
        )
        observed = TelemetryOptions.model_validate(boot.settings["telemetry"]).enabled
        self._routers = names.routers(BusOptions.model_validate(boot.settings["bus"]).shards)
        essentials = {*self._routers, names.STORE} | ({names.TELEMETRY} if observed else set())
        cpus = self.options.actor_cpus
        self._essentials = Essentials(essentials, self._children, self._members, cpus)
        self._gateway = GatewayDesk(boot, self._children, self._members, self._work, cpus)
        self._ready: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._began = time.time()

    # Coming up.

    def handlers(self) -> Mapping[str, StreamHandler]:
        return {MEMBER: self._members.serve}

    async def opened(self) -> None:
        await super().opened()
        self._store = StoreClient(self.peer(names.STORE))
        self._pools.quotas.keep_in(self._store)
        self._pools.caches.keep_in(self._store)
        self._subscriptions = SubscriptionDesk(self._members, self._store)
        self._bus = BusClient(
            self.name,
            self.identity.epoch,
            [self.peer(router) for router in self._routers],
            self,
            options=BusOptions.model_validate(self.settings["bus"]),
            recorder=self.recorder,
        )
        records = SessionRecords(self._store, f"{self.name}-{self.identity.epoch}", time.time_ns)
        lodging = Lodging(self.cluster, self._hosts, self._work)
        self._sessions = SessionDesk(
            self._directory,
            lodging,
            records,
            self._subscriptions,
            self._bus,
            self._work,
            self.options,
        )
        self._keeping = SessionKeeping(
            self._directory, self._hosts, self._sessions, lodging, records, self._subscriptions, self._work
        )
        self._approvals = ApprovalDesk(
            self._members,
            self._store,
            self._work,
            find=self._directory.sessions.get,
            wake=self._sessions.wake,
        )
        children = [name for name in await self.cluster.names() if name != self.name]
        self._deployments = DeploymentDesk(self.cluster, self._children, self._subscriptions, self._work)
        # Not awaited: children come to this actor's endpoint, which opens when this returns.
        self._ready = self._work.start(self._begin(children), "begin")
        self._work.start(self._watch(), "watch leases")
        if names.TELEMETRY in self._essentials.names:
            self._work.start(count_letters(self._store, self.recorder.metrics), "count dead letters")

    async def _begin(self, children: list[str]) -> None:
        try:
            if children:
                await self._recover(children)
            else:
                await self._essentials.start()
                self._pools.begin()
            await self._restore(anew=not children)
            await self._subscriptions.complete()
            await self._bus.start()
            self._hosts.warm_up()
            self._gateway.begin()
        finally:
            # Also where nothing could be started: then this actor must not wait for an owner forever.
            self._directory.await_owner(self._now())

    async def _restore(self, *, anew: bool) -> None:
        """What the store alone has comes before anybody asks for it, unless the store keeps them waiting.

        `StoreUnavailable` where the store of a new runtime says that it cannot keep anything.
        """
        if anew:
            await self._check_store()
        restoring = {
            self._work.start(self._restore_sessions(anew=anew), "find what the store has of sessions"),
            self._work.start(self._approvals.restore(), "find the approvals that are pending"),
        }
        await asyncio.wait(restoring, timeout=_RESTORING)

    async def _check_store(self) -> None:
        try:
            await self._store.write((), timeout=_RESTORING)
        except StoreUnavailable:
            if self._store.away is not None:
                raise

    async def _restore_sessions(self, *, anew: bool) -> None:
        """Subscriptions come first, for a session that has ended takes its own with it."""
        await self._subscriptions.restore()
        await self._keeping.restore(anew=anew)

    async def _recover(self, children: list[str]) -> None:
        logger.warning("the supervisor is back; waiting for %s", ", ".join(children))
        self._subscriptions.outlive(self.identity.epoch)
        self._hosts.avoid(children)
        providers = {name for name in children if names.is_provider(name)}
        await asyncio.gather(*(self._recover_child(name) for name in children if name not in providers))
        self._work.start(self._pools.recover(providers), "find the pools")
        for name in self._essentials.names:
            self._work.start(self._essentials.bring_back(name), f"bring back {name}")
        self._take_up()

    def _take_up(self) -> None:
        """What was half done when the former life of this actor ended is finished or undone."""
        for member in self._members.all():
            if member.kind == "session":
                for told in member.report["sessions"]:
                    if told["closing"]:
                        self._carry_out(self._directory.close(told["session_id"]))
                if member.report["stopping"]:
                    self._work.start(self._keeping.died(member.name), f"end {member.name}")
        for client in self._subscriptions.clients():
            if client not in self._members:
                self._directory.expect(client, self._now())

    async def _recover_child(self, name: str) -> None:
        try:
            async with asyncio.timeout(_RECOVERY):
                await self._children.up(name)
        except Exception as error:
            logger.warning("%s did not come back to the supervisor and is ended: %s", name, error)
            await self._children.end(name, 0.0)

    # Who comes and goes.

    def _joined(self, member: Member) -> None:
        report = member.report
        recovering = self._ready is None or not self._ready.done()
        match member.kind:
            case "driver":
                attached = [(session, handle) for session, handle in report["attached"]]
                self._directory.driver_joined(member.name, report["owner"], attached)
            case "router":
                self._subscriptions.router_joined(member, recovering=recovering)
            case "session" if recovering:
                self._hosts.found(report)
                for told in report["sessions"]:
                    self._directory.found(told, member.name, self._now())
            case "provider":
                self._pools.heard(report)
            case "handler" if recovering and not report["stopping"]:
                self._deployments.joined(report)
            case _:
                pass
        self._pools.joined(member)
        self._subscriptions.joined(member)
        self._approvals.joined(member)
        self._gateway.joined(member)

    def _told(self, member: Member, kind: str, body: Any) -> None:
        if kind == FIGURES:
            self._pools.loads.told(member.name, body)
        elif kind == QUOTA:
            self._pools.quotas.asked(member, body)

    def _lost(self, member: Member) -> None:
        if self.stopped or self._directory.stopping:
            return
        if member.kind == "driver":
            self._directory.driver_lost(member.name, self._now())
        else:
            self._work.start(self._inquire(member), f"inquire after {member.name}")

    async def _inquire(self, member: Member) -> None:
        """An actor's link broke: Ray may be restarting it, only the link may have gone, or it is dead."""
        if not await self._children.comes_back(member.name):
            match member.kind:
                case "session":
                    await self._keeping.died(member.name)
                case "provider":
                    await self._pools.gone(member.name)
                case "handler":
                    await self._deployments.gone(member.name)
                case "gateway":
                    await self._gateway.bring_back()
                case _:
                    await self._essentials.bring_back(member.name)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_TICK)
            try:
                self._carry_out(self._directory.tick(self._now()))
                self._approvals.tick()
                self._pools.tick()
            except Exception:
                logger.exception("the supervisor's clock stumbled; it goes on")

    def _carry_out(self, decisions: Iterable[Decision]) -> list[asyncio.Task[Any]]:
        return [self._begin_to(decision) for decision in decisions]

    def _begin_to(self, decision: Decision) -> asyncio.Task[Any]:
        match decision:
            case EndSession():
                return self._sessions.end(decision)
            case DropClient(driver_id):
                work = self._subscriptions.remove_client(driver_id)
                return self._work.start(work, f"drop the handlers of {driver_id}")
            case EndRuntime(reason):
                logger.warning("the runtime %s ends: %s", self.boot.runtime, reason)
                return self._work.start(self._end_runtime(), "end the runtime")

    # Going down.

    async def stop_runtime(self) -> None:
        """Ends every session and then every other actor; whoever asked ends this one.

        All who ask wait for the same ending. Where nobody does the last step, this actor ends itself.
        """
        await self.address()
        if self._ending is None:
            self._ending = self._work.start(self._end_others(), "stop the runtime")
        await asyncio.shield(self._ending)

    async def _end_others(self) -> None:
        assert self._ready is not None
        await asyncio.wait({self._ready})
        grace = self.options.stop_grace
        # Its answers end as the turns and calls do that they tell of.
        gateway = self._work.start(self._gateway.end(grace), "end the gateway")
        self._hosts.stop()
        self._pools.stop()
        try:
            keeps = (self.settings["store"]["url"] or MEMORY) != MEMORY
            await asyncio.gather(*self._carry_out(self._directory.stop(keeps=keeps)), return_exceptions=True)
            await asyncio.gather(self._bus.close(), self._hosts.give_up(), self._pools.stopped(), gateway)
            # Those that others write to while they drain go last.
            last = [name for name in (names.STORE, names.TELEMETRY) if name in self._essentials.names]
            mine = {self.name, *last}
            others = [name for name in await self.cluster.names() if name not in mine]
            # Sessions that stay let their turns end, which takes providers and routers.
            hosts = [name for name in others if names.parse_host(name) is not None]
            for together in (hosts, [name for name in others if name not in hosts]):
                ends = (self._children.end(name, grace) for name in together)
                await asyncio.gather(*ends, return_exceptions=True)
            await self.drained()
            await self._store.close(_WRITING)
            for name in last:
                await self._children.end(name, grace)
        finally:
            self._work.start(self._see_out(), "end the supervisor")

    async def _see_out(self) -> None:
        await asyncio.sleep(_FAREWELL)
        await self.end_self()

    async def _end_runtime(self) -> None:
        try:
            await self.stop_runtime()
        finally:
            await self.end_self()

    async def abandon(self) -> None:
        self._work.cancel()
        await super().abandon()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
