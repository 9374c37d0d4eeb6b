"""Keeps the table of subscriptions, and tells every router before a change counts as made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from llmgine.actors.bus import SubscriptionRecord, SubscriptionTable
from llmgine.actors.supervisor.members import Member, Members

_PUSH = "subscriptions"


class SubscriptionDesk:
    """What the supervisor does for the bus.

    A router that is away routes nothing, and comes back to a snapshot: it need not be waited for.
    """

    def __init__(self, members: Members) -> None:
        self._members = members
        self._table = SubscriptionTable()

    def router_joined(self, member: Member, *, recovering: bool) -> None:
        """A restarted supervisor learns the table from its routers, a restarted router from it."""
        if recovering:
            for wire in member.report.get("subscriptions", ()):
                self._table.put(SubscriptionRecord.from_wire(wire))
        member.push(_PUSH, {"snapshot": self._table.snapshot()})

    async def add(self, record: dict[str, Any]) -> int:
        registered = self._table.add(SubscriptionRecord.from_wire(record)).subscription
        await self._members.push(_PUSH, {"add": [registered.to_wire()]})
        return registered.number

    async def remove(self, number: int, owner: tuple[str, int]) -> None:
        await self._removed([self._table.remove(number, owner)])

    async def remove_scope(self, session: str) -> None:
        await self._removed(self._table.remove_scope(session))

    async def remove_client(self, client: str) -> None:
        await self._removed(self._table.remove_client(client))

    def clients(self) -> set[str]:
        """Every process that has registered a handler."""
        return {record.client for record in self._table}

    def statistics(self) -> dict[str, Any]:
        return asdict(self._table.statistics())

    async def _removed(self, removed: Sequence[SubscriptionRecord | None]) -> None:
        numbers = [subscription.number for subscription in removed if subscription is not None]
        if numbers:
            await self._members.push(_PUSH, {"remove": numbers})
