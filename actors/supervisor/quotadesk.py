"""Shares out the limits of providers' keys to the actors that use them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import astuple
from typing import Any

from llmgine.actors.control import names
from llmgine.actors.pools import PoolsOptions
from llmgine.actors.pools.quota.messages import QUOTA, Ask
from llmgine.actors.pools.quota.meters import day_of
from llmgine.actors.pools.quota.options import QuotaOptions
from llmgine.actors.pools.quota.owner import QuotaOwner
from llmgine.actors.pools.quota.plan import Plan
from llmgine.actors.pools.quota.spending import Cost
from llmgine.actors.store import StoreClient
from llmgine.actors.store.awaited import read_once_there
from llmgine.actors.store.operations import KeepNote
from llmgine.actors.supervisor.members import Member
from llmgine.actors.supervisor.work import Work
from llmgine.providers.options import EndpointOptions, ProvidersOptions

_DAY_NS = 86_400 * 1_000_000_000


class QuotaDesk:
    """The owners of the quotas, one for each pool. An ask that cannot be answered yet is answered later."""

    def __init__(self, work: Work, settings: dict[str, Any], clock: Callable[[], float]) -> None:
        self._work = work
        self._settings = settings
        self._changed: dict[str, dict[str, Any]] = {}
        self._clock = clock
        self._epoch = time.time() - clock()
        self._store: StoreClient | None = None
        self._owners: dict[str, QuotaOwner] = {}
        self._costs: dict[str, _Costs] = {}
        self._reports: list[Ask] | None = []
        self._held: dict[str, tuple[Member, list[Any]]] = {}  # the latest ask of each actor

    def keep_in(self, store: StoreClient) -> None:
        """Where the costs of the day are kept."""
        self._store = store

    def heard(self, report: dict[str, Any]) -> None:
        """A provider actor reports itself; a restarted supervisor goes on from what all of them say."""
        if self._reports is not None:
            self._reports.append(Ask.from_wire(report["quota"]))

    def begin(self) -> None:
        """All actors that live have reported themselves, as far as they will soon."""
        reports, self._reports = self._reports or [], None
        by_pool: dict[str, list[Ask]] = {}
        for ask in reports:
            by_pool.setdefault(_pool_of(ask), []).append(ask)
        for pool, asks in by_pool.items():
            self._owner(pool).restore(asks, self._clock())
        self._answer_held()

    def asked(self, member: Member, body: list[Any]) -> None:
        """An actor tells what it has and wants, and is told what it may use."""
        ask = Ask.from_wire(body)
        pool = _pool_of(ask)
        owner = None if self._reports is not None else self._owner(pool)
        costs = self._costs.get(pool)
        if owner is None or (costs is not None and not costs.known):
            self._held[ask.actor] = (member, body)
            return
        member.push(QUOTA, owner.ask(ask, self._clock()).to_wire())
        if costs is not None:
            costs.keep()

    def gone(self, actor: str) -> None:
        """The actor will not come back."""
        owner = self._owners.get(names.parse_provider(actor)[0])
        if owner is not None:
            owner.gone(actor, self._clock())

    def changed(self, pool: str, settings: dict[str, Any]) -> None:
        """The pool has other settings than at the launch: their limits hold from now on."""
        self._changed[pool] = settings
        owner = self._owners.get(pool)
        if owner is not None:
            plan, options = self._plan(pool)
            owner.change(plan.settings, lease=options.lease, trial=float(options.trial))
            self._count_dollars(pool, plan, owner)

    def usable(self, pool: str) -> float | None:
        """How many calls at once the limits of a pool's keys allow; None for any number."""
        owner = self._owners.get(pool)
        return None if owner is None else owner.usable(self._clock())

    def statistics(self, pool: str) -> dict[str, Any]:
        """Each limit of each key, and what is used of it; plain values."""
        owner = self._owners.get(pool)
        return {} if owner is None else owner.statistics(self._clock())

    def _owner(self, pool: str) -> QuotaOwner:
        owner = self._owners.get(pool)
        if owner is None:
            plan, options = self._plan(pool)
            owner = self._owners[pool] = QuotaOwner(
                plan.settings, lease=options.lease, trial=float(options.trial), epoch=self._epoch
            )
            self._count_dollars(pool, plan, owner)
        return owner

    def _plan(self, pool: str) -> tuple[Plan, QuotaOptions]:
        settings = self._changed.get(pool, self._settings)
        endpoints = ProvidersOptions.model_validate(settings["providers"]).endpoints
        endpoint = endpoints.get(pool, EndpointOptions(kind="scripted"))
        return Plan(endpoint.limits_of_keys), PoolsOptions.model_validate(settings["pools"]).of(pool).quota

    def _count_dollars(self, pool: str, plan: Plan, owner: QuotaOwner) -> None:
        if plan.counts_dollars and pool not in self._costs and self._store is not None:
            costs = self._costs[pool] = _Costs(pool, owner, self._store)
            self._work.start(self._read(costs), f"find what {pool} has cost today")

    async def _read(self, costs: _Costs) -> None:
        await costs.read()
        self._answer_held()

    def _answer_held(self) -> None:
        held, self._held = self._held, {}
        for member, body in held.values():
            self.asked(member, body)


class _Costs:
    """What a pool has cost today, kept in the store."""

    def __init__(self, pool: str, owner: QuotaOwner, store: StoreClient) -> None:
        self.known = False
        self._pool, self._owner, self._store = pool, owner, store
        self._writing = False

    async def read(self) -> None:
        day = day_of(0.0, time.time())
        kept = await read_once_there(
            f"what {self._pool} has cost today", lambda: self._store.note(self._name(day))
        )
        self._owner.spending.begin(day)
        self._owner.spending.restore(Cost(*one) for one in json.loads(kept or b"[]"))
        self.known = True

    def keep(self) -> None:
        """Writes what has changed; while that is under way, what changes waits for it."""
        spending = self._owner.spending
        if self._writing or not spending.changed:
            return
        spending.changed = False
        self._writing = True
        body = json.dumps([astuple(cost) for cost in spending.costs()]).encode()
        note = KeepNote(self._name(spending.day), body, (spending.day + 2) * _DAY_NS)
        self._store.write_soon([note], self._written, lambda error: self._written())

    def _written(self) -> None:
        self._writing = False
        self.keep()

    def _name(self, day: int) -> str:
        return f"costs/{self._pool}/{day}"


def _pool_of(ask: Ask) -> str:
    return names.parse_provider(ask.actor)[0]
