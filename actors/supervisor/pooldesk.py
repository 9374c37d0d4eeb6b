"""What is asked of pools: to be there, to have a size, to be drained or changed, and how they stand."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

from llmgine.actors.control import ActorGone, names
from llmgine.actors.control.membership import KEPT
from llmgine.actors.pools import PoolOptions
from llmgine.actors.pools.errors import PoolChangeRefused, PoolNotReady
from llmgine.actors.supervisor.children import Children
from llmgine.actors.supervisor.members import Member, Members
from llmgine.actors.supervisor.poolcaches import PoolCaches
from llmgine.actors.supervisor.poolforms import PoolForms
from llmgine.actors.supervisor.poolhands import PoolHands
from llmgine.actors.supervisor.poolload import PoolLoads
from llmgine.actors.supervisor.pooltable import Pool, PoolTable
from llmgine.actors.supervisor.quotadesk import QuotaDesk
from llmgine.actors.supervisor.work import Work
from llmgine.providers import UnknownModel
from llmgine.providers.options import ProvidersOptions

logger = logging.getLogger(__name__)

# How long a call or a command waits for actors that are being started; they are started on.
PATIENCE = 60.0


class PoolDesk:
    """What the supervisor does for pools.

    A pool is brought to its plan in the background: whoever asked waits for it, or does not. Other actors
    keep the plans, so that a restarted supervisor goes on with them.
    """

    def __init__(
        self,
        children: Children,
        members: Members,
        work: Work,
        settings: dict[str, Any],
        clock: Callable[[], float],
    ) -> None:
        self.table = PoolTable()
        self.quotas = QuotaDesk(work, settings, clock)
        self.loads = PoolLoads(clock, self.quotas.usable)
        self.caches = PoolCaches(children)
        self._members = members
        self._work = work
        self._forms = PoolForms(settings)
        self._providers = ProvidersOptions.model_validate(settings["providers"])
        self._clock = clock
        self._hands = PoolHands(self.table, children, members, work, self._forms, clock, self._ended)
        self._applied: dict[str, dict[str, Any]] = {}
        self._found = asyncio.Event()

    # What is asked for.

    async def ensure(self, provider: str) -> list[list[str]]:
        """The pool's actors and their nodes; a pool that has none yet starts at its size of the settings.

        One actor that takes calls is enough; raises why none can be started.
        """
        pool = await self._pool(provider)
        if not pool.ready:
            size = pool.plan.size or max(1, self._options(pool).size)
            self._resize(pool, size)
            await self._reach(pool, lambda: bool(pool.ready), PATIENCE)
        return self.table.places(provider)

    async def scale(self, provider: str, size: int, wait: float = PATIENCE) -> list[str]:
        """The pool's actors, once exactly `size` take calls; surplus ones finish their streams first."""
        pool = await self._pool(provider)
        scaling = self._options(pool).scaling
        if scaling.enabled and size and not scaling.min_size <= size <= scaling.max_size:
            raise PoolChangeRefused(
                f"the pool {provider!r} finds its size by itself between {scaling.min_size} and "
                f"{scaling.max_size}; with reconfigure(scaling={{'enabled': False}}) it stays at what is set"
            )
        self._resize(pool, size)
        await self._reach(pool, lambda: pool.settled or pool.plan.size != size, wait)
        if pool.plan.size != size:
            raise PoolChangeRefused(f"the pool {provider!r} was brought to {pool.plan.size} actors meanwhile")
        await self._hands.tell()
        return self.table.members(provider)

    async def drain(self, provider: str, actor: str | None = None, wait: float | None = None) -> None:
        """Returns once the actor, or every actor of the pool, has ended its streams and is gone.

        Another takes the place of a single one first. A pool starts again with the next call that needs it.
        """
        pool = await self._pool(provider)
        leaving = set(pool.actors if actor is None else [actor])
        if actor is None:
            self._resize(pool, 0)
        elif not self.table.had(provider, actor):
            there = ", ".join(pool.actors) or "none"
            raise PoolChangeRefused(f"the pool {provider!r} has had no actor {actor!r}; there are: {there}")
        elif self.table.outdate(provider, actor):
            self._hands.follow(pool)
        await self._reach(pool, lambda: leaving.isdisjoint(pool.actors), wait)

    async def reconfigure(self, provider: str, changes: dict[str, Any], wait: float = PATIENCE) -> list[str]:
        """The pool's actors, once all of them run with the changed settings.

        New ones take calls before those that they replace leave. Settings that are wrong, or with which no
        actor starts, are refused, and nothing has changed.
        """
        pool = await self._pool(provider)
        former = pool.plan
        changed, replaced = self._forms.changed(provider, former.changes, changes)
        size = changes.get("size", former.size) if former.size else former.size
        self.table.change(provider, changed, size=size, replaced=replaced)
        self._planned(pool)
        planned = pool.plan
        try:
            await self._reach(pool, lambda: pool.settled, wait)
        except PoolNotReady:
            raise
        except Exception as error:
            if pool.plan == planned and not any(actor.form == planned.form for actor in pool.ready):
                self.table.revert(provider, former)
                self._planned(pool)
                raise PoolChangeRefused(
                    f"no actor of {provider!r} starts with these settings: {error}"
                ) from error
            raise
        await self._hands.tell()
        return self.table.members(provider)

    async def clear_cache(self, provider: str) -> None:
        """Returns once no request to the pool is answered any more with what was said until now."""
        pool = await self._pool(provider)

        def actors() -> list[str]:
            return [actor.name for actor in pool.actors.values() if actor.state != "starting"]

        await self.caches.clear(provider, actors)

    # What happens.

    def heard(self, report: dict[str, Any]) -> None:
        """A provider actor reports itself, in each of its lives."""
        actor = report["name"]
        self.quotas.heard(report)
        if not self._found.is_set():
            self.table.found(report, self._clock())
        elif self.table.placed(actor, report["node"]):
            self._work.start(self._hands.tell(), f"tell where {actor} lives")

    def joined(self, member: Member) -> None:
        """A caller has come, or one that keeps the plans and may have kept them since an earlier life.

        What callers know from an earlier life holds until all actors are found.
        """
        if not self._found.is_set():
            self.table.remember(member.report.get("kept", {}))
        elif member.wants(KEPT):
            member.push(KEPT, self.table.plans())
        if self._found.is_set() and member.wants("pools"):
            member.push("pools", self.table.snapshot())

    async def gone(self, actor: str) -> None:
        """A provider actor will not come back: another takes its place."""
        self.quotas.gone(actor)
        known = self.table.find(actor)
        if known is not None and known.state != "draining":
            self.table.gone(actor, ActorGone(f"{actor} died"), self._clock())
            self.loads.forget(actor)
            self._hands.follow(self.table.of(names.parse_provider(actor)[0]))
            await self._hands.tell()

    async def recover(self, actors: Iterable[str]) -> None:
        """Waits until these have said what they run, but not for those that have no place yet."""
        await self._hands.find(actors)
        self.begin()
        await self._hands.tell()

    def begin(self) -> None:
        """It is known which actors there are: what is asked for is done from now on."""
        self._found.set()
        self.quotas.begin()
        self._hands.begin()
        for pool in self.table.pools.values():
            self._planned(pool)

    def stop(self) -> None:
        """The runtime ends: nothing is started any more, and what is being started is given up."""
        self._hands.stop()

    async def stopped(self) -> None:
        """Returns once nothing is left of what was given up."""
        await self._hands.stopped()

    def tick(self) -> None:
        """Time has passed: sizes follow loads, and what did not start is tried again."""
        for pool in self.table.pools.values() if self._found.is_set() else ():
            size = self.loads.size(pool, self._options(pool))
            if size != pool.plan.size:
                logger.info("the load of %s asks for %d actors, not %d", pool.provider, size, pool.plan.size)
                self._resize(pool, size)
            else:
                self._hands.follow(pool)

    # What is told.

    async def statistics(self, provider: str | None = None) -> dict[str, Any]:
        """How each pool stands that was ever wanted, or the one, as plain values."""
        await self._found.wait()
        every = sorted(self.table.pools.values(), key=lambda pool: pool.provider)
        wanted = [pool for pool in every if pool.plan.number]
        pools = wanted if provider is None else [await self._pool(provider)]
        return {
            pool.provider: {
                **self.loads.statistics(pool, self._options(pool)),
                "quota": self.quotas.statistics(pool.provider),
            }
            for pool in pools
        }

    async def members(self) -> dict[str, list[str]]:
        """The actors of each pool that take calls."""
        await self._found.wait()
        return {provider: self.table.members(provider) for provider in self.table.pools}

    # Plans.

    def _resize(self, pool: Pool, size: int) -> None:
        self.table.resize(pool.provider, size)
        self._planned(pool)

    def _planned(self, pool: Pool) -> None:
        """The plan is new: others keep it for a restarted supervisor, and it is followed."""
        if pool.plan.changes != self._applied.get(pool.provider, {}):
            self._applied[pool.provider] = pool.plan.changes
            self.quotas.changed(pool.provider, self._forms.settings(pool.provider, pool.plan.changes))
        for member in self._members.all():
            if member.wants(KEPT):
                member.push(KEPT, self.table.plans())
        self._hands.follow(pool)

    async def _reach(self, pool: Pool, enough: Callable[[], bool], wait: float | None) -> None:
        try:
            await self._hands.reached(pool, enough, wait)
        except TimeoutError:
            raise self._not_ready(pool, wait) from None

    def _not_ready(self, pool: Pool, wait: float | None) -> PoolNotReady:
        options = self._options(pool)
        room = {"num_cpus": options.num_cpus, "num_gpus": options.num_gpus, **options.resources}
        asked = ", ".join(f"{name}={amount:g}" for name, amount in room.items() if amount)
        draining = sum(actor.state == "draining" for actor in pool.actors.values())
        return PoolNotReady(
            f"after {wait:g} s {len(pool.ready)} of {pool.plan.size} actors of {pool.provider!r} take calls, "
            f"{len(pool.starting)} are being started and {draining} end their streams; that goes on. An "
            f"actor starts when the cluster has room for it ({asked or 'any will do'}): `ray status` tells"
        )

    async def _pool(self, provider: str) -> Pool:
        if provider not in self._providers.endpoints:
            known = ", ".join(sorted(self._providers.endpoints))
            raise UnknownModel(
                f"no provider is called {provider!r}; known are {known}; add one under providers.endpoints"
            )
        await self._found.wait()
        return self.table.of(provider)

    def _ended(self, actor: str) -> None:
        self.quotas.gone(actor)
        self.loads.forget(actor)

    def _options(self, pool: Pool) -> PoolOptions:
        return self._forms.pool(pool.provider, pool.plan.changes)
