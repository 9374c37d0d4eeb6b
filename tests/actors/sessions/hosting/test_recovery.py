"""A session whose process dies goes on in another, from what it had written."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from llmgine.actors.sessions.client.client import TurnClient
from llmgine.actors.sessions.errors import OutcomeUnknown, SessionMoved, TurnCancelled, TurnDeadline
from llmgine.actors.sessions.tools.tool import tool
from llmgine.actors.sessions.turns.events import TurnDone, TurnReset
from llmgine.actors.sessions.turns.turn import TurnRequest
from llmgine.actors.store import StoreUnavailable
from llmgine.actors.store.rows import ApprovalState
from llmgine.actors.store.session_operations import (
    AnswerApproval,
)
from llmgine.providers.contracts import Message, TextPart, ToolResultPart, ToolSpec
from llmgine.providers.events import TextDelta
from tests.actors.sessions.stage import Stage, soon, texts


async def test_a_session_wakes_with_its_history(stage: Stage, script: Any) -> None:
    """What was answered in one process is the history in the next."""
    session = await stage.open(script.says("one"))
    assert (await soon(session.ask("a"))).text == "one"
    await stage.kill()
    await stage.wake(script.says("two"))
    assert (await soon(session.ask("b"))).text == "two"
    assert await texts(session) == ["a", "one", "b", "two"]
    assert [message.text for message in stage.models.requests[0].messages] == ["a", "one", "b"]


async def test_a_turn_goes_on_elsewhere(stage: Stage, script: Any) -> None:
    """A submitted turn whose process dies is answered by the next one, and so are those behind it."""
    gate = script.Gate()
    session = await stage.open([gate])
    turns = [await soon(session.submit(prompt)) for prompt in "abc"]
    waiting = asyncio.create_task(turns[1].result())
    await gate.inside.wait()
    await stage.kill()
    await stage.wake(script.says("1"), script.says("2"), script.says("3"))
    assert [(await soon(turn.result())).text for turn in turns] == ["1", "2", "3"]
    assert (await soon(waiting)).text == "2"
    assert await texts(session) == ["a", "1", "b", "2", "c", "3"]
    assert len(stage.models.requests) == 3


async def test_a_reader_is_told_that_the_turn_begins_anew(stage: Stage, script: Any, eventually: Any) -> None:
    """A reader in mid-stream gets a reset and then the turn from its start; nothing is doubled."""
    gate = script.Gate()
    session = await stage.open([TextDelta(0, "Hel"), gate])
    events: list[Any] = []

    async def read() -> None:
        async for event in session.stream("a"):
            events.append(event)

    reading = asyncio.create_task(read())
    await gate.inside.wait()
    await eventually(lambda: any(isinstance(event, TextDelta) for event in events))
    await stage.kill()
    await stage.wake(script.says("Hello"))
    await soon(reading)
    at = next(number for number, event in enumerate(events) if isinstance(event, TurnReset))
    assert "".join(event.text for event in events[:at] if isinstance(event, TextDelta)) == "Hel"
    assert "".join(event.text for event in events[at:] if isinstance(event, TextDelta)) == "Hello"
    assert isinstance(events[-1], TurnDone)
    assert await texts(session) == ["a", "Hello"]


class Effects:
    """A tool that waits inside its first call, and how often it ran."""

    def __init__(self, gate: Any) -> None:
        self.gate = gate
        self.ran = 0

    def tool(self, *, idempotent: bool) -> Any:
        @tool(idempotent=idempotent)
        async def pay() -> str:
            self.ran += 1
            if self.ran == 1:
                await self.gate.wait()
            return f"paid {self.ran}"

        return pay


@pytest.mark.parametrize(
    ("idempotent", "recovery", "ran"), [(True, "fail", 2), (False, "retry", 1), (False, "fail", 1)]
)
async def test_a_tool_in_flight(stage: Stage, script: Any, idempotent: bool, recovery: str, ran: int) -> None:
    """A tool that may run twice does; of another the model hears that nobody knows, or the turn fails."""
    effects = Effects(script.Gate())
    tools = (effects.tool(idempotent=idempotent),)
    session = await stage.open(
        script.says("Well", calls=(script.call("pay"),)), tools=tools, recovery=recovery
    )
    turn = await soon(session.submit("a"))
    await effects.gate.inside.wait()
    await stage.settle()
    await stage.kill()
    await stage.wake(script.says("done"), tools=tools, recovery=recovery)
    if recovery == "fail" and not idempotent:
        with pytest.raises(OutcomeUnknown, match="pay"):
            await soon(turn.result())
    else:
        reply = await soon(turn.result())
        assert (reply.text, reply.steps) == ("done", 2)
        (result,) = [str(call.result) for call in reply.tool_calls]
        assert ("outcome of this call is unknown" in result) == (not idempotent)
    assert effects.ran == ran
    assert [message.role for message in await soon(session.history())][:3] == ["user", "assistant", "tool"]


async def test_finished_steps_are_kept(stage: Stage, script: Any) -> None:
    """A finished step and its results are not made again; the reply counts the whole turn."""
    ran: list[str] = []

    @tool
    async def pay() -> str:
        ran.append("paid")
        return "paid"

    gate = script.Gate()
    session = await stage.open(script.says("Wait.", calls=(script.call("pay"),)), [gate], tools=(pay,))
    turn = await soon(session.submit("a"))
    await gate.inside.wait()
    await stage.settle()
    await stage.kill()
    await stage.wake(script.says("done"), tools=(pay,))
    events: list[Any] = [event async for event in session.turn(turn.id).stream()]
    reply = events[-1].reply
    assert (ran, reply.steps, reply.usage.output_tokens) == (["paid"], 2, 4)
    assert [call.result.text for call in reply.tool_calls] == ["paid"]
    assert [event.type for event in events] == [
        "step_started",
        "text_delta",
        "tool_call_start",
        "tool_call_delta",
        "tool_called",
        "tool_returned",
        "step_started",
        "text_delta",
        "done",
    ]


async def test_a_cancelled_turn_never_comes_back(stage: Stage, script: Any) -> None:
    """A turn whose cancel was acknowledged is over, wherever the session wakes; so is a waiting one."""
    gate = script.Gate()
    session = await stage.open([gate])
    first, second = [await soon(session.submit(prompt)) for prompt in "ab"]
    await gate.inside.wait()
    assert await soon(second.cancel())
    assert await soon(first.cancel())
    await stage.kill()
    await stage.wake(script.says("next"))
    for turn in (first, second):
        with pytest.raises(TurnCancelled):
            await soon(turn.result())
    assert (await soon(session.ask("c"))).text == "next"
    assert len(stage.models.requests) == 1


async def test_a_cancel_is_acknowledged_when_it_is_kept(stage: Stage, script: Any) -> None:
    """What a store that went away had no time for does not count as cancelled, be it a turn that waits."""
    session = await stage.open([script.Gate()], store_timeout=0.05)
    await soon(session.submit("a"))
    waiting = await soon(session.submit("b"))
    await stage.stop_store()
    with pytest.raises(StoreUnavailable, match="store_timeout"):
        await soon(waiting.cancel())


async def test_a_turn_that_ended_is_not_run_again(stage: Stage, script: Any) -> None:
    """A turn that is sent again after its session woke elsewhere is answered with how it ended."""
    session = await stage.open(script.says("once"))
    reply = await soon(session.ask("a"))
    await stage.kill()
    await stage.wake()
    assert await soon(stage.driver().turn(reply.turn_id).result()) == reply
    assert stage.models.requests == []


async def test_an_older_process_is_fenced(stage: Stage, script: Any) -> None:
    """Once a session woke elsewhere, its older process commits nothing, stops, and tells nobody anything."""
    gate = script.Gate()
    session = await stage.open([gate, *script.says("old")])
    fenced: list[bool] = []
    old = stage.host
    old.on_fenced = lambda: fenced.append(True)
    turn = await soon(session.submit("a"))
    await gate.inside.wait()
    await stage.wake(script.says("new"))
    gate.go_on.set()
    assert (await soon(turn.result())).text == "new"
    assert await texts(stage.driver()) == ["a", "new"]
    assert fenced == [True]
    with pytest.raises(SessionMoved):
        await old._take("session.history", {"session": "s1"})


async def test_passivation(stage: Stage, script: Any, eventually: Any) -> None:
    """An idle session sleeps and wakes with its history; one that is at work or read does not sleep."""
    gate = script.Gate()
    session = await stage.open([gate, *script.says("one")])
    turn = await soon(session.submit("a"))
    await gate.inside.wait()
    assert not await stage.host.passivate()
    gate.go_on.set()
    assert (await soon(turn.result())).text == "one"
    await eventually(lambda: stage.host.idle)
    stage.awake.clear()
    assert await soon(stage.host.passivate())
    asking = asyncio.create_task(session.ask("b"))
    await stage.wake(script.says("two"))
    assert (await soon(asking)).text == "two"
    assert await texts(session) == ["a", "one", "b", "two"]
    assert stage.lookups == 2


async def test_a_session_in_which_nothing_happened_sleeps_without_a_write(stage: Stage, script: Any) -> None:
    """What the store has of it is all there is, so going to sleep costs nothing."""
    session = await stage.open(script.says("one"))
    await soon(session.ask("a"))
    assert await soon(stage.host.passivate())
    await stage.wake()
    written = stage.keeper.operations
    assert await soon(stage.host.passivate())
    assert stage.keeper.operations == written
    await stage.wake()
    assert await texts(stage.driver()) == ["a", "one"]


async def test_a_deadline_goes_on_over_a_death(
    stage: Stage, script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn has the time left that it had; where that is up, the text that was journaled is kept, once."""
    monkeypatch.setattr("llmgine.actors.sessions.running.steps._PARTIAL_EVERY", 0.0)
    gate = script.Gate()
    session = await stage.open([TextDelta(0, "So "), TextDelta(0, "far"), gate])
    turn = await soon(session.submit("a", deadline=5.0))
    await gate.inside.wait()
    await stage.settle()
    await stage.kill()
    stage.later = 10
    await stage.wake()
    with pytest.raises(TurnDeadline):
        await soon(turn.result())
    assert await texts(session) == ["a", "So far"]
    assert stage.models.requests == []


async def test_a_turn_with_an_id_of_ones_own_runs_once(stage: Stage, script: Any) -> None:
    """A turn that is asked for again under its id, by anybody, after any death, is answered by the first."""
    request = TurnRequest("s1:mine", Message.user("a"))
    session = await stage.open(script.says("once"))
    link = session._link
    assert (await soon(TurnClient("s1:mine", link, request=request).result())).text == "once"
    await stage.kill()
    await stage.wake(script.says("twice"))
    assert (await soon(TurnClient("s1:mine", link, request=request).result())).text == "once"
    assert stage.models.requests == []


async def test_submit_is_acknowledged_when_it_is_kept(stage: Stage, script: Any) -> None:
    """A submit returns once the turn is in the store; where that cannot be, it is refused and never runs."""
    session = await stage.open(script.says("1"), [script.Gate()], store_timeout=0.5)
    turn = await soon(session.submit("a"))
    row = await stage.processes[-1].store.turn("s1", turn.id)
    assert row is not None
    await soon(turn.result())
    await stage.stop_store()
    with pytest.raises(StoreUnavailable, match="store_timeout"):
        await soon(session.submit("b"))
    await stage.start()
    await stage.settle()
    assert await texts(session) == ["a", "1"]
    assert (await soon(session.describe()))["turns"]["cancelled"] == 1


async def test_a_store_that_is_away_fails_the_turn(stage: Stage, script: Any) -> None:
    """A turn that cannot be kept is not told as done; its text has come all the same."""
    gate = script.Gate()
    session = await stage.open([gate, *script.says("one")], script.says("two"), store_timeout=0.5)
    events: list[Any] = []

    async def read() -> None:
        async for event in session.stream("a"):
            events.append(event)

    reading = asyncio.create_task(read())
    await gate.inside.wait()
    await stage.stop_store()
    gate.go_on.set()
    await soon(reading)
    assert [event.type for event in events] == ["step_started", "text_delta", "error"]
    assert isinstance(events[-1].error, StoreUnavailable)
    await stage.start()
    await stage.settle()
    assert (await soon(session.ask("b"))).text == "two"


async def test_a_turn_that_has_ended_cannot_be_cancelled(stage: Stage, script: Any, eventually: Any) -> None:
    """A cancel that comes while a turn's end is on its way to the store changes nothing: it ends once."""
    gate = script.Gate()
    session = await stage.open([gate, *script.says("one")])
    turn = await soon(session.submit("a"))
    await gate.inside.wait()
    await stage.stop_store()
    gate.go_on.set()
    await eventually(lambda: turn.id not in stage.host._journal.state.queue)
    cancelling = asyncio.create_task(turn.cancel())
    ending = asyncio.create_task(stage.host.end("closed", 0.0))
    await stage.start()
    assert await soon(cancelling) is False
    assert await soon(ending)
    assert (await soon(turn.result())).text == "one"


@pytest.mark.parametrize(("state", "ran"), [("approved", 2), ("denied", 1)])
async def test_a_tool_of_unknown_outcome_is_asked_for(
    stage: Stage, script: Any, eventually: Any, state: ApprovalState, ran: int
) -> None:
    """With recovery "ask" such a call runs again only where somebody allows it; the session may sleep."""
    effects = Effects(script.Gate())
    ways: dict[str, Any] = {"tools": (effects.tool(idempotent=False),), "recovery": "ask"}
    session = await stage.open(script.says("Well", calls=(script.call("pay"),)), **ways)
    turn = await soon(session.submit("a"))
    await effects.gate.inside.wait()
    await stage.kill()
    await stage.wake(**ways)
    await eventually(lambda: stage.host.approvals.waiting and stage.host.idle)
    assert await soon(stage.host.passivate())
    store = stage.store("supervisor")
    (row,) = (await store.approvals(state="pending")).rows
    assert (row.tool, row.turn) == ("pay", turn.id)
    await store.write([AnswerApproval(row.id, state, "ann", "", 1)])
    await stage.wake(script.says("done"), **ways)
    reply = await soon(turn.result())
    assert (reply.text, effects.ran) == ("done", ran)
    assert [message.role for message in await soon(session.history())] == [
        "user",
        "assistant",
        "tool",
        "assistant",
    ]


async def test_an_acknowledged_turn_is_not_taken_back(stage: Stage, script: Any) -> None:
    """Not by a second submit under its key which the store cannot keep in time either."""
    gate = script.Gate()
    session = await stage.open([gate, *script.says("one")], script.says("two"), store_timeout=0.5)
    turn = await soon(session.submit("a", key="k"))
    await gate.inside.wait()
    await stage.stop_store()
    steering = asyncio.create_task(session.steer("and"))
    with pytest.raises(StoreUnavailable):
        await soon(session.submit("a", key="k"))
    with pytest.raises(StoreUnavailable):
        await soon(steering)
    await stage.start()
    await stage.settle()
    gate.go_on.set()
    assert (await soon(turn.result())).text == "two"


async def test_a_process_that_has_left_takes_no_turn(stage: Stage, script: Any) -> None:
    """A submit that had to ask the store meanwhile looks again elsewhere; its model is not called here."""
    await stage.open(script.says("one"))
    await stage.host.leave("it was taken back")
    with pytest.raises(SessionMoved):
        stage.host.queue.submit(TurnRequest("s1:late", Message.user("a")))
    assert stage.host.queue.is_idle


async def test_an_answer_that_comes_while_its_session_goes_to_sleep_is_for_its_next_life(
    stage: Stage, script: Any, eventually: Any
) -> None:
    """Whoever brings it hears that nobody waits for it here any more, and wakes the session."""

    @tool(approval=True)
    async def pay() -> str:
        return "paid"

    session = await stage.open(script.says("Well", calls=(script.call("pay"),)), tools=(pay,))
    await soon(session.submit("a"))
    await eventually(lambda: stage.host.approvals.waiting and stage.host.idle)
    (asked,) = stage.host.approvals.waiting
    heard: list[bool] = []

    class Own:
        idle = True

        async def close(self, grace: float) -> None:
            if stage.host._gone is not None:
                heard.append(stage.host.look_for_answers(asked))

    stage.host.own = cast(Any, Own())
    assert await soon(stage.host.passivate())
    assert heard == [False]


async def test_a_call_that_is_left_to_whoever_asked_outlives_the_process(stage: Stage, script: Any) -> None:
    """The session's own call is run again, the other one handed over; its result comes later."""
    effects = Effects(script.Gate())
    tools = (effects.tool(idempotent=True),)
    theirs = ToolSpec(name="theirs", parameters={"type": "object", "properties": {}})
    calls = (script.call("pay", "c1"), script.call("theirs", "c2"))
    session = await stage.open(script.says("Well", calls=calls), tools=tools)
    turn = session.turn_of([Message.user("a")], tools=[theirs])
    await soon(turn.accepted())
    await effects.gate.inside.wait()
    await stage.settle()
    await stage.kill()
    await stage.wake(tools=tools)
    reply = await soon(turn.result())
    assert [call.id for call in reply.open_calls] == ["c2"]
    await stage.kill()
    await stage.wake(script.says("done"), tools=tools)
    result = ToolResultPart(call_id="c2", content=(TextPart(text="came"),))
    again = session.turn_of([Message(role="tool", parts=(result,))], tools=[theirs])
    assert (await soon(again.result())).text == "done"
    history = await soon(session.history())
    assert [message.role for message in history] == ["user", "assistant", "tool", "tool", "assistant"]
