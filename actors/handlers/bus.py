"""The bus as a deployed handler sees it."""

from __future__ import annotations

from typing import TypeVar

from llmgine.actors.bus import BusClient, Command, CommandResult, Event, Receipt

R = TypeVar("R")


class HandlerBus:
    """What the `start` of a deployed class is given where it takes an argument: the way to others."""

    def __init__(self, client: BusClient) -> None:
        self._client = client

    async def publish(self, event: Event, wait: bool = False) -> Receipt:
        """As `runtime.bus.publish`: inside a handler it never waits for room, and may raise Overloaded."""
        return await self._client.publish(event, wait)

    async def execute(
        self, command: Command[R], *, durable: bool = False, deadline: float | None = None
    ) -> CommandResult[R]:
        """As `runtime.bus.execute`: the result says what came of it, and is never raised."""
        return await self._client.execute(command, durable=durable, deadline=deadline)
