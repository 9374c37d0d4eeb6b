"""Brings sessions into actors and out of them, one at a time each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from llmgine.actors.control import ActorAway, ActorGone, Cluster, StartFailed
from llmgine.actors.supervisor.entries import SessionEntry
from llmgine.actors.supervisor.hostdesk import HostDesk
from llmgine.actors.supervisor.work import Work
from llmgine.providers.errors import LlmgineError

logger = logging.getLogger(__name__)

# How long a session's own code may take to be loaded.
_ADOPTION = 60.0
# How long a session may take to be written down when it goes to sleep.
_RELEASE = 30.0
# How long after an actor did not answer it is asked again.
_AGAIN = 0.1
# Beyond the grace that a session was given to end, how long its answer may take.
_LAST_WORD = 5.0


class Lodging:
    """What the supervisor says to the actors that sessions live in."""

    def __init__(self, cluster: Cluster, hosts: HostDesk, work: Work) -> None:
        self._cluster = cluster
        self._hosts = hosts
        self._work = work
        # Where sessions lived that have ended and are still to be seen out.
        self._leaving: dict[str, str] = {}

    async def move_in(self, entry: SessionEntry, opening: dict[str, Any], code: Any, *, woken: bool) -> str:
        """The actor that has taken the session on; where this fails, none has it."""
        host = await self._hosts.place(entry.wish())
        try:
            await self._adopt(host, opening, code, woken)
            if host not in self._hosts:
                # Whoever was told of its death knew nothing of this session.
                raise StartFailed(f"session {entry.id!r} was taken on by {host}, which died; open it again")
        except BaseException:
            await self._take_back(entry, host)
            raise
        return host

    async def release(self, host: str, session_ids: Sequence[str]) -> list[str]:
        """Those that sleep now; the others are in use, or cannot be written down.

        An actor that does not answer may have let go of them, so it is asked until it does or is gone.
        """
        released: list[str] | None = None
        while released is None:
            try:
                released = await self._cluster.call(host, "release", list(session_ids), timeout=_RELEASE)
            except (ActorAway, TimeoutError) as error:
                logger.warning("%s does not say which sessions it let go of: %s", host, error)
                await asyncio.sleep(_AGAIN)
            except LlmgineError as error:
                logger.info("%s lets go of no session now: %s", host, error)
                return []
        for session_id in released:
            self._hosts.left(session_id, host)
        return released

    async def stay(self, entry: SessionEntry) -> None:
        """Notes where the session lives that it stays from now on."""
        try:
            await self._cluster.call(entry.actor or "", "stay", entry.id, timeout=_RELEASE)
        except (LlmgineError, TimeoutError) as error:
            logger.warning("session %s stays only as long as its runtime: %s", entry.id, error)

    async def end(self, entry: SessionEntry, grace: float) -> bool:
        """Whether the session ended where it lives, its turns within `grace` seconds; `see_out` comes after.

        An actor that does not answer takes no more sessions.
        """
        host, entry.actor = entry.actor, None
        if host is None:
            return False
        try:
            ended: bool = await self._cluster.call(host, "end", entry.id, grace, timeout=grace + _LAST_WORD)
        except Exception as error:
            logger.warning("session %s did not end by itself: %s", entry.id, error)
            self._hosts.retire(host)
            ended = False
        self._leaving[entry.id] = host
        return ended

    def see_out(self, session_id: str) -> None:
        """Its own handlers have heard of its end: it gives its slot back."""
        host = self._leaving.pop(session_id, None)
        if host is not None:
            self._hosts.left(session_id, host)

    async def leave(self, session_id: str, host: str) -> None:
        """The session is in this actor no more, whatever the actor thought."""
        try:
            await self._cluster.call(host, "leave", session_id, timeout=_ADOPTION)
        except (LlmgineError, TimeoutError) as error:
            logger.warning("session %s may still be in %s, which ends: %s", session_id, host, error)
            self._hosts.retire(host)
        self._hosts.left(session_id, host)

    async def _adopt(self, host: str, opening: dict[str, Any], code: Any, woken: bool) -> None:
        try:
            await self._cluster.call(host, "adopt", opening, code, woken, timeout=_ADOPTION)
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
            self._work.start(self.leave(entry.id, host), f"take session {entry.id} back from {host}")
