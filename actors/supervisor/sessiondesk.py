"""Opens, attaches, wakes and ends sessions: the directory's decisions carried out, one session at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from llmgine.actors.bus import BusClient, Event
from llmgine.actors.control import ControlOptions, Lanes, SessionNotFound, StartFailed
from llmgine.actors.sessions import (
    SessionEnded,
    SessionLost,
    SessionMoved,
    SessionPassivated,
    SessionStarted,
    SessionWoken,
)
from llmgine.actors.sessions.hosting.code import SessionCode
from llmgine.actors.supervisor.directory import Directory
from llmgine.actors.supervisor.entries import EndSession, SessionEntry
from llmgine.actors.supervisor.lodging import Lodging
from llmgine.actors.supervisor.sessionrecords import SessionRecords, told
from llmgine.actors.supervisor.subscriptiondesk import SubscriptionDesk
from llmgine.actors.supervisor.work import Work
from llmgine.providers import LlmgineError

logger = logging.getLogger(__name__)

# How long a session's start or end event may hold up what follows.
_LAST_WORD = 5.0
# How long a store that is away may hold up a session's end, and how often it is tried.
_WRITTEN_DOWN = 10.0
_AGAIN = 0.2


class SessionDesk:
    """What the supervisor does for sessions.

    Openings and wakes of one id follow each other; an ending waits for none of them but cuts it short.
    """

    def __init__(
        self,
        directory: Directory,
        lodging: Lodging,
        records: SessionRecords,
        subscriptions: SubscriptionDesk,
        bus: BusClient,
        work: Work,
        options: ControlOptions,
    ) -> None:
        self._directory = directory
        self._lodging = lodging
        self._records = records
        self._subscriptions = subscriptions
        self._bus = bus
        self._work = work
        self._options = options
        self._lanes = Lanes()
        self._arrivals: dict[str, asyncio.Task[None]] = {}
        self._endings: dict[str, asyncio.Task[None]] = {}
        # Code that never left this process, for as long as its session is open.
        self._live: dict[str, SessionCode] = {}

    async def open(self, driver_id: str, handle: str, spec: dict[str, Any], code: Any) -> dict[str, Any]:
        """Attaches the handle to the session, which is started where it is not open; says where it lives."""
        session_id = spec["session_id"]
        async with self._lanes.of(session_id):
            await self.ended(session_id)
            now = asyncio.get_running_loop().time()
            stayed = self._stays(session_id)
            entry, new = self._directory.attach(spec, driver_id, handle, now=now)
            if new:
                await self._arrive(entry, self._first(entry, spec, code))
                started = SessionStarted(session_id=entry.id, opening=entry.opening)
                self._work.start(self._publish(started), f"tell of session {entry.id}")
            elif entry.state == "passive":
                await self._wake(entry, "it was opened again")
            if not new and entry.stay and not stayed:
                await self._lodging.stay(entry)
            return self.describe(entry)

    async def wake(self, session_id: str, why: str) -> dict[str, Any]:
        """Where the session lives, which is woken where it sleeps; `SessionNotFound` where it is not open."""
        async with self._lanes.of(session_id):
            await self.ended(session_id)
            entry = self._directory.session(session_id)
            if entry.state == "passive":
                logger.info("session %s is woken: %s", session_id, why)
                await self._wake(entry, why)
            return self.describe(entry)

    @asynccontextmanager
    async def closed(self, session_id: str) -> AsyncIterator[None]:
        """The session is not open, and nobody opens it, for as long as this is held."""
        async with self._lanes.of(session_id):
            for decision in self._directory.close(session_id):
                self.end(decision)
            await self.ended(session_id)
            yield

    def _stays(self, session_id: str) -> bool:
        known = self._directory.sessions.get(session_id)
        return known is not None and known.stay

    def describe(self, entry: SessionEntry) -> dict[str, Any]:
        return {
            "session_id": entry.id,
            "opening": entry.opening,
            "actor": entry.actor,
            "model": entry.model,
            "stay": entry.stay,
            "state": entry.state,
            "placement": entry.placement,
            "drivers": len(set(entry.handles.values())),
        }

    async def rest(self, host: str, session_ids: Iterable[str]) -> None:
        """Lets these sessions of an actor sleep; those that are in use by now go on.

        One that sleeps already was taken on for an earlier life of the supervisor: its actor drops it.
        """
        quiet = [session_id for session_id in session_ids if session_id not in self._lanes]
        async with self._still(quiet):
            resting = [
                entry
                for session_id in quiet
                if (entry := self._directory.sessions.get(session_id)) is not None
                and (entry.state, entry.actor) in (("open", host), ("passive", None))
            ]
            released = await self._lodging.release(host, [entry.id for entry in resting]) if resting else []
            for entry in resting:
                if entry.id in released and entry.state == "open":
                    self._directory.passivated(entry.id, entry.opening)
                    self._tell(SessionPassivated(session_id=entry.id, opening=entry.opening))

    @asynccontextmanager
    async def _still(self, session_ids: Iterable[str]) -> AsyncIterator[None]:
        """Nothing else is done for these sessions meanwhile; an ending waits for nobody."""
        async with AsyncExitStack() as stack:
            for session_id in session_ids:
                await stack.enter_async_context(self._lanes.of(session_id))
            yield

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

    # Coming into an actor.

    async def _arrive(self, entry: SessionEntry, coming: Any) -> None:
        arrival = self._arrivals[entry.id] = asyncio.create_task(coming, name=f"bring session {entry.id} up")
        try:
            await asyncio.wait({arrival})
        finally:
            del self._arrivals[entry.id]
            arrival.cancel()  # of no effect unless this wait was given up
        if arrival.cancelled():
            raise SessionNotFound(f"session {entry.id!r} was ended while it was being opened; open it again")
        arrival.result()

    async def _first(self, entry: SessionEntry, spec: dict[str, Any], code: Any) -> None:
        try:
            kept = await self._records.keep_code(code) if code else ""
            opening = {**spec, "opening": entry.opening, "code": kept}
            host = await self._move_in(entry, opening, code, woken=False)
        except BaseException:
            self._directory.ended(entry.id, entry.opening)
            raise
        if isinstance(code, SessionCode):
            self._live[entry.id] = code
        self._directory.opened(entry.id, entry.opening, host)

    async def _wake(self, entry: SessionEntry, why: str) -> None:
        await self._arrive(entry, self._again(entry))
        self._tell(SessionWoken(session_id=entry.id, opening=entry.opening, reason=why))

    def _tell(self, event: Event) -> None:
        """Nobody waits for it."""
        self._work.start(self._publish(event), f"publish {type(event).__name__}")

    async def _again(self, entry: SessionEntry) -> None:
        row = await self._records.find(entry.id)
        if row is None:
            for decision in self._directory.lose(entry.id, "the store has nothing of it any more"):
                self.end(decision)
            raise SessionLost(f"session {entry.id!r} is gone: the store has nothing of it any more")
        opening = {**told(row), "opening": entry.opening, "stay": entry.stay}
        code = self._live.get(entry.id) or await self._records.code(row)
        host = await self._move_in(entry, opening, code, woken=True)
        self._directory.opened(entry.id, entry.opening, host)

    async def _move_in(self, entry: SessionEntry, opening: dict[str, Any], code: Any, *, woken: bool) -> str:
        """The actor that has the session now; a second one is tried where the first says nothing of it."""
        try:
            return await self._lodging.move_in(entry, opening, code, woken=woken)
        except SessionMoved as error:
            # An actor that an earlier life of the supervisor had given it to was as fast.
            logger.info("session %s is taken again: %s", entry.id, error)
        except StartFailed as error:
            if not woken:
                raise
            logger.warning("session %s is woken again: %s", entry.id, error)
        return await self._lodging.move_in(entry, opening, code, woken=woken)

    # Going.

    async def _end(self, entry: SessionEntry, decision: EndSession) -> None:
        arrival = self._arrivals.get(entry.id)
        if arrival is not None:
            arrival.cancel()
            await asyncio.wait({arrival})
            if self._directory.sessions.get(entry.id) is not entry:
                return  # It never was open, and has tidied up after itself.
        try:
            if not decision.lost:
                await self._finish(entry)
            await self._publish(
                SessionEnded(session_id=entry.id, opening=entry.opening, error=decision.error), wait=True
            )
            await self._subscriptions.remove_scope(entry.id)
        finally:
            self._lodging.see_out(entry.id)
            self._live.pop(entry.id, None)
            self._directory.ended(entry.id, entry.opening)
            for orphaned in self._directory.orphaned(entry.id):
                self.end(orphaned)

    async def _finish(self, entry: SessionEntry) -> None:
        """Ends the session where it lives, and in the store, before anybody is told.

        Who is told of an end that the store has not would hear of it again from a later life of this actor.
        """
        loop = asyncio.get_running_loop()
        give_up = loop.time() + _WRITTEN_DOWN
        while not await self._finished(entry):
            if loop.time() >= give_up:
                logger.warning("the end of session %s is not in the store", entry.id)
                return
            await asyncio.sleep(_AGAIN)

    async def _finished(self, entry: SessionEntry) -> bool:
        """Whether the store has its end; one that sleeps is woken to end its turns, or to hear of it."""
        try:
            if await self._lodging.end(entry, self._options.stop_grace):
                return True
            row = await self._records.find(entry.id)
            if row is None or row.state == "closed":
                return True
            if row.pending or self._subscriptions.hears(entry.id, SessionEnded):
                await self._again(entry)
                return await self._lodging.end(entry, self._options.stop_grace)
            await self._records.close_row(row)
        except (LlmgineError, TimeoutError) as error:
            logger.info("the end of session %s is not in the store yet: %s", entry.id, error)
            return False
        return True

    async def _publish(self, event: Event, *, wait: bool = False) -> None:
        """Publishes; a bus that cannot take it now, or a slow handler, holds up no session for long."""
        try:
            async with asyncio.timeout(_LAST_WORD):
                await self._bus.publish(event, wait=wait)
        except (TimeoutError, LlmgineError) as error:
            logger.warning("%r is not handled yet: %s", event, error or "its time is up")
