"""What the supervisor reads and writes of sessions in the store, for those that live in no actor."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

from llmgine.actors.code import UnsendableCode
from llmgine.actors.sessions.hosting.code import SessionCode, pack
from llmgine.actors.store import Fenced, StoreClient
from llmgine.actors.store.queries import Page, SessionFilter
from llmgine.actors.store.rows import SessionRow
from llmgine.actors.store.session_operations import Activate, DropSession, KeepCode, PutSession

logger = logging.getLogger(__name__)

_OPEN = SessionFilter(state="open")


class SessionRecords:
    """Sessions as the store has them; `wall` is the time in nanoseconds since 1970."""

    def __init__(self, store: StoreClient, owner: str, wall: Callable[[], int]) -> None:
        self._store = store
        self._owner = owner
        self._wall = wall

    def now(self) -> int:
        return self._wall()

    async def find(self, session_id: str) -> SessionRow | None:
        return await self._store.session(session_id)

    async def open(self) -> AsyncIterator[SessionRow]:
        """Every session that has not ended."""
        async for page in self._store.every_session(_OPEN):
            for row in page:
                yield row

    async def opened_by(self, session_id: str) -> AsyncIterator[str]:
        """The sessions that this one has opened, in the order of their making."""
        async for page in self._store.every_session(SessionFilter(parent=session_id)):
            for row in page:
                yield row.id

    async def keep_code(self, code: Any) -> str:
        """The hash under which a later process finds the code; "" for none, and for what cannot travel."""
        if isinstance(code, SessionCode):
            try:
                code = await asyncio.to_thread(pack, code)
            except UnsendableCode as error:
                logger.info("a session's code lives as long as its process: %s", error)
                return ""
        if not code:
            return ""
        kept = hashlib.sha256(code).hexdigest()
        await self._store.write([KeepCode(kept, code, self._wall())])
        return kept

    async def code(self, row: SessionRow) -> bytes | None:
        """The session's code; None where it has none, or it is not kept."""
        kept = row.record.get("code")
        return await self._store.code(kept) if kept else None

    async def close_row(self, row: SessionRow) -> None:
        """Ends a session that lives in no actor and has no turns left; one that has woken is let be."""
        now = self._wall()
        epoch = max(row.epoch + 1, now)
        try:
            await self._store.write(
                [
                    Activate(row.id, row.epoch, epoch, self._owner, now),
                    PutSession(row.id, epoch, {"state": "closed"}),
                ]
            )
        except Fenced as error:
            logger.info("session %s has woken meanwhile: %s", row.id, error)

    async def delete(self, session_id: str) -> None:
        """Nothing of the session is left when this returns."""
        await self._store.write([DropSession(session_id)])

    async def page(self, wanted: SessionFilter, after: int, limit: int) -> Page[SessionRow]:
        """Sessions in the order of their making."""
        return await self._store.sessions(wanted, after=after, limit=limit)

    async def newest(self, wanted: SessionFilter, before: int | None, limit: int) -> Page[SessionRow]:
        """Sessions, the last made first."""
        return await self._store.newest_sessions(wanted, before=before, limit=limit)


def told(row: SessionRow) -> dict[str, Any]:
    """The session as it was opened, as its actor would tell it."""
    return {**row.record, "session_id": row.id, "opening": row.opening}
