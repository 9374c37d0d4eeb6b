"""Starts, hands out and ends the actors that sessions live in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from llmgine.actors.sessions import SessionOptions
from llmgine.actors.supervisor.children import Children
from llmgine.actors.supervisor.hosts import Hosts, Wish
from llmgine.actors.supervisor.work import Work

logger = logging.getLogger(__name__)

# How long after a failed start warm actors are tried again while nobody waits for one.
_RETRY_PAUSE = 5.0
# How long an actor without sessions may take to say goodbye.
_FAREWELL = 2.0


class HostDesk:
    """What the supervisor does about the actors of sessions: the decisions of `Hosts`, carried out."""

    def __init__(self, children: Children, work: Work, options: SessionOptions, num_cpus: float) -> None:
        self._children = children
        self._work = work
        self._num_cpus = num_cpus
        self._hosts = Hosts(options)
        self._placed: dict[Wish, asyncio.Future[str]] = {}
        self._paused = False
        self._coming: set[asyncio.Task[None]] = set()

    def warm_up(self) -> None:
        """From now on blank actors are kept ready."""
        self._settle()

    async def place(self, wish: Wish) -> str:
        """The actor that has a slot for the session; raises why there is none."""
        self._hosts.ask(wish)
        placed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._placed[wish] = placed
        try:
            self._settle()
            return await placed
        except asyncio.CancelledError:
            if placed.done() and not placed.cancelled() and placed.exception() is None:
                self.left(wish.session_id, placed.result())
            raise
        finally:
            del self._placed[wish]
            self._hosts.withdraw(wish)

    def __contains__(self, host: str) -> bool:
        """Whether the actor is there, as far as is known."""
        return host in self._hosts

    def left(self, session_id: str, host: str) -> None:
        """The session gives its slot back."""
        self._hosts.left(session_id, host)
        self._settle()

    def found(self, report: dict[str, Any]) -> None:
        """A restarted supervisor hears of an actor."""
        self._hosts.found(report)

    def avoid(self, taken: Iterable[str]) -> None:
        """No actor gets one of these names again."""
        self._hosts.avoid(taken)

    def retire(self, host: str) -> set[str]:
        """The actor takes no more sessions, and ends when those that it has, which come back, have left."""
        sessions = self._hosts.retire(host)
        self._settle()
        return sessions

    async def gone(self, host: str) -> None:
        """The actor will not come back; nothing of it is left when this returns."""
        self._hosts.gone(host)
        await self._children.end(host, 0.0)
        self._settle()

    def stop(self) -> None:
        """Nothing more is started."""
        self._hosts.stop()

    async def give_up(self) -> None:
        """What is being started is not waited for; nothing of it is left when this returns."""
        for coming in self._coming:
            coming.cancel()
        if self._coming:
            await asyncio.wait(self._coming)

    def snapshot(self) -> dict[str, Any]:
        return self._hosts.snapshot()

    def _settle(self) -> None:
        for wish, host in self._hosts.assign():
            placed = self._placed.get(wish)
            if placed is None or placed.done():
                self._hosts.left(wish.session_id, host)
            else:
                placed.set_result(host)
        for host in self._hosts.ends():
            self._work.start(self._children.end(host, _FAREWELL), f"end {host}")
        if not self._paused or self._placed:
            for host in self._hosts.starts():
                coming = self._work.start(self._start(host), f"start {host}")
                self._coming.add(coming)
                coming.add_done_callback(self._coming.discard)

    async def _start(self, host: str) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            # Not brought back by Ray: what lived in it is woken elsewhere.
            await self._children.start(host, "session", num_cpus=self._num_cpus, restarts=False)
        except Exception as error:
            self._failed(host, error)
        else:
            self._hosts.up(host, loop.time() - began)
            self._settle()

    def _failed(self, host: str, error: Exception) -> None:
        wish = self._hosts.failed(host)
        placed = None if wish is None else self._placed.get(wish)
        if placed is not None and not placed.done():
            placed.set_exception(error)
        else:
            logger.warning("no warm actor for sessions: %s", error)
        if not self._paused:
            self._paused = True
            self._work.start(self._resume(), "start warm actors again")
        self._settle()

    async def _resume(self) -> None:
        await asyncio.sleep(_RETRY_PAUSE)
        self._paused = False
        self._settle()
