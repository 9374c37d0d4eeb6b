"""Keeps the table of subscriptions and the bus's filters; routers know before a change counts as made."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, Protocol

from llmgine.actors.bus import Event, RegistrationRefused, SubscriptionRecord, SubscriptionTable
from llmgine.actors.bus.messages import LINEAGE_SEPARATOR, lineage
from llmgine.actors.control import Lanes
from llmgine.actors.sessions.hosting.listeners import LISTENED, TABLE
from llmgine.actors.store import StoreError
from llmgine.actors.store.awaited import read_once_there
from llmgine.actors.store.operations import DropSubscription, Operation, PutSubscription
from llmgine.actors.supervisor.members import Member, Members
from llmgine.providers.errors import LlmgineError

logger = logging.getLogger(__name__)

_PUSH = "subscriptions"


class SubscriptionStore(Protocol):
    """Where durable subscriptions outlive every process."""

    async def write(self, operations: Sequence[Operation]) -> None: ...

    def write_soon(
        self,
        operations: Sequence[Operation],
        on_done: Callable[[], None],
        on_failed: Callable[[StoreError], None],
    ) -> None: ...

    async def subscriptions(self) -> list[dict[str, Any]]: ...


class SubscriptionDesk:
    """What the supervisor does for the bus.

    A router that is away routes nothing, and comes back to a snapshot: it need not be waited for. A
    durable subscription is in the store before it counts as made, and out of it before it counts as gone.
    """

    def __init__(self, members: Members, store: SubscriptionStore) -> None:
        self._members = members
        self._store = store
        self._table = SubscriptionTable()
        self._lanes = Lanes()
        # Every router that there was has told what it knows: until then none may route by the others' part.
        self._complete = False
        # Until then routers must not take a handler of the journal's for one that was removed.
        self._restored = False
        # Filters of the whole bus by number, each with the client that it goes with.
        self._filters: dict[int, tuple[str, dict[str, Any]]] = {}
        self._numbers = itertools.count(1)
        # By wire name, the scopes in which events are heard that are published only then.
        self._listened: dict[str, list[str]] = {event.__wire_name__: [] for event in LISTENED}

    def router_joined(self, member: Member, *, recovering: bool) -> None:
        """A restarted supervisor learns the table from its routers, a restarted router from it."""
        if recovering:
            for wire in member.report.get("subscriptions", ()):
                self._table.put(SubscriptionRecord.from_wire(wire))
            for number, client, wire in member.report.get("filters", ()):
                self._filters[number] = (client, wire)
            self._numbers = itertools.count(max(self._filters, default=0) + 1)
        if self._complete:
            member.push(_PUSH, self._whole())

    def outlive(self, epoch: int) -> None:
        """It was kept before this life, which began then, in nanoseconds."""
        # No life changes it a million times a second.
        self._table.outlive(epoch // 1000)

    def joined(self, member: Member) -> None:
        """A process that asks before it publishes is told of whom there is."""
        if member.wants(TABLE):
            member.push(TABLE, self._listened)

    async def _tell_listeners(self) -> None:
        """Those that publish some events only for somebody hear of it when there is somebody, or no more."""
        scopes = {event.__wire_name__: self._table.scopes_of(event.__wire_name__) for event in LISTENED}
        if scopes != self._listened:
            self._listened = scopes
            await self._members.push(TABLE, scopes)

    async def complete(self) -> None:
        """All routers have joined: each hears of what the others knew, and may route."""
        self._complete = True
        await self._members.push(_PUSH, self._whole())
        await self._tell_listeners()

    def _whole(self) -> dict[str, Any]:
        return {
            "snapshot": self._table.snapshot(),
            "filters": self._filters_wire(),
            "restored": self._restored,
        }

    async def restore(self) -> None:
        """Brings back the durable subscriptions that the store holds, as soon as it can be read."""
        kept = await read_once_there("what subscriptions are durable", self._store.subscriptions)
        added = []
        for wire in kept:
            try:
                record = SubscriptionRecord.from_wire(wire)
                if self._table.find(record) is None:
                    added.append(self._table.add(record).subscription)
            except LlmgineError as error:
                logger.error("the durable subscription %s is left out: %s", wire.get("name"), error)
        self._restored = True
        await self._members.push(_PUSH, {"add": [one.to_wire() for one in added], "restored": True})
        await self._tell_listeners()

    async def add(self, record: dict[str, Any]) -> int:
        wanted = SubscriptionRecord.from_wire(record)
        if wanted.durable or self._is_kept(wanted):
            async with self._lanes.of(f"{wanted.session}\x1f{wanted.wire_name}"):
                return await self._add_durable(wanted)
        return await self._tell_added(wanted)

    async def _add_durable(self, wanted: SubscriptionRecord) -> int:
        self._table.check(wanted)
        if not wanted.durable:
            await self._store.write([DropSubscription(wanted.key_text)])
            return await self._tell_added(wanted)
        try:
            await self._store.write([PutSubscription(wanted.key_text, replace(wanted, lives={}).to_wire())])
            return await self._tell_added(wanted)
        except (StoreError, RegistrationRefused):
            # It may be written yet, or one that is not durable was faster: this comes behind it.
            if not self._is_kept(wanted):
                self._store.write_soon([DropSubscription(wanted.key_text)], _nothing, _undone)
            raise

    async def _tell_added(self, wanted: SubscriptionRecord) -> int:
        registered = self._table.add(wanted).subscription
        await self._members.push(_PUSH, {"add": [registered.to_wire()]})
        await self._tell_listeners()
        return registered.number

    def _is_kept(self, wanted: SubscriptionRecord) -> bool:
        found = self._table.find(wanted)
        return found is not None and found.durable

    async def remove(self, number: int, owner: tuple[str, int] | None = None) -> None:
        subscription = self._table.get(number)
        if subscription is not None and subscription.durable and owner in (None, subscription.owner):
            await self._store.write([DropSubscription(subscription.key_text)])
        await self._removed([self._table.remove(number, owner)])

    async def remove_scope(self, session: str) -> None:
        """Every handler of a session that has ended, durable ones too."""
        gone = self._table.remove_scope(session)
        kept = [DropSubscription(one.key_text) for one in gone if one.durable]
        await self._removed(gone)
        if kept:
            await self._store.write(kept)

    def hears(self, session: str, event_class: type[Event]) -> bool:
        """Whether a handler of the session's own is registered for such events."""
        names = lineage(event_class).split(LINEAGE_SEPARATOR)
        return any(one.wakes and one.wire_name in names for one in self._table.scope(session))

    async def remove_client(self, client: str) -> None:
        """Every handler and filter of a process that will not come back, but its durable handlers."""
        await self._removed(self._table.remove_client(client))
        forgotten = [number for number, (owner, _) in self._filters.items() if owner == client]
        for number in forgotten:
            del self._filters[number]
        if forgotten:
            await self._tell_filters()

    async def remove_deployment(self, name: str, but: frozenset[int]) -> None:
        """Every handler of a deployment, durable ones too, but these."""
        held = [one for one in self._table if one.members and one.client == name and one.number not in but]
        for subscription in held:
            await self.remove(subscription.number)

    async def remove_member(self, client: str) -> None:
        """A replica of a deployment will not come back; what it served, others go on with."""
        changed = self._table.leave(client)
        if changed:
            await self._members.push(_PUSH, {"add": [one.to_wire() for one in changed]})

    def clients(self) -> set[str]:
        """Every process that has registered a handler or a filter."""
        owners = {owner for owner, _ in self._filters.values()}
        return owners | {record.client for record in self._table if not record.members}

    async def add_filter(self, client: str, wire: dict[str, Any]) -> int:
        """A filter that every event must pass; it goes with its client."""
        number = next(self._numbers)
        self._filters[number] = (client, wire)
        await self._tell_filters()
        return number

    async def remove_filter(self, number: int) -> None:
        if self._filters.pop(number, None) is not None:
            await self._tell_filters()

    def statistics(self) -> dict[str, Any]:
        return asdict(self._table.statistics())

    async def _tell_filters(self) -> None:
        await self._members.push(_PUSH, {"filters": self._filters_wire()})

    def _filters_wire(self) -> list[list[Any]]:
        return [[number, client, wire] for number, (client, wire) in self._filters.items()]

    async def _removed(self, removed: Sequence[SubscriptionRecord | None]) -> None:
        numbers = [subscription.number for subscription in removed if subscription is not None]
        if numbers:
            await self._members.push(_PUSH, {"remove": numbers})
            await self._tell_listeners()


def _nothing() -> None:
    """What was undone in the background needs no answer."""


def _undone(error: StoreError) -> None:
    logger.warning("a refused durable subscription may come back at the next launch: %s", error)
