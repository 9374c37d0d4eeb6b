"""The bus in one session's scope."""

from __future__ import annotations

import asyncio
import logging
from typing import TypeVar, Unpack

from llmgine.actors.bus import (
    BusClient,
    Command,
    CommandOptions,
    CommandResult,
    Event,
    EventOptions,
    InvalidOption,
    Receipt,
    Subscription,
)
from llmgine.actors.sessions.messages import in_scope
from llmgine.runtime.checks import C, E, Handler, M, R, checked, checked_deadline
from llmgine.runtime.schedules import ScheduledEvent, ScheduleOptions, Schedules

Given = TypeVar("Given", EventOptions, CommandOptions)

logger = logging.getLogger(__name__)


class ScopedBus:
    """As `runtime.bus`, for one session; what is registered through it can be removed together."""

    def __init__(self, client: BusClient, schedules: Schedules, session_id: str) -> None:
        self._client = client
        self._schedules = schedules
        self._session_id = session_id
        self._registered: list[Subscription] = []

    async def register_event_handler(
        self, event: type[E], handler: Handler, **options: Unpack[EventOptions]
    ) -> Subscription:
        return self._kept(await self._client.register_event_handler(event, handler, **self._here(options)))

    async def register_command_handler(
        self, command: type[C], handler: Handler, **options: Unpack[CommandOptions]
    ) -> Subscription:
        return self._kept(
            await self._client.register_command_handler(command, handler, **self._here(options))
        )

    async def publish(self, event: Event, wait: bool = False) -> Receipt:
        return await self._client.publish(self._scoped(checked(event, "publish")), wait)

    async def execute(
        self, command: Command[R], *, durable: bool = False, deadline: float | None = None
    ) -> CommandResult[R]:
        scoped = self._scoped(checked(command, "execute"))
        return await self._client.execute(scoped, durable=durable, deadline=checked_deadline(deadline))

    async def schedule(self, event: Event, **when: Unpack[ScheduleOptions]) -> ScheduledEvent:
        return await self._schedules.schedule(self._scoped(checked(event, "schedule")), **when)

    async def remove_all(self) -> None:
        """Removes every handler that was registered here; the others of the session stay."""
        registered, self._registered = self._registered, []
        ends = await asyncio.gather(*(one.remove() for one in registered), return_exceptions=True)
        for subscription, end in zip(registered, ends, strict=True):
            if isinstance(end, BaseException):
                logger.warning("%r stays until its session ends: %s", subscription, end)

    def _kept(self, subscription: Subscription) -> Subscription:
        self._registered = [one for one in self._registered if one.active]
        self._registered.append(subscription)
        return subscription

    def _here(self, options: Given) -> Given:
        if "session_id" in options:
            raise InvalidOption("the session names itself: leave `session_id` out")
        options["session_id"] = self._session_id
        return options

    def _scoped(self, message: M) -> M:
        return in_scope(message, self._session_id)
