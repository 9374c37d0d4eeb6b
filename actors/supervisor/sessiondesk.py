"""Opens, attaches, and ends sessions: the directory's decisions carried out, one session at a time."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from llmgine.actors.bus import BusClient
from llmgine.actors.control import ActorAway, ActorGone, ControlOptions, RuntimeActor
from llmgine.actors.sessions import SessionEnded, SessionStarted
from llmgine.actors.supervisor.children import Children
from llmgine.actors.supervisor.directory import Directory, EndSession, SessionEntry
from llmgine.actors.supervisor.subscriptiondesk import SubscriptionDesk

logger = logging.getLogger(__name__)

# How long an ending waits for the handlers of its own end event.
_LAST_WORD = 5.0


class SessionDesk:
    """What the supervisor does for sessions."""

    def __init__(
        self,
        supervisor: RuntimeActor,
        directory: Directory,
        children: Children,
        subscriptions: SubscriptionDesk,
        bus: BusClient,
        options: ControlOptions,
    ) -> None:
        self._supervisor = supervisor
        self._directory = directory
        self._children = children
        self._subscriptions = subscriptions
        self._bus = bus
        self._options = options
        self._locks: dict[str, asyncio.Lock] = {}
        self._endings: dict[str, asyncio.Task[None]] = {}

    async def open(self, driver_id: str, handle: str, spec: dict[str, Any], code: Any) -> dict[str, Any]:
        """Attaches the handle to the session, which is started where it is not open; says where it lives."""
        session_id = spec["session_id"]
        lock = self._locks.setdefault(session_id, asyncio.Lock())
        async with lock:
            if (ending := self._endings.get(session_id)) is not None:
                await asyncio.shield(ending)
            entry, new = self._directory.attach(
                session_id,
                driver_id,
                handle,
                model=spec["model"],
                stay=spec["stay"],
                fingerprint=spec["fingerprint"],
            )
            if new:
                await self._start(entry, spec, code)
            return self.describe(entry)

    def locate(self, session_id: str) -> dict[str, Any]:
        """Where the session lives; `SessionNotFound` where it is not open."""
        return self.describe(self._directory.session(session_id))

    def describe(self, entry: SessionEntry) -> dict[str, Any]:
        return {
            "session_id": entry.id,
            "opening": entry.opening,
            "actor": entry.actor,
            "model": entry.model,
            "stay": entry.stay,
            "state": entry.state,
            "drivers": len(set(entry.handles.values())),
        }

    def end(self, decision: EndSession) -> asyncio.Task[None]:
        """Carries out an ending; the task is done once nothing of the opening is left."""
        entry = self._directory.sessions[decision.session_id]
        ending = asyncio.create_task(self._end(entry, decision), name=f"end {entry.actor}")
        self._endings[entry.id] = ending
        ending.add_done_callback(lambda _: self._endings.pop(entry.id, None))
        return ending

    async def _start(self, entry: SessionEntry, spec: dict[str, Any], code: Any) -> None:
        try:
            # Not brought back by Ray: an empty process under the session's name would answer as if
            # the conversation had never been.
            await self._children.start(
                entry.actor, "session", num_cpus=self._options.actor_cpus, restarts=False
            )
            opening = {**spec, "opening": entry.opening}
            await self._supervisor.cluster.call(entry.actor, "adopt", opening, code)
        except BaseException:
            self._directory.ended(entry.id, entry.opening)
            await self._children.end(entry.actor, 0.0)
            raise
        self._directory.opened(entry.id)
        await self._bus.publish(SessionStarted(session_id=entry.id, opening=entry.opening))

    async def _end(self, entry: SessionEntry, decision: EndSession) -> None:
        grace = 0.0 if decision.lost else self._options.stop_grace
        try:
            if not decision.lost:
                await self._finish_turns(entry, grace)
            await self._say_ended(entry, decision.error)
            await self._subscriptions.remove_scope(entry.id)
        finally:
            await self._children.end(entry.actor, grace)
            self._directory.ended(entry.id, entry.opening)

    async def _finish_turns(self, entry: SessionEntry, grace: float) -> None:
        try:
            await self._supervisor.cluster.call(entry.actor, "end", grace, timeout=grace + _LAST_WORD)
        except (ActorGone, ActorAway, TimeoutError) as error:
            logger.warning("session %s did not end by itself: %s", entry.id, error)

    async def _say_ended(self, entry: SessionEntry, error: str | None) -> None:
        ended = SessionEnded(session_id=entry.id, opening=entry.opening, error=error)
        try:
            async with asyncio.timeout(_LAST_WORD):
                await self._bus.publish(ended, wait=True)
        except TimeoutError:
            logger.warning("handlers of the end of session %s are still running", entry.id)
