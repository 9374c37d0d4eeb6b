"""A policy decides on each call before it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from llmgine.actors.sessions.running.approvals import Decision as Answer
from llmgine.actors.sessions.running.approvals import Question, Waiting
from llmgine.actors.sessions.running.engines import TurnView
from llmgine.actors.sessions.tools.policy import Allow, Ask, ByApproval, Decision, Deny, decide
from llmgine.actors.sessions.tools.tool import Tool, tool
from llmgine.actors.sessions.turns.events import ToolCalled, ToolReturned
from llmgine.providers.contracts import ToolCallPart
from tests.actors.sessions.words import MakeBench


class UpTo:
    """Allows small amounts."""

    def decide(self, call: ToolCallPart, tool: Tool[..., Any], view: TurnView) -> Decision:
        return Allow() if (call.arguments or {})["amount"] <= 10 else Deny("10 is the most")


async def test_denied_call(bench: MakeBench, script: Any) -> None:
    """A denied call does not run; the model is told why, and the turn goes on."""
    paid: list[int] = []

    async def pay(amount: int) -> str:
        paid.append(amount)
        return "paid"

    calls = (script.call("pay", "c1", amount=5), script.call("pay", "c2", amount=50))
    made = bench(script.says(calls=calls), script.says("done"), tools=(pay,))
    made.conversation.policy = UpTo()
    await made.turn()
    assert paid == [5]
    assert [event.call.id for event in made.events if isinstance(event, ToolCalled)] == ["c1"]
    told = {event.result.call_id: event.result for event in made.events if isinstance(event, ToolReturned)}
    assert (told["c2"].text, told["c2"].is_error) == (
        "No result: this call is not allowed: 10 is the most",
        True,
    )
    assert made.events[-1].reply.text == "done"


class Raises:
    def decide(self, call: ToolCallPart, tool: Tool[..., Any], view: TurnView) -> Decision:
        raise KeyError("amount")


class Confused:
    def decide(self, call: ToolCallPart, tool: Tool[..., Any], view: TurnView) -> Any:
        return True


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (Raises, "the policy failed: KeyError: 'amount'"),
        (Confused, "the policy returned a bool instead of Allow, Deny or Ask"),
    ],
)
def test_a_broken_policy_denies(policy: Callable[[], Any], reason: str) -> None:
    """A policy that fails or answers nonsense lets nothing through."""

    @tool
    def pay(amount: int) -> str:
        return "paid"

    call = ToolCallPart(id="c1", name="pay", arguments={"amount": 1})
    assert decide(policy(), call, pay, TurnView("scripted/test", ())) == Deny(reason)


def test_by_default_marked_tools_ask() -> None:
    """Without a policy of one's own, tools marked `approval=True` ask and all others run."""

    @tool(approval=True)
    def pay(amount: int) -> str:
        return "paid"

    @tool
    def look(amount: int) -> str:
        return "seen"

    call = ToolCallPart(id="c1", name="pay", arguments={"amount": 1})
    view = TurnView("scripted/test", ())
    assert ByApproval().decide(call, pay, view) == Ask("pay is marked approval=True")
    assert ByApproval().decide(call, look, view) == Allow()


class OneByOne:
    """Whoever approves, when the test says so."""

    def __init__(self) -> None:
        self.questions: list[Question] = []
        self.answers: dict[str, asyncio.Future[Answer]] = {}
        self.withdrawn: list[str] = []

    async def ask(self, question: Question, emit: Any, waiting: Waiting) -> Answer:
        self.questions.append(question)
        future = self.answers.setdefault(question.call.id, asyncio.get_running_loop().create_future())
        with waiting():
            return await future

    def withdraw(self, turn_id: str) -> None:
        self.withdrawn.append(turn_id)


async def test_calls_wait_for_leave_beside_each_other(bench: MakeBench, script: Any, eventually: Any) -> None:
    """One that needs none runs meanwhile; each that is approved runs, and of the others the model is told."""
    paid: list[int] = []

    @tool(approval=True, approval_expiry=30)
    async def pay(amount: int) -> str:
        """Pays."""
        paid.append(amount)
        return "paid"

    async def look() -> str:
        return "seen"

    calls = (
        script.call("pay", "c1", amount=1),
        script.call("pay", "c2", amount=2),
        script.call("look", "c3"),
    )
    made = bench(script.says(calls=calls), script.says("done"), tools=(pay, look))
    desk = OneByOne()
    made.runner._do._approvals = made.runner._approvals = desk
    turn = made.start(deadline=0.2)
    await eventually(lambda: len(desk.questions) == 2 and _told(made) == ["seen"])
    assert [question.expiry for question in desk.questions] == [30, 30]
    # Its deadline has passed by then, and stands still.
    over = asyncio.get_running_loop().time() + 0.25
    await eventually(lambda: asyncio.get_running_loop().time() > over)
    desk.answers["c2"].set_result(Answer("approved", "ann"))
    await eventually(lambda: _told(made) == ["seen", "paid"])
    desk.answers["c1"].set_result(Answer("denied", "ben", "no"))
    await turn
    assert paid == [2]
    assert _told(made)[2] == "pay was not run: ben denied it. They said: no"
    assert made.events[-1].reply.text == "done"
    assert desk.withdrawn == ["s1:1"]


def _told(made: Any) -> list[str]:
    return [event.result.text for event in made.events if isinstance(event, ToolReturned)]
