"""One life of a router: the real core, with links, clock and store as its shell would give them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llmgine.actors.bus.router.core import RouterCore
from llmgine.actors.bus.router.records import ClientState
from llmgine.actors.store.ledger import Ledger
from tests.simulation.network import Link

if TYPE_CHECKING:
    from tests.simulation.world import World

_TICK = 0.05


class RouterHost:
    """Feeds the core, and sends what it has to say where a link has room."""

    def __init__(self, world: World, shard: int, life: int) -> None:
        self.world = world
        self.shard = shard
        self.life = life
        self.name = f"router{shard}.{life}"
        self.alive = True
        plan = world.plan
        self.core = RouterCore(
            self.name, plan.options, shard=shard, shards=plan.shards, random=world.scheduler.random.random
        )
        self.links: dict[ClientState, Link] = {}
        self.told_table = False
        # Something has changed in the core since it was looked at.
        self.moved = False
        self._writer = world.store.writer(self)
        self._pumping = False
        world.account.watch(self)
        self._tick()
        self._reading = False

    # Clients

    def open(self, link: Link, hello: dict[str, Any], ends: dict[str, Any]) -> None:
        """A client's stream: `ends` learns which state in the core it belongs to."""
        if link.up.deaf:
            return
        client = self.core.attach(hello, self.world.scheduler.now)
        former = self.links.get(client)
        if former is not None:
            former.close_end(above=True)
        self.links[client] = link
        ends["client"] = client
        link.down.on_credit = self.wake
        self.wake()

    def receive(self, link: Link, client: ClientState, message: Any) -> None:
        if not self.alive or self.links.get(client) is not link:
            return
        checks = self.world.checks.breakers
        unmoved = checks.before(client, message)
        self.core.receive(client, message, self.world.scheduler.now)
        checks.after(unmoved)
        self.wake()

    def lost(self, link: Link, client: ClientState | None) -> None:
        if self.alive and client is not None and self.links.get(client) is link:
            del self.links[client]
            self.core.detach(client, self.world.scheduler.now)
            self.wake()

    # The supervisor

    def told(self, what: str, body: Any) -> None:
        now = self.world.scheduler.now
        if what == "load":
            self.told_table = True
            snapshot, filters = body
            # Filters first: nothing is routed before they hold.
            self.core.set_filters(filters, now)
            self.core.load(snapshot, now)
        elif what == "restored":
            # Before that a durable handler might be taken for one that was removed.
            if not self._reading:
                self._reading = True
                self.world.store.read(self, self._recover)
        elif what == "filters":
            self.core.set_filters(body, now)
        elif what == "add":
            self.core.add(body, now)
        else:
            self.core.remove(body, now)
        self.wake()

    # Out

    def wake(self) -> None:
        self.moved = True
        if not self._pumping:
            self._pumping = True
            self.world.scheduler.after(self.world.scheduler.between(0, 0.0003), self, self._pump)

    def _pump(self) -> None:
        self._pumping = False
        core = self.core
        for client in list(core.dirty):
            link = self.links.get(client)
            if link is None:
                continue
            while link.down.is_open:
                message = core.take(client)
                if message is None:
                    break
                link.down.send(message)
        self._write()

    def _write(self) -> None:
        while (due := self.core.next_write()) is not None:
            ticket, batch = due
            self._writer.write(batch, lambda ticket=ticket: self._written(ticket))  # type: ignore[misc]

    def _written(self, ticket: int) -> None:
        self.core.written(ticket, self.world.scheduler.now)
        self.wake()

    # Time and the store

    def _tick(self) -> None:
        scheduler = self.world.scheduler
        self.core.tick(scheduler.now, self.world.wall)
        self.wake()
        due = self.core.next_time()
        delay = _TICK if due is None else min(_TICK, max(0.001, due - scheduler.now))
        scheduler.after(delay, self, self._tick)

    def _recover(self, rows: Ledger) -> None:
        mine = self.world.shard_of
        journal = [row for row in rows.journal.values() if mine(row.session) == self.shard]
        schedules = [row for row in rows.schedules.values() if mine(row.session) == self.shard]
        self.core.recover(journal, schedules, self.world.scheduler.now, self.world.wall)
        self.wake()

    def die(self) -> None:
        self.alive = False
        for link in self.links.values():
            link.close_end(above=True)
        self.links.clear()
