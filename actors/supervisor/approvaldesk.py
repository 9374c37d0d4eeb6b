"""Answers approvals, once each, lets them expire, and has their sessions woken for the answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from llmgine.actors.sessions.hosting.approvals import TABLE as APPROVALS
from llmgine.actors.store import AlreadyAnswered, StoreError, UnknownApproval
from llmgine.actors.store.awaited import read_once_there
from llmgine.actors.store.operations import Operation
from llmgine.actors.store.queries import Page
from llmgine.actors.store.rows import ApprovalRow, ApprovalState
from llmgine.actors.store.session_operations import AnswerApproval
from llmgine.actors.supervisor.approvals import PendingApprovals
from llmgine.actors.supervisor.entries import SessionEntry
from llmgine.actors.supervisor.members import Member, Members
from llmgine.actors.supervisor.work import Work
from llmgine.providers.errors import LlmgineError

logger = logging.getLogger(__name__)

# How long after a failure what has expired is answered again, and a session woken again.
_RETRY = 1.0
_PAGE = 500


class ApprovalStore(Protocol):
    """Where approvals stand, whatever becomes of who asked."""

    async def write(self, operations: Sequence[Operation]) -> None: ...

    async def approval(self, id: str) -> ApprovalRow | None: ...

    async def approvals(
        self, *, state: ApprovalState | None = None, after: int = 0, limit: int = 100
    ) -> Page[ApprovalRow]: ...


class ApprovalDesk:
    """What the supervisor does for approvals.

    `find` knows which sessions are open and where; `wake` brings one that sleeps into an actor. A process
    that hosts sessions is told to look for answers whenever it joins, so that none is missed.
    """

    def __init__(
        self,
        members: Members,
        store: ApprovalStore,
        work: Work,
        *,
        find: Callable[[str], SessionEntry | None],
        wake: Callable[[str, str], Awaitable[Any]],
        wall: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._members = members
        self._store = store
        self._work = work
        self._find = find
        self._wake = wake
        self._wall = wall
        self._sleep = sleep
        self._pending = PendingApprovals()

    def joined(self, member: Member) -> None:
        """Answers may have come while it was away."""
        if member.wants(APPROVALS):
            member.push(APPROVALS, None)

    async def restore(self) -> None:
        """Learns what is pending, as soon as the store can be read."""
        await read_once_there("what approvals are pending", self._read, self._sleep)

    async def _read(self) -> None:
        after: int | None = 0
        while after is not None:
            page = await self._store.approvals(state="pending", after=after, limit=_PAGE)
            for row in page.rows:
                self._pending.asked(row.id, row.expires)
            after = page.next

    def asked(self, id_: str, expires: int | None) -> None:
        """A session waits for it, and has written so."""
        self._pending.asked(id_, expires)

    async def answer(self, id_: str, state: ApprovalState, by: str, note: str) -> None:
        """Returns once the answer is in the store; raises AlreadyAnswered, UnknownApproval, StoreError."""
        row = await self._store.approval(id_)
        if row is None:
            self._pending.answered(id_)
            raise UnknownApproval(
                f"no approval {id_!r} is known; `llmgine approvals ls` shows those that are pending"
            )
        try:
            await self._store.write([AnswerApproval(id_, state, by, note, self._wall())])
        except AlreadyAnswered:
            # Perhaps by the store itself, which tells nobody, or for somebody who has given up meanwhile.
            self._answered(row)
            raise
        self._answered(row)

    def tick(self) -> None:
        """What time alone has decided."""
        for id_ in self._pending.due(self._wall()):
            self._work.start(self._expire(id_), f"let approval {id_} expire")

    async def _expire(self, id_: str) -> None:
        try:
            await self.answer(id_, "expired", "", "")
        except (AlreadyAnswered, UnknownApproval):
            return
        except StoreError as error:
            logger.warning("approval %s has expired, and that cannot be written yet: %s", id_, error)
            self._pending.again(id_, self._wall() + round(_RETRY * 1e9))

    def _answered(self, row: ApprovalRow) -> None:
        self._pending.answered(row.id)
        self._work.start(self._tell(row.session, row.id), f"tell session {row.session} of {row.id}")

    async def _tell(self, session: str, id_: str) -> None:
        """The session goes on with the answer, wherever it is; one that sleeps is woken first.

        One that was just waking may have looked too early, so it is told all the same.
        """
        while (entry := self._find(session)) is not None and entry.state != "ending":
            if entry.state == "open":
                for member in self._members.all():
                    if member.name == entry.actor:
                        member.push(APPROVALS, {"session": session, "id": id_})
                return
            try:
                await self._wake(session, "an approval was answered")
            except LlmgineError as error:
                logger.warning("session %s cannot be woken for an answer yet: %s", session, error)
                await self._sleep(_RETRY)
