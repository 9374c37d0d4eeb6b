"""The bus as a session's own code sees it: everything in the session's scope."""

from __future__ import annotations

from typing import TypeVar

from llmgine.actors.bus import BusClient, Command, CommandResult, Event, Receipt
from llmgine.actors.sessions.messages import in_scope

R = TypeVar("R")


class SessionBus:
    """What tools and handlers of one session publish and execute through."""

    def __init__(self, client: BusClient, session_id: str) -> None:
        self._client = client
        self._session_id = session_id

    async def publish(self, event: Event, wait: bool = False) -> Receipt:
        return await self._client.publish(in_scope(event, self._session_id), wait)

    async def execute(
        self, command: Command[R], *, durable: bool = False, deadline: float | None = None
    ) -> CommandResult[R]:
        scoped = in_scope(command, self._session_id)
        return await self._client.execute(scoped, durable=durable, deadline=deadline)
