"""Approvals as a session's turns wait for them: asked once, answered once, over every death in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Literal

import pytest

from llmgine.actors.sessions.hosting.approvals import ApprovalDesk
from llmgine.actors.sessions.running.approvals import Decision, Question
from llmgine.actors.sessions.running.observer import TurnObserver
from llmgine.actors.sessions.turns.events import ApprovalNeeded, ApprovalSettled, TurnEvent
from llmgine.actors.store import StoreUnavailable
from llmgine.actors.store.rows import ApprovalRow, ApprovalState
from llmgine.actors.store.session_operations import AnswerApproval
from llmgine.providers.contracts import ToolCallPart

QUESTION = Question("s:1", ToolCallPart(id="c1", name="pay", arguments={"euros": 5}), "it costs money")
SECOND = 1_000_000_000


class Watcher(TurnObserver):
    """What the session tells of its approvals."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def approval_requested(self, row: ApprovalRow) -> None:
        self.told.append(("requested", row.id))

    def approval_answered(self, row: ApprovalRow) -> None:
        self.told.append((row.state, row.id))


class Life:
    """One life of a session over a store that outlives it."""

    def __init__(self, rows: dict[str, ApprovalRow] | None = None) -> None:
        self.rows = {} if rows is None else rows
        self.kept = 0
        self._unwritten: list[ApprovalRow] = []
        self.supervisor: list[str] = []
        self.told = asyncio.Event()
        self.closed: list[AnswerApproval] = []
        self.events: list[TurnEvent] = []
        self.watcher = Watcher()
        self.away = 0
        self.pauses = 0
        self.desk = ApprovalDesk(
            "s",
            self,
            self,
            tell=self._tell,
            observer=self.watcher,
            expiry=60.0,
            wall=lambda: 1000 * SECOND,
            sleep=self._sleep,
        )

    async def approval(self, id: str) -> ApprovalRow | None:
        if self.away:
            self.away -= 1
            raise StoreUnavailable("the store is away")
        return self.rows.get(id)

    # Its journal: nothing is there before it is flushed.

    def ask(self, row: ApprovalRow) -> None:
        self._unwritten.append(row)

    async def flush(self) -> None:
        while self._unwritten:
            row = self._unwritten.pop()
            self.kept += 1
            self.rows[row.id] = row

    def close_approval(self, answer: AnswerApproval) -> None:
        self.closed.append(answer)

    # The supervisor.

    async def _tell(self, row: ApprovalRow) -> None:
        self.supervisor.append(row.id)
        self.told.set()

    async def _sleep(self, seconds: float) -> None:
        self.pauses += 1
        await asyncio.sleep(0)

    def answer(self, state: ApprovalState = "approved", note: str = "") -> None:
        row = self.rows[QUESTION.id]
        self.rows[row.id] = replace(row, state=state, by="ann", note=note, answered=1)

    def asks(self, question: Question = QUESTION) -> asyncio.Task[Decision]:
        return asyncio.create_task(self.desk.ask(question, self.events.append, nullcontext))


async def asked(life: Life) -> asyncio.Task[Decision]:
    """A question that waits for its answer."""
    task = life.asks()
    await life.told.wait()
    return task


@pytest.mark.parametrize("state", ["approved", "denied", "expired"])
async def test_a_question_waits_for_its_answer(
    state: Literal["approved", "denied", "expired"],
) -> None:
    """It is kept before anybody hears of it; whoever follows the turn or the bus hears both."""
    life = Life()
    task = await asked(life)
    (row,) = life.rows.values()
    assert (row.session, row.turn, row.call, row.tool) == ("s", "s:1", "c1", "pay")
    assert (row.arguments, row.reason) == (b'{"euros":5}', "it costs money")
    assert (row.created, row.expires) == (1000 * SECOND, 1060 * SECOND)
    assert not task.done()
    life.answer(state, "so be it")
    assert life.desk.look(row.id)
    assert await task == Decision(state, "ann", "so be it")
    needed, settled = life.events
    assert isinstance(needed, ApprovalNeeded)
    assert needed.expires is not None
    assert needed.expires.timestamp() == 1060
    assert settled == ApprovalSettled(row.id, "c1", state, "ann", "so be it")
    assert life.watcher.told == [("requested", row.id), (state, row.id)]
    assert life.desk.waiting == ()


async def test_the_next_life_goes_on_with_what_was_answered_meanwhile() -> None:
    """It asks the same, finds the answer, and bothers nobody again."""
    first = Life()
    task = await asked(first)
    task.cancel()
    first.answer("approved")
    second = Life(first.rows)
    assert (await second.asks()).approved
    assert (second.kept, second.supervisor) == (0, [])
    assert [event.type for event in second.events] == ["approval_needed", "approval_settled"]


async def test_the_next_life_waits_for_what_is_still_pending() -> None:
    """It does not ask a second time in the store, and looks for answers when it is told to."""
    first = Life()
    (await asked(first)).cancel()
    second = Life(first.rows)
    task = await asked(second)
    assert second.kept == 0
    second.desk.look()
    await asyncio.sleep(0)
    assert not task.done()
    second.answer("denied")
    second.desk.look()
    assert (await task).state == "denied"


async def test_an_answer_is_read_as_soon_as_the_store_is_back() -> None:
    """A store that is away when the session is told to look is asked again."""
    life = Life()
    task = await asked(life)
    life.answer()
    life.away = 3
    life.desk.look()
    assert (await task).approved
    assert life.pauses == 3


async def test_what_a_turn_still_asked_at_its_end_is_closed() -> None:
    """Nobody need answer it any more; what another turn asks stays."""
    life = Life()
    task = await asked(life)
    other = life.asks(replace(QUESTION, turn_id="s:2"))
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    life.desk.withdraw("s:1")
    life.desk.withdraw("s:1")
    assert [(one.id, one.state) for one in life.closed] == [(QUESTION.id, "expired")]
    other.cancel()
    await life.desk.stop()


async def test_nobody_waits_for_what_is_unknown() -> None:
    """The session is told so, for the question may be waited for elsewhere."""
    life = Life()
    assert not life.desk.look("a-0")
    assert not life.desk.look()


async def test_a_question_may_wait_for_ever_or_for_its_own_time() -> None:
    """Its own expiry wins over the session's."""
    life = Life()
    life.desk._expiry = None
    first = await asked(life)
    life.told.clear()
    second = life.asks(replace(QUESTION, run=2, expiry=5.0))
    await life.told.wait()
    assert [row.expires for row in life.rows.values()] == [None, 1005 * SECOND]
    first.cancel()
    second.cancel()


async def test_a_session_is_not_at_rest_before_it_has_told_and_looked(
    eventually: Callable[..., Any],
) -> None:
    """An answer that is being read is for this life of it; an approval nobody knows of would never expire."""
    life, heard = Life(), asyncio.Event()

    async def tell(row: ApprovalRow) -> None:
        life.told.set()
        await heard.wait()

    life.desk._tell = tell
    task = await asked(life)
    assert not life.desk.at_rest
    heard.set()
    await eventually(lambda: life.desk.at_rest)
    life.answer("approved")
    life.desk.look(QUESTION.id)
    assert not life.desk.at_rest
    assert (await task).approved
    await eventually(lambda: life.desk.at_rest)


async def test_what_was_only_just_asked_is_closed_with_its_turn() -> None:
    """A turn that is cancelled while its question is written down leaves nothing that anybody need answer."""
    life, writing = Life(), asyncio.Event()

    async def flush() -> None:
        writing.set()
        await asyncio.Event().wait()

    life.flush = flush  # type: ignore[method-assign]
    task = life.asks()
    await writing.wait()
    task.cancel()
    await asyncio.wait({task})
    life.desk.withdraw("s:1")
    assert [answer.id for answer in life.closed] == [QUESTION.id]
