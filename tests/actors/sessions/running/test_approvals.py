"""Questions for somebody's leave, and what a model is told of the answer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmgine.actors.sessions.running.approvals import Decision, Question, not_run
from llmgine.providers.contracts import ToolCallPart

CALL = ToolCallPart(id="call_1", name="pay", arguments={"euros": 5})


def test_the_same_question_has_the_same_id_wherever_it_is_asked() -> None:
    """Its reason and expiry may be worded anew; another call, turn or run is another question."""
    asked = Question("s:1", CALL, "it costs money")
    assert replace(asked, reason="money!", expiry=3.0).id == asked.id
    others = {
        replace(asked, turn_id="s:2").id,
        replace(asked, call=CALL.model_copy(update={"id": "call_2"})).id,
        replace(asked, run=2).id,
    }
    assert len(others | {asked.id}) == 4


@pytest.mark.parametrize(
    ("decision", "text"),
    [
        (Decision("denied", "ann", "too much"), "pay was not run: ann denied it. They said: too much"),
        (Decision("denied", "ann"), "pay was not run: ann denied it."),
        (Decision("denied"), "pay was not run: somebody denied it."),
        (Decision("expired"), "pay was not run: nobody approved it in time."),
        (
            Decision("expired", "", "Its turn ended before."),
            "pay was not run: nobody approved it in time. Its turn ended before.",
        ),
    ],
)
def test_the_model_is_told_why_a_call_was_not_run(decision: Decision, text: str) -> None:
    """As the error result of its call, with who denied it and what they said."""
    result = not_run(CALL, decision)
    assert (result.call_id, result.name, result.is_error, result.text) == ("call_1", "pay", True, text)
