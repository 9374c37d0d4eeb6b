"""Serves a session's own handlers on the bus, as one life of that session."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from llmgine.actors.bus import BusClient, Mark
from llmgine.actors.sessions.hosting.bus import SessionBus
from llmgine.actors.sessions.hosting.handlers import OwnSession, SessionHandler, bound
from llmgine.providers.errors import LlmgineError

logger = logging.getLogger(__name__)


def bus_identity(session_id: str) -> str:
    """Who a session's own handlers are to the bus, in every life; the next one takes over by its epoch."""
    return f"session:{session_id}"


class HandlerService:
    """The handlers of one session, from its opening or waking until it sleeps or ends.

    `client` is theirs alone: made with `bus_identity`, the epoch of the session's activation, and `wakes`.
    """

    def __init__(
        self, session_id: str, handlers: Iterable[SessionHandler], session: OwnSession, client: BusClient
    ) -> None:
        self._session_id = session_id
        self._handlers = tuple(handlers)
        self._session = session
        self._client = client

    async def open(self) -> None:
        """Registers each handler: from then on, what has waited for it comes."""
        bus = SessionBus(self._client, self._session_id)
        await self._client.start()
        for handler in self._handlers:
            call = bound(handler, self._session, bus)
            for mark in handler.marks:
                await self._register(handler.name, mark, call)

    async def _register(self, name: str, mark: Mark, call: Callable[..., Any]) -> None:
        client = self._client
        register: Callable[..., Any] = (
            client.register_command_handler if mark.is_command else client.register_event_handler
        )
        options = {**mark.options, "session_id": self._session_id, "name": name, "durable": True}
        await register(mark.message_class, call, **options)

    @property
    def idle(self) -> bool:
        """Whether no handler is at work or about to be."""
        report = self._client.report()
        return not (report["running"] or report["queued"])

    async def close(self, grace: float) -> None:
        """Takes nothing new and lets what runs end; what comes now waits for the session's next life."""
        try:
            left = await self._client.retire(grace)
            if left:
                logger.warning("session %s: %d handlers still ran after %g s", self._session_id, left, grace)
            await self._client.close(grace)
        except LlmgineError as error:
            logger.warning("the handlers of session %s: %s", self._session_id, error)
