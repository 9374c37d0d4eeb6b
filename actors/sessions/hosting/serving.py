"""Serves a session's own handlers on the bus, as one life of that session."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

from llmgine.actors.bus import AllOf, BusClient, Mark, TypeFilter
from llmgine.actors.sessions.hosting.bus import SessionBus
from llmgine.actors.sessions.hosting.handlers import OwnSession, SessionHandler, bound
from llmgine.actors.sessions.messages import SessionPassivated
from llmgine.providers.errors import LlmgineError

logger = logging.getLogger(__name__)


def bus_identity(session_id: str) -> str:
    """Who a session's own handlers are to the bus, in every life; the next one takes over by its epoch."""
    return f"session:{session_id}"


class HandlerService:
    """The handlers of one session, from its opening or waking until it sleeps or ends.

    `connect` makes a client of the bus that is theirs alone: named by `bus_identity`, with the epoch of the
    session's activation and `wakes`.
    """

    def __init__(
        self,
        session_id: str,
        handlers: Iterable[SessionHandler],
        session: OwnSession,
        connect: Callable[[], BusClient],
    ) -> None:
        self._session_id = session_id
        self._handlers = tuple(handlers)
        self._session = session
        self._connect = connect
        self._client: BusClient | None = None

    async def open(self) -> None:
        """Registers each handler: from then on, what has waited for it comes."""
        if not self._handlers:
            return
        client = self._client = self._connect()
        bus = SessionBus(client, self._session_id)
        for handler in self._handlers:
            call = bound(handler, self._session, bus)
            for mark in handler.marks:
                await _register(client, self._session_id, handler.name, mark, call)

    @property
    def idle(self) -> bool:
        """Whether no handler is at work or about to be."""
        if self._client is None:
            return True
        report: dict[str, Any] = self._client.report()
        return not (report["running"] or report["queued"] or report["unsettled"])

    async def close(self, grace: float) -> None:
        """Takes nothing new and lets what runs end; what comes now waits for the session's next life."""
        client, self._client = self._client, None
        if client is None:
            return
        try:
            left = await client.retire(grace)
            if left:
                logger.warning("session %s: %d handlers still ran after %g s", self._session_id, left, grace)
            await client.close(grace)
        except LlmgineError as error:
            logger.warning("the handlers of session %s: %s", self._session_id, error)


async def _register(
    client: BusClient, session_id: str, name: str, mark: Mark, call: Callable[..., Any]
) -> None:
    register: Callable[..., Any] = (
        client.register_command_handler if mark.is_command else client.register_event_handler
    )
    options = {**mark.options, "session_id": session_id, "name": name, "durable": True}
    if issubclass(SessionPassivated, mark.message_class):
        # That it sleeps must not wake it.
        unheard = TypeFilter(exclude=(SessionPassivated,))
        given = options.get("filter")
        options["filter"] = unheard if given is None else AllOf(given, unheard)
    await register(mark.message_class, call, **options)
