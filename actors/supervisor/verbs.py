"""What drivers and actors ask the supervisor for, as calls of the cluster."""

from __future__ import annotations

import asyncio
import os
from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

from llmgine.actors.control import RuntimeStopping, World
from llmgine.actors.store.queries import SessionFilter
from llmgine.actors.store.rows import ApprovalState
from llmgine.actors.supervisor.approvaldesk import ApprovalDesk
from llmgine.actors.supervisor.deploymentdesk import DeploymentDesk
from llmgine.actors.supervisor.directory import Directory
from llmgine.actors.supervisor.entries import Decision
from llmgine.actors.supervisor.gatewaydesk import GatewayDesk
from llmgine.actors.supervisor.hostdesk import HostDesk
from llmgine.actors.supervisor.members import Members
from llmgine.actors.supervisor.pooldesk import PoolDesk
from llmgine.actors.supervisor.sessiondesk import SessionDesk
from llmgine.actors.supervisor.sessionkeeping import SessionKeeping
from llmgine.actors.supervisor.subscriptiondesk import SubscriptionDesk
from llmgine.actors.supervisor.work import Work
from llmgine.actors.telemetry import ObservedActor


class Verbs(ObservedActor):
    """Each verb waits until the supervisor is ready, then hands on to a desk. Each may arrive twice.

    `RuntimeStopping` where the runtime ends.
    """

    _directory: Directory
    _members: Members
    _work: Work
    _pools: PoolDesk
    _hosts: HostDesk
    _gateway: GatewayDesk
    _sessions: SessionDesk
    _keeping: SessionKeeping
    _approvals: ApprovalDesk
    _subscriptions: SubscriptionDesk
    _deployments: DeploymentDesk
    _ready: asyncio.Task[None] | None
    _began: float

    async def introduce(self) -> tuple[World, dict[str, Any]]:
        """What a driver needs to join: the world and the settings of this runtime."""
        await self._is_ready()
        return self.boot.world, self.settings

    async def open_session(
        self, driver_id: str, handle: str, spec: dict[str, Any], code: Any
    ) -> dict[str, Any]:
        await self._is_ready()
        return await self._sessions.open(driver_id, handle, spec, code)

    async def locate_session(self, session_id: str) -> dict[str, Any]:
        """Where the session lives; one that sleeps is woken."""
        await self._is_ready()
        return await self._sessions.wake(session_id, "somebody asks for it")

    async def wake(self, session_id: str, why: str) -> dict[str, Any]:
        """As `locate_session`, for whoever has something for the session; `why` goes to the log."""
        await self._is_ready()
        return await self._sessions.wake(session_id, why)

    async def approval_asked(self, id: str, expires: int | None) -> None:
        """A session tells that it waits for somebody's leave."""
        await self._is_ready()
        self._approvals.asked(id, expires)

    async def answer_approval(self, id: str, state: ApprovalState, by: str, note: str) -> None:
        """Returns once the answer is in the store; its session goes on with it, wherever it wakes."""
        await self._is_ready()
        await self._approvals.answer(id, state, by, note)

    async def detach_session(self, session_id: str, handle: str, error: str | None) -> None:
        """Returns once the handle is off, and the session ended if it was the last."""
        await self._is_ready()
        self._carry_out(self._directory.detach(session_id, handle, error))
        await self._sessions.ended(session_id)

    async def close_session(self, session_id: str) -> None:
        """Returns once the session has ended, whoever ends it."""
        await self._is_ready()
        self._carry_out(self._directory.close(session_id))
        await self._sessions.ended(session_id)

    async def delete_session(self, session_id: str) -> None:
        """Returns once the session has ended, and nothing is left of it in any table."""
        await self._is_ready()
        await self._keeping.delete(session_id)

    async def list_sessions(
        self, wanted: list[Any], cursor: int | None, limit: int, newest: bool = False
    ) -> dict[str, Any]:
        """Sessions that the store has and where each is, and the cursor of the next ones."""
        await self._is_ready()
        listed = self._keeping.newest if newest else self._keeping.listed
        return await listed(SessionFilter.from_wire(wanted), cursor, limit)

    async def sessions_idle(self, host: str, session_ids: list[str]) -> None:
        """An actor tells of sessions that nobody has used for a while."""
        await self._is_ready()
        await self._keeping.idle(host, session_ids)

    async def session_left(self, host: str, session_id: str) -> None:
        """An actor tells that a session is not its own any more."""
        await self._is_ready()
        self._keeping.left(host, session_id)

    async def retire_host(self, host: str, why: str) -> None:
        """An actor tells that it is not well."""
        await self._is_ready()
        self._work.start(self._keeping.retire(host, why), f"empty {host}")

    async def driver_left(self, driver_id: str) -> None:
        """A driver says goodbye; an owner's goodbye is `stop_runtime`."""
        await self._is_ready()
        await self._subscriptions.remove_client(driver_id)
        endings = self._carry_out(self._directory.driver_left(driver_id))
        await asyncio.gather(*endings, return_exceptions=True)

    async def subscribe(self, record: dict[str, Any]) -> int:
        await self._is_ready()
        return await self._subscriptions.add(record)

    async def unsubscribe(self, number: int, client: str, epoch: int) -> None:
        await self._is_ready()
        await self._subscriptions.remove(number, (client, epoch))

    async def add_filter(self, client: str, filter: dict[str, Any]) -> int:
        await self._is_ready()
        return await self._subscriptions.add_filter(client, filter)

    async def remove_filter(self, number: int) -> None:
        await self._is_ready()
        await self._subscriptions.remove_filter(number)

    async def ensure_pool(self, provider: str) -> list[list[str]]:
        await self._is_ready()
        return await self._pools.ensure(provider)

    async def pools(self, verb: str, *arguments: Any) -> Any:
        """What drivers ask of pools: `verb` is what the desk does, such as `scale` and `clear_cache`."""
        await self._is_ready()
        return await getattr(self._pools, verb)(*arguments)

    async def deploy(self, name: str, code: Any, replicas: int, num_cpus: float) -> list[str]:
        await self._is_ready()
        return await self._deployments.deploy(name, code, replicas, num_cpus)

    async def scale_deployment(self, name: str, replicas: int) -> list[str]:
        await self._is_ready()
        return await self._deployments.scale(name, replicas)

    async def remove_deployment(self, name: str) -> None:
        await self._is_ready()
        await self._deployments.remove(name)

    async def gateway(self) -> dict[str, Any]:
        """Where the gateway listens, or why it does not; waits until it was tried."""
        await self._is_ready()
        return await self._gateway.where()

    async def gateway_port(self) -> int | None:
        """The port that the gateway had in its former life, which asks before anything else is ready."""
        return self._gateway.port

    async def status(self, sessions: bool = True) -> dict[str, Any]:
        """What runs, as plain values; the open sessions may be many."""
        await self._is_ready()
        return {
            "name": self.boot.runtime,
            "detached": self.boot.detached,
            "started": self._began,
            "node": self.cluster.node,
            "actors": [
                {"name": member.name, "kind": member.kind, "pid": member.report["pid"]}
                for member in self._members.all()
                if member.kind != "driver"
            ]
            + [{"name": self.name, "kind": self.kind, "pid": os.getpid()}],
            "drivers": [member.name for member in self._members.all() if member.kind == "driver"],
            "sessions": await self._keeping.described() if sessions else [],
            "hosts": self._hosts.snapshot(),
            "pools": await self._pools.members(),
            "deployments": self._deployments.snapshot(),
            "subscriptions": self._subscriptions.statistics(),
        }

    @abstractmethod
    def _carry_out(self, decisions: Iterable[Decision]) -> list[asyncio.Task[Any]]: ...

    async def _is_ready(self) -> None:
        await self.address()
        assert self._ready is not None
        await asyncio.shield(self._ready)
        if self._directory.stopping:
            raise RuntimeStopping(
                f"the runtime {self.boot.runtime!r} is stopping; launch it again when it is gone"
            )
