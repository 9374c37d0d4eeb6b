"""Starts, scales, replaces and ends the replicas of deployments."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from llmgine.actors.control import Cluster, Lanes, names
from llmgine.actors.handlers.deployment import Cargo, DeployedCode, DeploymentRefused, checked_name
from llmgine.actors.supervisor.children import Children
from llmgine.actors.supervisor.subscriptiondesk import SubscriptionDesk
from llmgine.actors.supervisor.work import Work
from llmgine.providers.errors import LlmgineError

logger = logging.getLogger(__name__)

# How long a replica that leaves may take to end what it runs.
_DRAIN_GRACE = 60.0


@dataclass(slots=True)
class Deployment:
    """One deployment as it stands: its replicas by name, the code that further ones are born with."""

    name: str
    version: int
    num_cpus: float
    code: DeployedCode | bytes | None = None  # None until asked of a replica, after a supervisor's restart
    replicas: list[str] = field(default_factory=list)


class DeploymentDesk:
    """What the supervisor does for handlers that run as actors of their own."""

    def __init__(
        self, cluster: Cluster, children: Children, subscriptions: SubscriptionDesk, work: Work
    ) -> None:
        self._cluster = cluster
        self._children = children
        self._subscriptions = subscriptions
        self._work = work
        self._lanes = Lanes()
        self._deployments: dict[str, Deployment] = {}
        # Of removed ones too: their last replicas may still be leaving under their names.
        self._numbers: dict[str, int] = {}

    async def deploy(
        self, name: str, code: DeployedCode | bytes, replicas: int, num_cpus: float
    ) -> list[str]:
        """The replicas, once all of them serve; those of a former version of that name leave then.

        Where one does not start, nothing has changed: its error is raised.
        """
        _check(checked_name(name), replicas)
        async with self._lanes.of(name):
            former = self._deployments.get(name)
            version = former.version + 1 if former is not None else 1
            deployment = Deployment(name, version, num_cpus, code)
            failures = await self._start(deployment, replicas)
            if failures:
                await self._undo(deployment, former)
                raise failures[0]
            self._deployments[name] = deployment
            if former is not None:
                await self._forget_others(deployment)
                self._drain(former.replicas)
            return list(deployment.replicas)

    async def scale(self, name: str, replicas: int) -> list[str]:
        """The replicas, once exactly so many serve; surplus ones end what they run first."""
        _check(name, replicas)
        async with self._lanes.of(name):
            deployment = self._of(name)
            missing = replicas - len(deployment.replicas)
            if missing > 0:
                await self._bring_code(deployment)
                failures = await self._start(deployment, missing)
                if failures:
                    raise failures[0]
            else:
                kept, surplus = deployment.replicas[:replicas], deployment.replicas[replicas:]
                deployment.replicas = kept
                self._drain(surplus)
            return list(deployment.replicas)

    async def remove(self, name: str) -> None:
        """Its handlers receive nothing more; what they run may end. Nothing happens the second time."""
        async with self._lanes.of(name):
            deployment = self._deployments.pop(name, None)
            if deployment is not None:
                await self._subscriptions.remove_deployment(name, frozenset())
                self._drain(deployment.replicas)

    def joined(self, report: dict[str, Any]) -> None:
        """A restarted supervisor hears of a replica."""
        name, version = report["deployment"], report["version"]
        number = names.parse_handler(report["name"])[1]
        self._numbers[name] = max(self._numbers.get(name, 0), number + 1)
        known = self._deployments.get(name)
        if known is None or known.version < version:
            if known is not None:
                self._drain(known.replicas)
            known = self._deployments[name] = Deployment(name, version, report["num_cpus"])
        elif known.version > version:
            self._drain([report["name"]])
            return
        if report["name"] not in known.replicas:
            known.replicas.append(report["name"])

    async def gone(self, replica: str) -> None:
        """A replica will not come back: another takes its place."""
        name = names.parse_handler(replica)[0]
        async with self._lanes.of(name):
            deployment = self._deployments.get(name)
            if deployment is None or replica not in deployment.replicas:
                return
            deployment.replicas.remove(replica)
            await self._subscriptions.remove_member(replica)
            await self._bring_code(deployment)
            for failure in await self._start(deployment, 1):
                logger.error("deployment %s has one replica less: %s", name, failure)

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """Replicas and version of every deployment."""
        return {
            name: {"replicas": list(one.replicas), "version": one.version}
            for name, one in sorted(self._deployments.items())
        }

    async def _start(self, deployment: Deployment, count: int) -> list[BaseException]:
        """Starts further replicas; those that serve are in the deployment, the errors of others come back."""
        assert deployment.code is not None
        cargo = Cargo(deployment.name, deployment.version, deployment.code, deployment.num_cpus)
        first = self._numbers.get(deployment.name, 0)
        self._numbers[deployment.name] = first + count
        wanted = [names.handler(deployment.name, first + place) for place in range(count)]
        starts = (
            self._children.start(one, "handler", num_cpus=deployment.num_cpus, cargo=cargo) for one in wanted
        )
        results = await asyncio.gather(*starts, return_exceptions=True)
        deployment.replicas += [one for one, failure in zip(wanted, results, strict=True) if failure is None]
        return [failure for failure in results if failure is not None]

    async def _undo(self, deployment: Deployment, former: Deployment | None) -> None:
        await asyncio.gather(*(self._end(one, 0.0) for one in deployment.replicas))
        if former is None:
            await self._subscriptions.remove_deployment(deployment.name, frozenset())
        else:
            await self._forget_others(former)

    async def _forget_others(self, deployment: Deployment) -> None:
        """Removes what other versions served and this one does not; where no replica tells, nothing."""
        served = await self._served(deployment)
        if served is not None:
            await self._subscriptions.remove_deployment(deployment.name, frozenset(served))

    async def _served(self, deployment: Deployment) -> list[int] | None:
        """What the first replica that answers serves; all serve the same. None where none answers."""
        for replica in deployment.replicas:
            try:
                return list(await self._cluster.call(replica, "subscriptions", timeout=10.0))
            except (LlmgineError, TimeoutError) as error:
                logger.info("%s does not say what it serves: %s", replica, error)
        return None

    async def _bring_code(self, deployment: Deployment) -> None:
        """A restarted supervisor has no code: a replica gives back what it was born with."""
        for replica in [] if deployment.code is not None else deployment.replicas:
            try:
                cargo: Cargo = await self._cluster.call(replica, "cargo", timeout=30.0)
            except (LlmgineError, TimeoutError) as error:
                logger.info("%s does not give back its code: %s", replica, error)
            else:
                deployment.code = cargo.code
                return
        if deployment.code is None:
            raise DeploymentRefused(
                f"no replica of {deployment.name!r} is left to take its code from; deploy it again"
            )

    def _drain(self, replicas: Iterable[str]) -> None:
        for replica in replicas:
            self._work.start(self._end(replica, _DRAIN_GRACE), f"drain {replica}")

    async def _end(self, replica: str, grace: float) -> None:
        await self._children.end(replica, grace)
        await self._subscriptions.remove_member(replica)

    def _of(self, name: str) -> Deployment:
        if name not in self._deployments:
            known = ", ".join(sorted(self._deployments)) or "none"
            raise DeploymentRefused(f"no deployment is called {name!r}; there are: {known}")
        return self._deployments[name]


def _check(name: str, replicas: int) -> None:
    if isinstance(replicas, bool) or not isinstance(replicas, int) or replicas < 1:
        raise DeploymentRefused(f"{name} needs 1 or more replicas, not {replicas!r}; `remove()` ends it")
