"""The one table of subscriptions, and how routers and processes hear of it, over every death of its keeper.

Control calls arrive in order per router, each in its own time; who asked and heard nothing asks the next life
again. That learns the table from the routers, and the durable subscriptions from the store: until it has
both, routers do not read the journal. Where every process dies, the store alone is left; short of that one
router outlives the supervisor, for what all of them have forgotten nobody remembers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmgine.actors.bus.errors import RegistrationRefused
from llmgine.actors.bus.subscriptions import SubscriptionRecord, SubscriptionTable
from llmgine.actors.store.ledger import Ledger
from llmgine.actors.store.operations import DropSubscription, PutSubscription
from tests.simulation.scheduler import FOREVER, Mortal

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.router import RouterHost
    from tests.simulation.world import World


class Life:
    """One life of the supervisor: what it has begun ends with it."""

    def __init__(self) -> None:
        self.alive = True


# No life changes the table so often.
_PER_LIFE = 1 << 20


class Call:
    """What a process has asked for and not been answered."""

    def __init__(self, owner: Mortal, act: Callable[[Call], None], reply: Callable[[Any], None]) -> None:
        self.owner = owner
        self.act = act
        self.reply = reply


class Supervisor:
    """Owns the table; a process's subscriptions go when its lease has ended."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.table = SubscriptionTable()
        self._lives = itertools.count()
        self._calls: dict[Call, None] = {}
        self._numbers = itertools.count(1)
        # Until when pushes of the last life arrive.
        self.cut = 0.0
        self._begin()

    def _begin(self) -> None:
        """A life without any memory."""
        self.life = Life()
        self.complete = self.restored = False
        self.table = SubscriptionTable()
        self.table.outlive(next(self._lives) * _PER_LIFE)
        self._writer = self.world.store.writer(self.life)
        self._arrivals: dict[RouterHost, float] = {}
        # Filters of the whole bus by number, each with the process that it goes with.
        self._filters: dict[int, tuple[str, dict[str, Any]]] = {}

    def start(self) -> None:
        """All routers are there; what the store holds comes before any routes anew, if it comes soon."""
        self.world.store.read(self.life, self._restore)
        patience = self.world.scheduler.random.choice((0.0, 0.05, 0.2))
        self._later(self.world.scheduler.now + patience, self._complete)

    def _complete(self) -> None:
        """Every router may route, and calls are answered."""
        if self.complete:
            return
        self.complete = True
        for name, record in self.world.account.records.items():
            if self.table.find(record) is None:
                # Only the store knows of it: what is published before it can be read does not reach it.
                self.world.account.out_of_sight(name)
        for router in self.world.routers:
            self.introduce(router)
        self._later(max(self._arrivals.values(), default=0.0), self._in_force, list(self.table))
        for call in list(self._calls):
            call.act(call)

    def _restore(self, rows: Ledger) -> None:
        added = []
        for row in rows.subscriptions.values():
            record = SubscriptionRecord.from_wire(row)
            if self.table.find(record) is None:
                added.append(self.table.add(record).subscription)
                self.world.account.subscribed(added[-1])
        self.restored = True
        if not self.complete:
            self._complete()
            return
        applied = self._push("add", [one.to_wire() for one in added])
        self._push("restored", None)
        self._later(applied, self._in_force, added)

    def _in_force(self, records: list[SubscriptionRecord]) -> None:
        for record in records:
            self.world.account.in_force(record)

    # Deaths

    def die(self) -> None:
        """What it was about to tell somebody, some have heard and some will never hear."""
        self.life.alive = False
        self.complete = self.restored = False
        # Pushes end at one moment: those that would arrive later were never sent.
        self.cut = self.world.scheduler.now + self.world.scheduler.between(0, 0.005)

    def restart(self) -> None:
        """It learns what the routers know; of those that had died as well there is nothing to learn."""
        former = {record.number: record for record in self.table}
        gates = list(self._filters)
        self._begin()
        for router in self.world.routers:
            if router.alive:
                self._learn(router)
        for number in gates:
            if number not in self._filters:
                self.world.gates.lost(number)
        kept = self.world.store.rows.subscriptions
        for number, record in former.items():
            if self.table.get(number) is None and record.key_text not in kept:
                self.world.account.unsubscribed(record)
        for record in self.table:
            if record.number not in former:
                self.world.account.subscribed(record)
        owners = {(record.client, record.epoch) for record in self.table if not record.members}
        owners.update(life for record in self.table for life in record.lives.items())
        for name, epoch in sorted(owners | {_owner(life) for life, _ in self._filters.values()}):
            process = self.world.processes[name]
            if process.epoch != epoch or not process.alive:
                self._expect(name, epoch)
        self.start()

    def _learn(self, router: RouterHost) -> None:
        for wire in router.core.snapshot():
            self.table.put(SubscriptionRecord.from_wire(wire))
        for number, life, wire in router.core.filters():
            self._filters[number] = (life, wire)

    def begin_anew(self) -> None:
        """Every process died: what was durable comes back from the store, and nobody serves it yet."""
        self.life.alive = False
        former = list(self.table)
        for number in self._filters:
            self.world.gates.lost(number)
        self._begin()
        self._calls.clear()
        kept = self.world.store.rows.subscriptions
        for record in former:
            if not record.durable or record.key_text not in kept:
                self.world.account.unsubscribed(record)
        self.start()

    # Routers

    def introduce(self, router: RouterHost) -> None:
        """A router that has started gets the whole table."""
        if self.complete and router.alive:
            self._tell(router, "load", (self.table.snapshot(), self._filters_wire()))
            if self.restored:
                self._tell(router, "restored", None)

    def _push(self, what: str, body: Any) -> float:
        """When all have applied it."""
        routers = [router for router in self.world.routers if router.alive]
        return max((self._tell(router, what, body) for router in routers), default=self.world.scheduler.now)

    def _tell(self, router: RouterHost, what: str, body: Any) -> float:
        scheduler = self.world.scheduler
        # A little apart, for what happens at one instant happens in any order.
        at = max(self._arrivals.get(router, 0.0) + 1e-9, scheduler.now + scheduler.between(0.0005, 0.01))
        self._arrivals[router] = at
        scheduler.after(at - scheduler.now, router, self._arrive, self.life, router, what, body)
        return at

    def _arrive(self, life: Life, router: RouterHost, what: str, body: Any) -> None:
        if life.alive or (life is self.life and self.world.scheduler.now <= self.cut):
            router.told(what, body)

    def _later(self, at: float, act: Callable[..., None], *arguments: Any) -> None:
        """Unless it dies before."""
        self.world.scheduler.after(max(0.0, at - self.world.scheduler.now), self.life, act, *arguments)

    # Calls

    def _ask(self, owner: Mortal, act: Callable[[Call], None], reply: Callable[[Any], None]) -> None:
        call = Call(owner, act, reply)
        self._calls[call] = None
        if self.complete:
            act(call)

    def _answer(self, call: Call, value: Any) -> None:
        if self._calls.pop(call, call) is None and call.owner.alive:
            call.reply(value)

    def _answer_at(self, at: float, call: Call, value: Any = None) -> None:
        self._later(at + self.world.scheduler.between(0.0005, 0.005), self._answer, call, value)

    # Processes

    def subscribe(self, process: Process, record: SubscriptionRecord, reply: Callable[[Any], None]) -> None:
        """A durable subscription is in the store before anybody hears of it."""

        def act(call: Call) -> None:
            if record.durable:
                row = PutSubscription(record.key_text, replace(record, lives={}).to_wire())
                self._writer.write([row], lambda: self._add(call, record))
            else:
                self._add(call, record)

        self._ask(process, act, reply)

    def _add(self, call: Call, record: SubscriptionRecord) -> None:
        if not call.owner.alive:
            return
        applied = self.world.scheduler.now
        try:
            known, former = self.table.add(record)
        except RegistrationRefused as refusal:
            raise AssertionError(f"the simulation registers what is refused: {refusal}") from refusal
        if known is not former:
            applied = self._push("add", [known.to_wire()])
            self.world.account.subscribed(known)
            self._later(applied, self.world.account.in_force, known)
        self._answer_at(applied, call, known)

    def unsubscribe(self, process: Process, number: int, reply: Callable[[], None]) -> None:
        """A durable one is out of the store before it counts as gone."""
        owner = (process.name, process.epoch)

        def act(call: Call) -> None:
            record = self.table.get(number)
            if record is None or not record.durable or record.owner != owner:
                self._later(self.world.scheduler.now, self._remove, call, number, owner)
            else:
                drop = DropSubscription(record.key_text)
                self._writer.write([drop], lambda: self._remove(call, number, owner))

        self._ask(process, act, lambda value: reply())

    def _remove(self, call: Call, number: int, owner: tuple[str, int]) -> None:
        gone = self.table.remove(number, owner)
        self._answer_at(self._gone([gone] if gone is not None else []), call)

    # Filters of the whole bus

    def add_filter(self, process: Process, wire: dict[str, Any], reply: Callable[[], None]) -> int:
        number = next(self._numbers)

        def act(call: Call) -> None:
            if not process.alive:
                self._calls.pop(call)
                self.world.gates.lost(number)
                return
            self._filters[number] = (process.life, wire)
            self._answer_at(self._push("filters", self._filters_wire()), call)

        self._ask(FOREVER, act, lambda value: reply())
        return number

    def remove_filter(self, number: int, reply: Callable[[], None]) -> None:
        def act(call: Call) -> None:
            self._filters.pop(number, None)
            self._answer_at(self._push("filters", self._filters_wire()), call)

        self._ask(FOREVER, act, lambda value: reply())

    def _filters_wire(self) -> list[list[Any]]:
        return [[number, life, wire] for number, (life, wire) in self._filters.items()]

    def _forget_filters(self, life: str) -> None:
        forgotten = [number for number, (owner, _) in self._filters.items() if owner == life]
        for number in forgotten:
            del self._filters[number]
            self.world.gates.lost(number)
        if forgotten:
            self._push("filters", self._filters_wire())

    # Ends

    def died(self, process: Process) -> None:
        if self.life.alive:
            self._expect(process.name, process.epoch)

    def _expect(self, name: str, epoch: int) -> None:
        lease = self.world.plan.options.client_lease
        self._later(self.world.scheduler.now + lease, self._expire, name, epoch)

    def _expire(self, name: str, epoch: int) -> None:
        gone = []
        for record in list(self.table):
            if record.client == name and record.epoch <= epoch and not record.durable:
                self.table.remove(record.number)
                gone.append(record)
        self._gone(gone)
        for record in self.table.leave(name, epoch):
            self._push("add", [record.to_wire()])
        self._forget_filters(f"{name}.{epoch}")

    def _gone(self, records: list[SubscriptionRecord]) -> float:
        """When all have applied it."""
        if not records:
            return self.world.scheduler.now
        for record in records:
            self.world.account.unsubscribed(record)
        return self._push("remove", [record.number for record in records])


def _owner(life: str) -> tuple[str, int]:
    name, _, epoch = life.partition(".")
    return name, int(epoch)
