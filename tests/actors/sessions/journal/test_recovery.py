"""How a turn goes on whose process died, at each point of it and by each policy."""

from __future__ import annotations

import pytest

from llmgine.actors.sessions.errors import OutcomeUnknown, TurnCancelled
from llmgine.actors.sessions.journal.records import (
    ApprovalAnswered,
    ApprovalAsked,
    CancelAsked,
    JournalRecord,
    ModelAnswered,
    ModelCalled,
    Streamed,
    ToolBegan,
    ToolEnded,
    ToolsAnswered,
    TurnBegan,
    WaitBegan,
    WaitEnded,
)
from llmgine.actors.sessions.journal.recovery import (
    Continuation,
    continuation,
    never_returned,
    outcome_unknown,
)
from llmgine.actors.sessions.journal.state import Progress
from llmgine.actors.sessions.options import RecoveryPolicy
from llmgine.providers.contracts import TextPart, ToolCallPart, ToolResultPart
from tests.actors.sessions.journal.author import response

PAY = ToolCallPart(id="c1", name="pay", arguments={})
LOOK = ToolCallPart(id="c2", name="look", arguments={})
PAID = ToolResultPart(call_id="c1", name="pay", content=(TextPart(text="paid"),))
CALLED = ModelAnswered("t", 1, response(PAY, LOOK), 2)
POLICIES: list[RecoveryPolicy] = ["retry", "ask", "fail"]


def after(policy: RecoveryPolicy, *records: JournalRecord) -> Continuation:
    progress = Progress(TurnBegan("t", 0, policy))
    for record in records:
        progress.note(record)
    return continuation(progress)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    "records",
    [
        (),
        (ModelCalled("t", 1, "m"),),
        (ModelCalled("t", 1, "m"), Streamed("t", 1, ((0, "He"),))),
        (CALLED,),
        (CALLED, ToolBegan("t", LOOK, True)),
    ],
    ids=["before the call", "before the first token", "mid-stream", "between steps", "a tool at work"],
)
def test_what_may_be_done_again_is(policy: RecoveryPolicy, records: tuple[JournalRecord, ...]) -> None:
    """Where nothing was under way that may not run twice, every policy simply goes on."""
    assert after(policy, *records) == Continuation()


@pytest.mark.parametrize("policy", POLICIES)
def test_a_tool_that_kills_its_process_is_given_up(policy: RecoveryPolicy) -> None:
    """An idempotent call that was begun three times and never returned is not run again."""
    begun = ToolBegan("t", LOOK, True)
    assert after(policy, CALLED, begun, begun) == Continuation()
    assert after(policy, CALLED, begun, begun, begun) == Continuation(unknown={"c2": never_returned(LOOK)})
    text = never_returned(LOOK).text
    assert "each of 3 times the process that ran it has died" in text


@pytest.mark.parametrize("policy", POLICIES)
def test_what_had_returned_is_kept(policy: RecoveryPolicy) -> None:
    """A result that was written is the call's result; the calls beside it run."""
    records = (CALLED, ToolBegan("t", PAY, False), ToolEnded("t", PAID))
    assert after(policy, *records) == Continuation({"c1": PAID})


@pytest.mark.parametrize("policy", POLICIES)
def test_finished_steps_leave_nothing_to_decide(policy: RecoveryPolicy) -> None:
    """Once the results are in the conversation, and before the turn's end, it goes on after them."""
    looked = PAID.model_copy(update={"call_id": "c2"})
    done = (CALLED, ToolBegan("t", PAY, False), ToolEnded("t", PAID), ToolEnded("t", looked))
    answered = ToolsAnswered("t", ("c1", "c2"), 3)
    assert after(policy, *done, answered) == Continuation()
    assert after(policy, *done, answered, ModelAnswered("t", 2, response(TextPart(text="x")), 4)) == (
        Continuation()
    )


def test_a_tool_that_may_not_run_twice() -> None:
    """By its policy the turn tells the model that nobody knows, asks somebody, or fails and says why."""
    records = (CALLED, ToolBegan("t", PAY, False), ToolBegan("t", LOOK, True))
    assert after("retry", *records) == Continuation(unknown={"c1": outcome_unknown(PAY)})
    assert after("ask", *records) == Continuation(asked={"c1": 2})
    error = after("fail", *records).error
    assert isinstance(error, OutcomeUnknown)
    assert "pay" in str(error)
    assert "idempotent=True" in str(error)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_cancelled_turn_is_over(policy: RecoveryPolicy) -> None:
    """Whatever a cancelled turn was doing, it does not go on."""
    error = after(policy, CALLED, ToolBegan("t", PAY, False), CancelAsked("t")).error
    assert isinstance(error, TurnCancelled)


@pytest.mark.parametrize("policy", POLICIES)
def test_what_asks_for_leave_goes_on_asking(policy: RecoveryPolicy) -> None:
    """A call that had not begun asks the same again, and one that was approved need not."""
    asked = ApprovalAsked("t", "a-1", "c1", "it costs money")
    assert after(policy, CALLED, asked) == Continuation(leave={"c1": "it costs money"})
    approved = ApprovalAnswered("t", "a-1", "c1", "approved")
    assert after(policy, CALLED, asked, approved) == Continuation(approved=frozenset({"c1"}))


def test_leave_for_one_run_is_none_for_the_next() -> None:
    """A call that began with somebody's leave, and may not run twice, asks again for its second run."""
    asked = ApprovalAsked("t", "a-1", "c1", "")
    approved = ApprovalAnswered("t", "a-1", "c1", "approved")
    begun = (CALLED, asked, approved, ToolBegan("t", PAY, False))
    assert after("ask", *begun).asked == {"c1": 2}
    assert after("ask", *begun, ToolBegan("t", PAY, False)).asked == {"c1": 3}


def test_time_that_a_turn_waited_for_leave_is_known() -> None:
    """Each wait that is over counts, and a wait that is not over is known by its beginning."""
    progress = Progress(TurnBegan("t", 0))
    for record in (WaitBegan("t", 10), WaitEnded("t", 25), WaitBegan("t", 40)):
        progress.note(record)
    assert (progress.waited, progress.waits_since) == (15, 40)
    progress.note(WaitEnded("t", 42))
    assert (progress.waited, progress.waits_since) == (17, None)
