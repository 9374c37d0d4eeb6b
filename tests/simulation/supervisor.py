"""The one table of subscriptions, and how routers and processes hear of it; it never fails by itself.

Control calls arrive in order per router and are not lost, but each in its own time. Only where every process
dies does the table begin anew, from the store's durable subscriptions.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from llmgine.actors.bus.errors import RegistrationRefused
from llmgine.actors.bus.subscriptions import SubscriptionRecord, SubscriptionTable
from llmgine.actors.store.operations import DropSubscription, PutSubscription
from tests.simulation.scheduler import FOREVER

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.router import RouterHost
    from tests.simulation.world import World


class Supervisor:
    """Owns the table; a process's subscriptions go when its lease has ended."""

    alive = True

    def __init__(self, world: World) -> None:
        self.world = world
        self.table = SubscriptionTable()
        self._writer = world.store.writer(self)
        self._arrivals: dict[RouterHost, float] = {}
        # Filters of the whole bus by number, each with the process that it goes with.
        self._filters: dict[int, tuple[Process, dict[str, Any]]] = {}
        self._numbers = itertools.count(1)

    # Routers

    def introduce(self, router: RouterHost) -> None:
        """A router that has started gets the whole table."""
        self._tell(router, "load", (self.table.snapshot(), self._filters_wire()))

    def _push(self, what: str, body: Any) -> float:
        """When all have applied it."""
        routers = [router for router in self.world.routers if router.alive]
        return max((self._tell(router, what, body) for router in routers), default=self.world.scheduler.now)

    def _tell(self, router: RouterHost, what: str, body: Any) -> float:
        scheduler = self.world.scheduler
        # A little apart, for what happens at one instant happens in any order.
        at = max(self._arrivals.get(router, 0.0) + 1e-9, scheduler.now + scheduler.between(0.0005, 0.01))
        self._arrivals[router] = at
        scheduler.after(at - scheduler.now, router, router.told, what, body)
        return at

    # Processes

    def subscribe(self, process: Process, record: SubscriptionRecord, reply: Callable[[Any], None]) -> None:
        """A durable subscription is in the store before anybody hears of it."""
        if not record.durable:
            self._add(process, record, reply)
            return
        row = PutSubscription(record.key_text, replace(record, lives={}).to_wire())
        self._writer.write([row], lambda: self._add(process, record, reply))

    def _add(self, process: Process, record: SubscriptionRecord, reply: Callable[[Any], None]) -> None:
        if not process.alive:
            return
        scheduler = self.world.scheduler
        applied = scheduler.now
        try:
            known, former = self.table.add(record)
        except RegistrationRefused as refusal:
            raise AssertionError(f"the simulation registers what is refused: {refusal}") from refusal
        if known is not former:
            applied = self._push("add", [known.to_wire()])
            self.world.account.subscribed(known)
            scheduler.after(applied - scheduler.now, FOREVER, self.world.account.in_force, known)
        delay = applied - scheduler.now + scheduler.between(0.0005, 0.005)
        scheduler.after(delay, process, reply, known)

    def unsubscribe(self, process: Process, number: int, reply: Callable[[], None]) -> None:
        """A durable one is out of the store before it counts as gone."""
        record = self.table.get(number)
        delay = self.world.scheduler.between(0.0005, 0.005)
        if record is None or not record.durable or record.owner != (process.name, process.epoch):
            self.world.scheduler.after(delay, process, self._remove, process, number, reply)
            return
        drop = DropSubscription(record.key_text)
        self._writer.write([drop], lambda: self._remove(process, number, reply))

    def _remove(self, process: Process, number: int, reply: Callable[[], None]) -> None:
        gone = self.table.remove(number, (process.name, process.epoch))
        applied = self._gone([gone] if gone is not None else [])
        self.world.scheduler.after(applied - self.world.scheduler.now, process, reply)

    # Filters of the whole bus

    def add_filter(self, process: Process, wire: dict[str, Any], reply: Callable[[], None]) -> int:
        number = next(self._numbers)
        self._filters[number] = (process, wire)
        self._tell_filters(reply)
        return number

    def remove_filter(self, number: int, reply: Callable[[], None]) -> None:
        self._filters.pop(number, None)
        self._tell_filters(reply)

    def _tell_filters(self, reply: Callable[[], None]) -> None:
        applied = self._push("filters", self._filters_wire())
        self.world.scheduler.after(applied - self.world.scheduler.now, FOREVER, reply)

    def _filters_wire(self) -> list[list[Any]]:
        return [[number, process.name, wire] for number, (process, wire) in self._filters.items()]

    def _forget_filters(self, process: Process) -> None:
        forgotten = [number for number, (owner, _) in self._filters.items() if owner is process]
        for number in forgotten:
            del self._filters[number]
            self.world.gates.lost(number)
        if forgotten:
            self._tell_filters(lambda: None)

    # Ends

    def died(self, process: Process) -> None:
        self.world.scheduler.after(
            self.world.plan.options.client_lease, FOREVER, self._expire, self.table, process
        )

    def _expire(self, table: SubscriptionTable, process: Process) -> None:
        if table is not self.table:
            return
        gone = []
        for record in list(self.table):
            if record.client == process.name and record.epoch <= process.epoch and not record.durable:
                self.table.remove(record.number)
                gone.append(record)
        self._gone(gone)
        for record in self.table.leave(process.name, process.epoch):
            self._push("add", [record.to_wire()])
        self._forget_filters(process)

    def _gone(self, records: list[SubscriptionRecord]) -> float:
        """When all have applied it."""
        if not records:
            return self.world.scheduler.now
        for record in records:
            self.world.account.unsubscribed(record)
        return self._push("remove", [record.number for record in records])

    def begin_anew(self) -> None:
        """Every process died: what was durable comes back from the store, and nobody serves it yet."""
        former, self.table = self.table, SubscriptionTable()
        self._arrivals.clear()
        for number in self._filters:
            self.world.gates.lost(number)
        self._filters.clear()
        kept = self.world.store.rows.subscriptions
        for record in former:
            if not record.durable or record.key_text not in kept:
                self.world.account.unsubscribed(record)
        for row in kept.values():
            known = self.table.add(SubscriptionRecord.from_wire(row)).subscription
            self.world.account.subscribed(known)
            self.world.account.in_force(known)
