"""Invariants that are read off the cores' own state, some after every step and the rest every few."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.account import Fact
    from tests.simulation.world import World

_EVERY = 50


class Checks:
    def __init__(self, world: World) -> None:
        self.world = world
        self._turn = 0

    def step(self) -> None:
        """After each step: cheap ones; every few steps one router is looked at from top to bottom."""
        self._turn += 1
        if self._turn % _EVERY == 0:
            shard = self._turn // _EVERY % self.world.plan.shards
            self._router(shard)
            self._bounds(shard)

    def _router(self, shard: int) -> None:
        router = self.world.routers[shard]
        if not router.alive:
            return
        try:
            router.core.validate()
        except AssertionError as error:
            raise self.world.account.violation(5, f"{router.name}: {error}") from error

    def _bounds(self, shard: int) -> None:
        """Invariant 6: what is kept never exceeds what the options allow."""
        world = self.world
        options = world.plan.options
        for process in world.processes.values():
            if not process.alive:
                continue
            outbox = process.ends[shard].outbox
            if outbox.bytes > options.outbox_bytes + 2_000:
                raise world.account.violation(6, f"{process.life} keeps {outbox.bytes} bytes")
            for line in outbox.lines.values():
                if line.sent - line.floor + 1 > options.max_unsettled or line.unadmitted > options.max_unadmitted:
                    raise world.account.violation(6, f"{process.life} has too much under way in {line.session}")
                if line.unadmitted < 0:
                    raise world.account.violation(6, f"{process.life} counts {line.unadmitted} under way")
        if len(world.routers[shard].core._state.clients) > 8:
            raise world.account.violation(6, f"router {shard} keeps dead clients")

    def end(self) -> None:
        """At rest: nothing that was promised is missing."""
        world = self.world
        for shard in range(world.plan.shards):
            self._router(shard)
        for fact in world.account.facts.values():
            self._kept(fact)
        for key, busy in world.account.busy.items():
            process = world.processes[key[0]]
            if process.epoch == key[1] and busy:
                raise world.account.violation(8, f"{key} still takes {busy} places at rest", handler=key[2])

    def _kept(self, fact: Fact) -> None:
        """Invariant 1, and that each handler's copy is handled or accounted for."""
        world = self.world
        if fact.producer is None:
            return
        if fact.producer.alive and not fact.settled and fact.answer is None:
            raise world.account.violation(7, f"{fact.text} was never settled", fact)
        if not fact.acknowledged or fact.command:
            return
        refused = {name for name, _ in fact.refused}
        if "" in refused or "" in fact.runs:
            # The router took none of it: too deep, or the store was away.
            return
        for name in fact.subscribers:
            if name in refused or self._accounted(fact, name):
                continue
            raise world.account.violation(1, f"{fact.text} never reached {name}", fact)

    def _accounted(self, fact: Fact, name: str) -> bool:
        world = self.world
        run = fact.runs.get(name)
        if run is not None and (run.done or run.final):
            return True
        record = world.account.records.get(name)
        if record is None or world.account.since.get(name, 1 << 60) > fact.step:
            return True
        if record.durable:
            return False
        return record.overflow in ("drop_oldest", "coalesce") or world.may_be_lost(fact)
