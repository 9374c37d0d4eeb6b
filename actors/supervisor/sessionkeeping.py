"""What becomes of sessions whose process is gone, and of those that an earlier run of the runtime left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from llmgine.actors.control import SessionNotFound
from llmgine.actors.sessions import RuntimeOverloaded
from llmgine.actors.store.awaited import read_once_there
from llmgine.actors.store.queries import SessionFilter
from llmgine.actors.store.rows import SessionRow
from llmgine.actors.supervisor.directory import FINISHED, Directory
from llmgine.actors.supervisor.entries import EndSession
from llmgine.actors.supervisor.hostdesk import HostDesk
from llmgine.actors.supervisor.lodging import Lodging
from llmgine.actors.supervisor.sessiondesk import SessionDesk
from llmgine.actors.supervisor.sessionrecords import SessionRecords, told
from llmgine.actors.supervisor.subscriptiondesk import SubscriptionDesk
from llmgine.actors.supervisor.work import Work
from llmgine.providers.errors import LlmgineError

logger = logging.getLogger(__name__)

# Sessions that are put to sleep with one call.
_BATCH = 50
# How long a look at the sessions waits for the store, and of how many it asks when they were used.
_GLANCE = 1.0
_SHOWN = 500
_OPEN = SessionFilter(state="open")
# Seconds after which the store, or an actor, is asked for again; doubled each time a session's process died.
_PAUSE = 0.5
_LONGEST_PAUSE = 30.0


class SessionKeeping:
    """Keeps every open session somewhere: in an actor while it has something to do, else in the store."""

    def __init__(
        self,
        directory: Directory,
        hosts: HostDesk,
        desk: SessionDesk,
        lodging: Lodging,
        records: SessionRecords,
        subscriptions: SubscriptionDesk,
        work: Work,
    ) -> None:
        self._directory = directory
        self._hosts = hosts
        self._desk = desk
        self._lodging = lodging
        self._records = records
        self._subscriptions = subscriptions
        self._work = work

    async def idle(self, host: str, session_ids: list[str]) -> None:
        """Sessions of this actor have been quiet: they go to sleep, or end where nothing holds them."""
        for session_id in session_ids:
            self._end_all(self._directory.idle(session_id))
        self._disown(host, session_ids)
        for first in range(0, len(session_ids), _BATCH):
            await self._desk.rest(host, session_ids[first : first + _BATCH])

    def _disown(self, host: str, session_ids: list[str]) -> None:
        """What an earlier life of the supervisor gave to this actor, and a later one to another, it drops."""
        for session_id in session_ids:
            entry = self._directory.sessions.get(session_id)
            if entry is None or entry.actor not in (host, None):
                self._work.start(self._lodging.leave(session_id, host), f"take session {session_id} back")

    async def retire(self, host: str, why: str) -> None:
        """An actor that is not well takes no more sessions, and lets go of each as soon as it is idle."""
        logger.warning("%s hands its sessions on and ends: %s", host, why)
        left = sorted(self._hosts.retire(host))
        while left:
            await self.idle(host, left)
            left = sorted(self._hosts.retire(host))
            await asyncio.sleep(_PAUSE)

    async def died(self, host: str) -> None:
        """The actor is gone; sessions that had something to do are woken elsewhere."""
        await self._hosts.gone(host)
        for session_id in self._directory.died(host):
            self._work.start(self._take_up(session_id, f"{host} died"), f"take up session {session_id}")

    def left(self, host: str, session_id: str) -> None:
        """The actor has found that the session is not its own any more."""
        entry = self._directory.sessions.get(session_id)
        if entry is not None and (entry.state, entry.actor) == ("open", host):
            self._hosts.left(session_id, host)
            self._directory.passivated(session_id, entry.opening)
            self._work.start(self._take_up(session_id, f"{host} left it"), f"take up session {session_id}")

    async def restore(self, *, anew: bool) -> None:
        """Finds the sessions that the store alone has, as soon as it can be read.

        After a launch `anew` those with turns that had not ended are woken, those that stay sleep on, and
        the others have ended with their runtime. A restarted supervisor ends none.
        """
        found = await self._open_rows()
        now = asyncio.get_running_loop().time()
        for row in found:
            if row.id in self._directory.sessions:
                continue
            try:
                entry = self._directory.found(told(row), None, now)
            except (KeyError, TypeError) as error:
                logger.error("session %s is left as it is, its record cannot be read: %r", row.id, error)
                continue
            if anew:
                entry.orphan_until = None
                entry.finishing = not entry.stay and row.pending > 0
            if row.pending:
                self._work.start(self._take_up(row.id, "it has turns to end"), f"take up session {row.id}")
            elif anew and not entry.stay:
                self._end_all(self._directory.close(row.id, FINISHED))

    async def delete(self, session_id: str) -> None:
        """Ends the session, with those that it has opened; nothing of them is left when this returns."""
        self._end_all(self._directory.close(session_id))
        await self._desk.ended(session_id)
        async for child in self._records.opened_by(session_id):
            await self.delete(child)
        async with self._desk.closed(session_id):
            await self._subscriptions.remove_scope(session_id)
            await self._records.delete(session_id)

    async def described(self) -> list[dict[str, Any]]:
        """Every open session, with the seconds since it was last used; None where the store does not tell."""
        used: dict[str, int] = {}
        try:
            async with asyncio.timeout(_GLANCE):
                page = await self._records.page(_OPEN, 0, _SHOWN)
                used = {row.id: row.active for row in page.rows}
        except (LlmgineError, TimeoutError) as error:
            logger.info("the store does not tell when sessions were used: %s", error)
        now = self._records.now()
        return [
            {**self._desk.describe(entry), "idle": (now - used[entry.id]) / 1e9 if entry.id in used else None}
            for entry in self._directory.sessions.values()
        ]

    async def listed(self, wanted: SessionFilter, after: int | None, limit: int) -> dict[str, Any]:
        """Sessions that the store has, in the order of their making, with where each is now."""
        page = await self._records.page(wanted, after or 0, limit)
        return {"sessions": [self._shown(row) for row in page.rows], "next": page.next}

    async def newest(self, wanted: SessionFilter, before: int | None, limit: int) -> dict[str, Any]:
        """As `listed`, the last made first."""
        page = await self._records.newest(wanted, before, limit)
        return {"sessions": [self._shown(row) for row in page.rows], "next": page.next}

    def _shown(self, row: SessionRow) -> dict[str, Any]:
        entry = self._directory.sessions.get(row.id)
        return {
            "session_id": row.id,
            "state": "closed" if entry is None else entry.state,
            "actor": None if entry is None else entry.actor,
            "model": row.record.get("model"),
            "stay": row.record.get("stay"),
            "parent": row.record.get("parent"),
            "opening": row.opening,
            "turns": row.turns,
            "messages": row.messages,
            "pending": row.pending,
            "created": row.created,
            "active": row.active,
        }

    async def _open_rows(self) -> list[SessionRow]:
        async def read() -> list[SessionRow]:
            return [row async for row in self._records.open()]

        return await read_once_there("what sessions are open", read)

    async def _take_up(self, session_id: str, why: str) -> None:
        """Wakes a session that has turns to end, however long it takes; one of which nothing is left ends."""
        pause = _PAUSE
        while (entry := self._directory.sessions.get(session_id)) is not None and entry.state == "passive":
            try:
                row = await self._records.find(session_id)
                if row is None:
                    self._end_all(self._directory.lose(session_id, f"{why}, and the store has nothing of it"))
                    return
                if not row.pending:
                    return
                if entry.deaths > 1:
                    # What its turn does may be what kills its process.
                    await asyncio.sleep(min(_PAUSE * 2**entry.deaths, _LONGEST_PAUSE))
                await self._desk.wake(session_id, why)
                return
            except SessionNotFound:
                return
            except RuntimeOverloaded as error:
                await asyncio.sleep(error.retry_after)
            except Exception as error:
                logger.warning("session %s cannot be woken yet: %s", session_id, error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _end_all(self, decisions: Iterable[EndSession]) -> None:
        for decision in decisions:
            self._desk.end(decision)
