"""Approvals on whole runtimes: asked for, answered, and waited for over every death in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmgine.actors.control import names
from llmgine.runtime import (
    AlreadyAnswered,
    Approval,
    ApprovalAnswered,
    ApprovalNeeded,
    ApprovalRequested,
    ApprovalSettled,
    Event,
    InvalidRequest,
    Runtime,
    TurnSuspended,
    UnknownApproval,
    tool,
)
from tests.runtime.looks import cluster_of, entry_of, sleeps

Eventually = Callable[..., Any]

CALLS = {"tool_calls": [{"name": "pay", "arguments": {"euros": 5}}]}
SETTINGS: dict[str, Any] = {
    "telemetry": {"enabled": False},
    "control": {"stop_grace": 1},
    "sessions": {"idle": 0.1},
    "providers": {"scripts": {"clerk": {"replies": [CALLS, {"text": "Done."}]}}},
}

paid: list[int] = []


@tool(approval=True)
def pay(euros: int) -> str:
    """Pays."""
    paid.append(euros)
    return f"{euros} paid"


@pytest.fixture(autouse=True)
def nothing_paid() -> None:
    paid.clear()


@pytest_asyncio.fixture
async def runtime(clean_environ: object) -> AsyncIterator[Runtime]:
    async with Runtime.in_process(SETTINGS) as opened:
        yield opened


async def first(runtime: Runtime) -> Approval:
    async for approval in runtime.approvals.watch():
        return approval
    raise AssertionError("it watches without end")


async def test_a_call_waits_for_its_approval(runtime: Runtime, eventually: Eventually) -> None:
    """Whoever follows the turn, watches or listens hears of it, and the call runs once it is approved."""
    heard: list[Event] = []
    for kind in (ApprovalRequested, ApprovalAnswered, TurnSuspended):
        await runtime.bus.register_event_handler(kind, heard.append, name=kind.__name__)
    async with runtime.session("s", model="scripted/clerk", tools=[pay]) as session:
        told: list[Any] = []
        async for event in session.stream("pay"):
            if isinstance(event, ApprovalNeeded):
                approval = await first(runtime)
                assert (approval.id, approval.tool, approval.arguments) == (
                    event.approval_id,
                    "pay",
                    {"euros": 5},
                )
                assert not paid
                await runtime.approvals.approve(approval.id, by="ann", note="go on")
            if isinstance(event, ApprovalNeeded | ApprovalSettled):
                told.append(event)
    assert paid == [5]
    assert [event.type for event in told] == ["approval_needed", "approval_settled"]
    assert (told[1].state, told[1].by, told[1].note) == ("approved", "ann", "go on")
    await eventually(lambda: len(heard) == 3)
    assert [type(event) for event in heard] == [ApprovalRequested, TurnSuspended, ApprovalAnswered]
    kept = await runtime.approvals.get(approval.id)
    assert (kept.state, kept.by, kept.turn_id) == ("approved", "ann", approval.turn_id)
    assert kept.to_json()["answered"] is not None


async def test_a_denied_call_is_not_run_and_its_model_is_told(runtime: Runtime) -> None:
    """With the note; a second answer is refused with the first, and an unknown id is told from it."""
    async with runtime.session("s", model="scripted/clerk", tools=[pay]) as session:
        turn = await session.submit("pay")
        approval = await first(runtime)
        await runtime.approvals.deny(approval.id, by="ann", note="too much")
        reply = await turn.result()
    result = reply.tool_calls[0].result
    assert result is not None
    assert result.text == "pay was not run: ann denied it. They said: too much"
    assert (paid, reply.text) == ([], "Done.")
    with pytest.raises(AlreadyAnswered, match="ann"):
        await runtime.approvals.approve(approval.id)
    with pytest.raises(UnknownApproval):
        await runtime.approvals.approve("a-0")
    with pytest.raises(InvalidRequest, match="use one of"):
        [one async for one in runtime.approvals.list(state="open")]  # type: ignore[arg-type]  # that is the test
    assert [one.id async for one in runtime.approvals.list()] == []
    assert [one.id async for one in runtime.approvals.list(state=None, session="s")] == [approval.id]


async def test_a_session_sleeps_while_its_turn_waits(runtime: Runtime, eventually: Eventually) -> None:
    """It costs no actor meanwhile; the answer wakes it, and the turn goes on where it was."""
    async with runtime.session("s", model="scripted/clerk", tools=[pay]) as session:
        turn = await session.submit("pay", deadline=5.0)
        approval = await first(runtime)
        await eventually(lambda: sleeps(runtime, "s"))
        await runtime.approvals.approve(approval.id)
        reply = await turn.result()
        assert (reply.text, paid) == ("Done.", [5])
        assert [message.role for message in await session.history()] == [
            "user",
            "assistant",
            "tool",
            "assistant",
        ]


@pytest.mark.parametrize("victim", ["host", names.SUPERVISOR])
async def test_an_approval_outlives_who_waits_for_it(clean_environ: object, victim: str) -> None:
    """The session's process, or the supervisor, dies while nobody has answered yet."""
    settings = {**SETTINGS, "sessions": {"idle": 60}}
    async with (
        Runtime.in_process(settings) as runtime,
        runtime.session("s", model="scripted/clerk", tools=[pay]) as session,
    ):
        turn = await session.submit("pay")
        approval = await first(runtime)
        if victim == "host":
            await cluster_of(runtime).kill((await entry_of(runtime, "s"))["actor"])
        else:
            await cluster_of(runtime).crash(victim)
        await runtime.approvals.approve(approval.id)
        assert (await turn.result()).text == "Done."
        assert paid == [5]


async def test_nobody_answers_in_time(clean_environ: object) -> None:
    """It counts as denied when its time is over, and the model is told so."""
    settings = {**SETTINGS, "sessions": {"approval_expiry": 0.3}}
    async with Runtime.in_process(settings) as runtime:
        async with runtime.session("s", model="scripted/clerk", tools=[pay]) as session:
            reply = await session.ask("pay")
            result = reply.tool_calls[0].result
            assert result is not None
            assert "nobody approved it in time" in result.text
            assert [one.state async for one in runtime.approvals.list(state=None)] == ["expired"]
        assert paid == []


async def test_a_cancelled_turn_asks_for_nothing_any_more(runtime: Runtime, eventually: Eventually) -> None:
    """Its approval is closed, so that nobody is bothered."""
    async with runtime.session("s", model="scripted/clerk", tools=[pay]) as session:
        turn = await session.submit("pay")
        approval = await first(runtime)
        assert await turn.cancel()

        async def closed() -> bool:
            return (await runtime.approvals.get(approval.id)).state == "expired"

        await eventually(closed)
    assert paid == []


async def test_an_approval_outlives_its_runtime(clean_environ: object, tmp_path: Path) -> None:
    """Everything stops while it waits; a later runtime over the same store lists it, and goes on with it."""
    store = {"url": f"sqlite:///{tmp_path / 'store.db'}"}
    settings = {**SETTINGS, "store": store, "sessions": {"idle": 0.1}}
    async with Runtime.in_process(settings) as runtime:
        session = runtime.session("s", model="scripted/clerk", tools=[pay], stay=True)
        await session.open()
        turn = await session.submit("pay")
        approval = await first(runtime)
    async with Runtime.in_process(settings) as runtime:
        assert [one.id async for one in runtime.approvals.list()] == [approval.id]
        await runtime.approvals.deny(approval.id, note="not today")
        async with asyncio.timeout(20):
            reply = await runtime.turn(turn.id).result()
    assert reply.text == "Done."
    assert paid == []
