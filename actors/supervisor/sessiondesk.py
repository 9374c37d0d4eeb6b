"""Opens, attaches, and ends sessions: the directory's decisions carried out, one session at a time."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from llmgine.actors.bus import BusClient, Event
from llmgine.actors.control import ActorAway, ActorGone, Cluster, ControlOptions, Lanes, StartFailed
from llmgine.actors.sessions import SessionEnded, SessionStarted
from llmgine.actors.supervisor.directory import Directory
from llmgine.actors.supervisor.entries import EndSession, SessionEntry, SessionNotFound
from llmgine.actors.supervisor.hostdesk import HostDesk
from llmgine.actors.supervisor.subscriptiondesk import SubscriptionDesk
from llmgine.actors.supervisor.work import Work
from llmgine.providers import LlmgineError

logger = logging.getLogger(__name__)

# How long a session's start or end event, or the end of its turns, may hold up what follows.
_LAST_WORD = 5.0
# How long a session's own code may take to be loaded.
_ADOPTION = 60.0


class SessionDesk:
    """What the supervisor does for sessions.

    Openings of one id follow each other; an ending waits for no opening but cuts it short.
    """

    def __init__(
        self,
        cluster: Cluster,
        directory: Directory,
        hosts: HostDesk,
        subscriptions: SubscriptionDesk,
        bus: BusClient,
        work: Work,
        options: ControlOptions,
    ) -> None:
        self._cluster = cluster
        self._directory = directory
        self._hosts = hosts
        self._subscriptions = subscriptions
        self._bus = bus
        self._work = work
        self._options = options
        self._lanes = Lanes()
        self._openings: dict[str, asyncio.Task[None]] = {}
        self._endings: dict[str, asyncio.Task[None]] = {}

    async def open(self, driver_id: str, handle: str, spec: dict[str, Any], code: Any) -> dict[str, Any]:
        """Attaches the handle to the session, which is started where it is not open; says where it lives."""
        session_id = spec["session_id"]
        async with self._lanes.of(session_id):
            await self.ended(session_id)
            now = asyncio.get_running_loop().time()
            entry, new = self._directory.attach(spec, driver_id, handle, now=now)
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
        ending = self._work.start(self._end(entry, decision), f"end session {entry.id}")
        self._endings[entry.id] = ending
        ending.add_done_callback(lambda _: self._forget_ending(entry.id, ending))
        return ending

    async def ended(self, session_id: str) -> None:
        """Returns once no ending of that session is under way."""
        ending = self._endings.get(session_id)
        if ending is not None:
            await asyncio.wait({ending})

    def _forget_ending(self, session_id: str, ending: asyncio.Task[None]) -> None:
        if self._endings.get(session_id) is ending:
            del self._endings[session_id]

    async def _start(self, entry: SessionEntry, spec: dict[str, Any], code: Any) -> None:
        opening = self._openings[entry.id] = asyncio.create_task(
            self._bring_up(entry, spec, code), name=f"open session {entry.id}"
        )
        try:
            await asyncio.wait({opening})
        finally:
            del self._openings[entry.id]
            opening.cancel()  # of no effect unless this wait was given up
        if opening.cancelled():
            raise SessionNotFound(f"session {entry.id!r} was ended while it was being opened; open it again")
        opening.result()
        await self._publish(SessionStarted(session_id=entry.id, opening=entry.opening))

    async def _bring_up(self, entry: SessionEntry, spec: dict[str, Any], code: Any) -> None:
        try:
            host = await self._hosts.place(entry.wish())
            try:
                await self._adopt(host, {**spec, "opening": entry.opening}, code)
            except BaseException:
                await self._take_back(entry, host)
                raise
        except BaseException:
            self._directory.ended(entry.id, entry.opening)
            raise
        self._directory.opened(entry.id, entry.opening, host)

    async def _adopt(self, host: str, opening: dict[str, Any], code: Any) -> None:
        try:
            await self._cluster.call(host, "adopt", opening, code, timeout=_ADOPTION)
        except (ActorGone, ActorAway, TimeoutError) as error:
            raise StartFailed(
                f"session {opening['session_id']!r} could not be opened: {error}; does a module of its tools "
                f"end the process or block when it is imported? `ray logs` has the actor's output"
            ) from None

    async def _take_back(self, entry: SessionEntry, host: str) -> None:
        """The actor may have taken the session on all the same, or be busy with it still."""
        if entry.placement == "dedicated":
            await self._hosts.gone(host)
        else:
            self._work.start(self._free(entry, host), f"take session {entry.id} back from {host}")

    async def _free(self, entry: SessionEntry, host: str) -> None:
        try:
            await self._cluster.call(host, "end", entry.id, 0.0, timeout=_ADOPTION)
        except (LlmgineError, TimeoutError) as error:
            logger.warning("session %s may still be in %s, which ends: %s", entry.id, host, error)
            self._hosts.retire(host)
        self._hosts.left(entry.id, host)

    async def _end(self, entry: SessionEntry, decision: EndSession) -> None:
        opening = self._openings.get(entry.id)
        if opening is not None:
            opening.cancel()
            await asyncio.wait({opening})
            if opening.cancelled() or opening.exception() is not None:
                return  # It never was open, and has tidied up after itself.
        try:
            if not decision.lost:
                await self._finish_turns(entry)
            await self._publish(
                SessionEnded(session_id=entry.id, opening=entry.opening, error=decision.error), wait=True
            )
            await self._subscriptions.remove_scope(entry.id)
        finally:
            if entry.actor is not None:
                self._hosts.left(entry.id, entry.actor)
            self._directory.ended(entry.id, entry.opening)

    async def _finish_turns(self, entry: SessionEntry) -> None:
        if entry.actor is None:
            return
        grace = self._options.stop_grace
        try:
            await self._cluster.call(entry.actor, "end", entry.id, grace, timeout=grace + _LAST_WORD)
        except Exception as error:
            logger.warning("session %s did not end by itself: %s", entry.id, error)
            self._hosts.retire(entry.actor)

    async def _publish(self, event: Event, *, wait: bool = False) -> None:
        """Publishes; a bus that cannot take it now, or a slow handler, holds up no session for long."""
        try:
            async with asyncio.timeout(_LAST_WORD):
                await self._bus.publish(event, wait=wait)
        except (TimeoutError, LlmgineError) as error:
            logger.warning("%r is not handled yet: %s", event, error or "its time is up")
