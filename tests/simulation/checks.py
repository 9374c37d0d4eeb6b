"""Invariants that are read off the cores' own state, some after every step and the rest every few."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmgine.actors.breaking import Breaker
from llmgine.actors.bus import wire
from llmgine.actors.bus.router.records import ClientState
from tests.simulation.bounds import Bounds

if TYPE_CHECKING:
    from tests.simulation.account import Fact
    from tests.simulation.router import RouterHost
    from tests.simulation.world import World

_EVERY = 50


class Checks:
    def __init__(self, world: World) -> None:
        self.world = world
        self.breakers = BreakerChecks(world)
        self.bounds = Bounds(world)
        self._turn = 0

    def step(self) -> None:
        """After each step: cheap ones; every few steps one router is looked at from top to bottom."""
        self._turn += 1
        for router in self.world.routers:
            if router.moved:
                router.moved = False
                self.bounds.mailboxes(router)
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
        self.breakers.permits(router)

    def _bounds(self, shard: int) -> None:
        router = self.world.routers[shard]
        if router.alive:
            self.bounds.router(router)
        for process in self.world.processes.values():
            if process.alive:
                self.bounds.process(process, shard)

    def end(self) -> None:
        """At rest: nothing that was promised is missing."""
        world = self.world
        for shard in range(world.plan.shards):
            self._router(shard)
            self._bounds(shard)
        for process in world.processes.values():
            process.handling.validate()
        for fact in world.account.facts.values():
            self._kept(fact)
        world.scheduling.check_end()
        world.letters.check_end()
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
        if not fact.acknowledged:
            return
        if fact.command:
            if (
                fact.durable
                and fact.answer is None
                and not any(run.done or run.final for run in fact.runs.values())
            ):
                raise world.account.violation(1, f"durable command {fact.text} was lost", fact)
            return
        refused = {name for name, _ in fact.refused}
        if "" in refused or "" in fact.runs:
            # The router took none of it: too deep, or the store was away.
            return
        if world.gates.may_stop(fact):
            return
        for name in fact.subscribers:
            if name in refused or self._accounted(fact, name):
                continue
            raise world.account.violation(1, f"{fact.text} never reached {name}", fact)

    def _accounted(self, fact: Fact, name: str) -> bool:
        world = self.world
        run = fact.runs.get(name)
        record = world.account.records.get(name)
        if record is None or world.account.since.get(name, 1 << 60) > fact.step:
            return True
        if world.account.unseen(name, fact.step, fact.acknowledged_at):
            return True
        if run is not None and (run.done or run.final):
            # What a durable handler could not do is not forgotten with the router that gave it up.
            over = run.done or run.final == "coalesced"
            durable = record is not None and record.durable and not over
            return not durable or world.letters.kept(fact.text, name)
        if record.durable:
            return False
        return record.overflow in ("drop_oldest", "coalesce") or world.may_be_lost(fact)


class BreakerChecks:
    """Invariant 8 of breakers: trials stay within their permits, and late results change nothing."""

    def __init__(self, world: World) -> None:
        self.world = world

    def permits(self, router: RouterHost) -> None:
        state = router.core._state
        for mailbox in state.mailboxes.values():
            trouble = mailbox.trouble
            if trouble is None or trouble.parked is None:
                continue
            trials = sum(
                entry >= serving.boundary and entry not in serving.untried
                for serving in mailbox.members.values()
                for entry in serving.inflight
            )
            subscription = mailbox.subscription
            allowed = 0
            if trouble.breaker.state == "half_open":
                allowed = max(1, subscription.breaker["permits"] // self.world.plan.shards)
            if trials > allowed:
                text = (
                    f"the breaker of {subscription.name} is {trouble.breaker.state} and lets {trials} through"
                )
                raise self.world.account.violation(8, text, handler=subscription.name)

    def before(self, client: ClientState, message: Any) -> list[tuple[Breaker, int, str]]:
        """Breakers of which every result in this message is too late, and how they stand."""
        results: dict[int, int] = {}
        if message[0] == wire.DONE:
            for number, _, last in message[1]:
                results[number] = max(results.get(number, 0), last)
        elif message[0] == wire.OUTCOME:
            for number, entry, _, _ in message[1]:
                results[number] = max(results.get(number, 0), entry)
        unmoved = []
        for number, newest in results.items():
            serving = client.servings.get(number)
            trouble = serving.mailbox.trouble if serving is not None else None
            if serving is not None and trouble is not None and newest < serving.boundary:
                breaker = trouble.breaker
                unmoved.append((breaker, breaker.generation, serving.mailbox.subscription.name))
        return unmoved

    def after(self, unmoved: list[tuple[Breaker, int, str]]) -> None:
        for breaker, generation, name in unmoved:
            # It may become half-open by being asked, which no result has brought about.
            if breaker.generation != generation and breaker.state != "half_open":
                text = f"a late result has made the breaker of {name} {breaker.state}"
                raise self.world.account.violation(8, text, handler=name)
