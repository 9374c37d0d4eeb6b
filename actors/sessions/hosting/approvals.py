"""The approvals that the turns of one session wait for; each is in the store before anybody is told of it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from pydantic_core import to_json

from llmgine.actors.sessions.running.approvals import Decision, Question, Waiting
from llmgine.actors.sessions.running.observer import TurnObserver
from llmgine.actors.sessions.turns.events import ApprovalNeeded, ApprovalSettled, TurnEvent
from llmgine.actors.store import StoreError
from llmgine.actors.store.rows import ApprovalRow
from llmgine.actors.store.session_operations import AnswerApproval
from llmgine.providers.errors import LlmgineError

logger = logging.getLogger(__name__)

# Whoever hosts sessions is pushed what to look for: an answer of one session, or None for any.
TABLE = "approvals"
# How long after a failure the store is asked again whether there is an answer.
_RETRY_PAUSE = 1.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ApprovalStore(Protocol):
    """As much of the store as approvals need."""

    async def approval(self, id: str, /) -> ApprovalRow | None: ...


class ApprovalJournal(Protocol):
    """As much of the session's journal."""

    def ask(self, row: ApprovalRow) -> None: ...

    async def flush(self) -> None: ...

    def close_approval(self, answer: AnswerApproval) -> None: ...


class ApprovalDesk:
    """Asks, waits, and hears of answers; a session that went on elsewhere asks the same again there.

    `tell` has the supervisor watch over the expiry of what is waited for.
    """

    def __init__(
        self,
        session_id: str,
        store: ApprovalStore,
        journal: ApprovalJournal,
        *,
        tell: Callable[[ApprovalRow], Awaitable[None]],
        observer: TurnObserver,
        expiry: float | None,
        wall: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._session_id = session_id
        self._store = store
        self._journal = journal
        self._tell = tell
        self._observer = observer
        self._expiry = expiry
        self._wall = wall
        self._sleep = sleep
        self._open: dict[str, asyncio.Future[ApprovalRow]] = {}
        # By turn, what it was asking when it was cut short.
        self._dropped: dict[str, list[str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> tuple[str, ...]:
        """The ids of what is waited for."""
        return tuple(self._open)

    @property
    def at_rest(self) -> bool:
        """Whether no answer is being looked for, and the supervisor has been told of all that is asked."""
        return not self._tasks

    async def ask(self, question: Question, emit: Callable[[TurnEvent], None], waiting: Waiting) -> Decision:
        # Before the store is read: an answer that comes after that shall find somebody.
        answer = self._open[question.id] = asyncio.get_running_loop().create_future()
        row: ApprovalRow | None = None
        try:
            row = await self._store.approval(question.id)
            if row is None:
                row = self._row(question)
                self._journal.ask(row)
                await self._journal.flush()
            emit(ApprovalNeeded(row.id, question.call, row.reason, _moment(row.expires)))
            if row.state == "pending":
                row = await self._answered(row, answer, waiting)
        except asyncio.CancelledError:
            if row is not None and row.state == "pending":
                self._dropped.setdefault(row.turn, []).append(row.id)
            raise
        finally:
            del self._open[question.id]
        decision = decision_of(row)
        self._observer.approval_answered(row)
        emit(ApprovalSettled(row.id, row.call, decision.state, decision.by, decision.note))
        return decision

    def withdraw(self, turn_id: str) -> None:
        now = self._wall()
        for id_ in self._dropped.pop(turn_id, ()):
            self._journal.close_approval(AnswerApproval(id_, "expired", "", "Its turn ended before.", now))

    def look(self, id_: str | None = None) -> bool:
        """There may be an answer: to this one, or to any; whether one of that id is waited for here."""
        wanted = [one for one in self._open if id_ in (None, one)]
        for one in wanted:
            self._spawn(self._read(one), f"look for an answer to {one}")
        return bool(wanted)

    async def stop(self) -> None:
        """Nothing is waited for here any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Below

    def _row(self, question: Question) -> ApprovalRow:
        call, now = question.call, self._wall()
        seconds = self._expiry if question.expiry is None else question.expiry
        return ApprovalRow(
            id=question.id,
            session=self._session_id,
            turn=question.turn_id,
            call=call.id,
            tool=call.name,
            arguments=to_json(call.arguments),
            reason=question.reason,
            created=now,
            expires=None if seconds is None else now + round(seconds * 1e9),
        )

    async def _answered(
        self, row: ApprovalRow, answer: asyncio.Future[ApprovalRow], waiting: Waiting
    ) -> ApprovalRow:
        self._observer.approval_requested(row)
        self._spawn(self._told(row), f"tell of approval {row.id}")
        with waiting():
            return await answer

    async def _told(self, row: ApprovalRow) -> None:
        try:
            await self._tell(row)
        except LlmgineError as error:
            # It looks into the store when it is back.
            logger.info("the supervisor has not heard of approval %s: %s", row.id, error)

    async def _read(self, id_: str) -> None:
        while id_ in self._open:
            try:
                row = await self._store.approval(id_)
            except StoreError as error:
                logger.warning("the answer to approval %s cannot be read yet: %s", id_, error)
                await self._sleep(_RETRY_PAUSE)
                continue
            answer = self._open.get(id_)
            if row is not None and row.state != "pending" and answer is not None and not answer.done():
                answer.set_result(row)
            return

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def decision_of(row: ApprovalRow) -> Decision:
    """What an answered approval comes to."""
    state = row.state
    assert state != "pending", row.id
    return Decision(state, row.by, row.note)


def _moment(time_ns: int | None) -> datetime | None:
    return None if time_ns is None else _EPOCH + timedelta(microseconds=time_ns // 1_000)
