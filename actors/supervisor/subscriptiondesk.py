"""Keeps the table of subscriptions, and tells every router before a change counts as made."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from llmgine.actors.bus import SubscriptionRecord, SubscriptionTable
from llmgine.actors.control import names
from llmgine.actors.supervisor.members import Member, Members

_PUSH = "subscriptions"


class SubscriptionDesk:
    """What the supervisor does for the bus."""

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
        await self._tell({"add": [registered.to_wire()]})
        return registered.number

    async def remove(self, number: int, owner: tuple[str, int]) -> None:
        await self._removed([self._table.remove(number, owner)])

    async def remove_scope(self, session: str) -> None:
        await self._removed(self._table.remove_scope(session))

    async def remove_client(self, client: str) -> None:
        await self._removed(self._table.remove_client(client))

    def statistics(self) -> dict[str, Any]:
        return asdict(self._table.statistics())

    async def _removed(self, removed: list[Any]) -> None:
        numbers = [subscription.number for subscription in removed if subscription is not None]
        if numbers:
            await self._tell({"remove": numbers})

    async def _tell(self, change: dict[str, Any]) -> None:
        await self._members.push(_PUSH, change)
        # A router that is away now comes back to a snapshot that has the change in it.
        await self._members.here([names.router(0)])
