"""What a client needs to register handlers, and what it gives to who does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Protocol

from llmgine.actors.bus.filters import Filter
from llmgine.actors.bus.subscriptions import SubscriptionRecord
from llmgine.actors.link import Connection


class SubscriptionRegistry(Protocol):
    """Who keeps the table of subscriptions; refusals are raised as `RegistrationRefused`."""

    async def subscribe(self, record: dict[str, Any]) -> int: ...

    async def unsubscribe(self, number: int, client: str, epoch: int) -> None: ...

    async def add_filter(self, client: str, filter: dict[str, Any]) -> int: ...

    async def remove_filter(self, number: int) -> None: ...


class RouterPeer(Protocol):
    """Whatever gives a live connection to a router, dialling again after a break."""

    async def connection(self) -> Connection: ...


@dataclass(frozen=True, slots=True)
class Leftover:
    """What a closed client leaves behind: messages whose handlers were not done, calls, handlers cut off."""

    messages: int = 0
    calls: int = 0
    handlers: int = 0

    def __bool__(self) -> bool:
        return bool(self.messages or self.calls or self.handlers)


class Server(Protocol):
    """The client that runs a handler."""

    def serves(self, record: SubscriptionRecord) -> bool: ...

    async def remove(self, record: SubscriptionRecord) -> None: ...

    async def set_filter(self, record: SubscriptionRecord, filter: Filter | None) -> SubscriptionRecord: ...


class Subscription:
    """A registered handler; it receives nothing more once removed."""

    def __init__(self, client: Server, record: SubscriptionRecord) -> None:
        self._client = client
        self.record = record
        # What is asked of the table is asked one after another, each knowing what came of the last.
        self._turn = asyncio.Lock()

    def __repr__(self) -> str:
        record = self.record
        state = "" if self.active else " removed"
        return f"<Subscription {record.name!r} of {record.wire_name} in {record.session!r}{state}>"

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def number(self) -> int:
        return self.record.number

    @property
    def session_id(self) -> str:
        return self.record.session

    @property
    def active(self) -> bool:
        """Whether this process still serves it: not removed, and not taken over by another one."""
        return self._client.serves(self.record)

    async def set_filter(self, filter: Filter | None) -> None:
        """From now on only events that pass the filter reach the handler; None lets all of them.

        Raises `InvalidOption` for a command's handler and for one that this process serves no more.
        """
        async with self._turn:
            self.record = await self._client.set_filter(self.record, filter)

    async def remove(self) -> None:
        """Remove it; does nothing the second time, nor where another process has taken over.

        A durable one goes from the store, too; `StoreError` where that cannot be reached, and it stays.
        """
        async with self._turn:
            await self._client.remove(self.record)


class BusFilter:
    """A filter of the whole bus: an event that does not pass it reaches no handler."""

    def __init__(self, registry: SubscriptionRegistry, number: int, filter: Filter) -> None:
        self._registry = registry
        self._number = number
        self.filter = filter

    def __repr__(self) -> str:
        return f"<BusFilter {self.filter!r}>"

    async def remove(self) -> None:
        """Takes it away; does nothing the second time."""
        await self._registry.remove_filter(self._number)
