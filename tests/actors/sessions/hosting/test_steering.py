"""What is said to a running turn is read by it, once, whatever becomes of its process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmgine.actors.sessions.errors import TurnCancelled
from llmgine.actors.sessions.hosting.opening import Opening
from llmgine.actors.sessions.running.engines import SinglePassEngine
from llmgine.actors.sessions.turns.events import Steered, StepStarted, TurnDone
from llmgine.providers.contracts import Message
from llmgine.providers.errors import InvalidRequest, ProviderError
from tests.actors.sessions.stage import Stage, soon
from tests.actors.sessions.words import PROVIDER_FAILED


async def spoken(session: Any) -> list[str]:
    return [f"{message.role}: {message.text}" for message in await soon(session.history())]


class Slow:
    """A tool that tells when it is inside, and waits."""

    def __init__(self, gate: Any) -> None:
        self.gate = gate

    async def look(self) -> str:
        """Look it up."""
        await self.gate.wait()
        return "found"


async def test_the_next_model_call_reads_it(stage: Stage, script: Any) -> None:
    """Said while a tool runs, it stands behind the tool's result when the model is called again."""
    slow = Slow(script.Gate())
    calls = (script.call("look"),)
    session = await stage.open(script.says(calls=calls), script.says("voilà"), tools=(slow.look,))
    turn = await soon(session.submit("find it"))
    await slow.gate.inside.wait()
    assert await soon(session.steer("in French"))
    slow.gate.go_on.set()
    events = [event async for event in turn.stream()]
    assert [event.message.text for event in events if isinstance(event, Steered)] == ["in French"]
    asked = stage.models.requests[-1].messages
    assert [message.role for message in asked] == ["user", "assistant", "tool", "user"]
    assert (await spoken(session))[-2:] == ["user: in French", "assistant: voilà"]


@pytest.mark.parametrize("engine", [None, SinglePassEngine()])
async def test_a_turn_answers_before_it_ends(stage: Stage, script: Any, engine: Any) -> None:
    """Said while the last answer streams, it is answered by the same turn, under any engine."""
    gate = script.Gate()
    session = await stage.open([gate, *script.says("one")], script.says("two"), engine=engine)
    turn = await soon(session.submit("a"))
    await gate.inside.wait()
    assert await soon(turn.steer("b"))
    gate.go_on.set()
    events = [event async for event in turn.stream()]
    kinds = [type(event) for event in events if isinstance(event, StepStarted | Steered | TurnDone)]
    assert kinds == [StepStarted, Steered, StepStarted, TurnDone]
    assert (await soon(turn.result())).text == "two"
    assert await spoken(session) == ["user: a", "assistant: one", "user: b", "assistant: two"]


async def test_a_waiting_turn_is_told_behind_its_prompt(stage: Stage, script: Any) -> None:
    """A turn that has not begun reads with its prompt what was said to it."""
    gate = script.Gate()
    session = await stage.open([gate, *script.says("1")], script.says("2"))
    await soon(session.submit("a"))
    behind = await soon(session.submit("b"))
    assert await soon(behind.steer("and c"))
    gate.go_on.set()
    assert (await soon(behind.result())).text == "2"
    assert [message.text for message in stage.models.requests[1].messages] == ["a", "1", "b", "and c"]


async def test_a_turn_that_was_cancelled_before_it_began_hears_nothing(stage: Stage, script: Any) -> None:
    """Also while its end is on its way to the store."""
    gate = script.Gate()
    session = await stage.open([gate, *script.says("1")])
    await soon(session.submit("a"))
    behind = await soon(session.submit("b"))
    live = stage.host.queue.get(behind.id)
    assert live is not None
    assert stage.host.queue.cancel(live)
    assert not stage.host.queue.steer(live, "x", Message.user("and c"))
    gate.go_on.set()


async def test_nobody_listens_any_more(stage: Stage, script: Any) -> None:
    """Without a running turn, and to one that has ended, nothing is said, and that is told."""
    session = await stage.open(script.says("one"))
    assert not await soon(session.steer("early"))
    turn = await soon(session.submit("a"))
    await soon(turn.result())
    assert not await soon(turn.steer("late"))
    assert not await soon(session.steer("late"))
    assert await spoken(session) == ["user: a", "assistant: one"]
    with pytest.raises(InvalidRequest):
        await soon(session.steer(Message.assistant("I said")))


@pytest.mark.parametrize("ending", ["cancelled", "failed"])
async def test_a_turn_without_an_answer_leaves_nothing(stage: Stage, script: Any, ending: str) -> None:
    """A turn that is cancelled or fails before any answer takes what was said to it along."""
    gate = script.Gate()
    session = await stage.open([gate, PROVIDER_FAILED])
    first = await soon(session.submit("a"))
    assert await soon(first.steer("b"))
    await gate.inside.wait()
    assert await soon(first.steer("c"))
    if ending == "failed":
        gate.go_on.set()
    else:
        await soon(first.cancel())
    with pytest.raises(TurnCancelled if ending == "cancelled" else ProviderError):
        await soon(first.result())
    assert await spoken(session) == []


@pytest.mark.parametrize("read", [False, True])
async def test_what_was_said_outlives_the_process(stage: Stage, script: Any, read: bool) -> None:
    """It is kept before it is confirmed: in another process the turn reads it, or answers what it read."""
    first, second = script.Gate(), script.Gate()
    session = await stage.open([first, *script.says("one")], [second])
    turn = await soon(session.submit("a"))
    await first.inside.wait()
    assert await soon(turn.steer("b"))
    if read:
        first.go_on.set()
        await second.inside.wait()
        await soon(stage.host._journal.flush())
    await stage.kill()
    await stage.wake(script.says("two"))
    assert (await soon(turn.result())).text == "two"
    before = ["user: a", "assistant: one"] if read else ["user: a"]
    assert await spoken(session) == [*before, "user: b", "assistant: two"]


async def test_a_snapshot_keeps_what_was_said(stage: Stage, script: Any) -> None:
    """What waits to be read is in a snapshot taken meanwhile."""
    gate = script.Gate()
    session = await stage.open([gate])
    turn = await soon(session.submit("a"))
    await gate.inside.wait()
    assert await soon(turn.steer("b"))
    stage.host._journal.snapshot()
    await soon(stage.host._journal.flush())
    await stage.kill()
    await stage.wake(script.says("one"))
    await soon(turn.result())
    assert await spoken(session) == ["user: a", "user: b", "assistant: one"]


async def test_said_twice_is_read_once(stage: Stage, script: Any) -> None:
    """The same words under the same id, as after a lost answer, enter the conversation once."""
    gate = script.Gate()
    session = await stage.open([gate, *script.says("one")], script.says("two"))
    turn = await soon(session.submit("a"))
    await gate.inside.wait()
    live = stage.host.queue.running
    assert live is not None
    for _ in range(2):
        assert stage.host.queue.steer(live, "id-1", Message.user("b"))
    gate.go_on.set()
    await soon(turn.result())
    assert (await spoken(session)).count("user: b") == 1


def test_an_opening_says_when_busy() -> None:
    """What the driver sends of windows, limits and queues is read as it was meant."""
    wire = {"window": {"kind": "tokens"}, "limits": {"cost": "0.10"}, "when_busy": "refuse"}
    opening = Opening(session_id="s1", model="m", **wire)
    assert opening.record()["limits"]["cost"] == "0.10"
    assert Opening(session_id="s1", opening=1, **opening.record()) == opening


async def test_cancel_beats_what_was_said(stage: Stage, script: Any) -> None:
    """A turn that is being cancelled takes nothing more."""
    gate = script.Gate()
    await stage.open([gate])
    turn = await soon(stage.driver().submit("a"))
    await gate.inside.wait()
    live = stage.host.queue.running
    assert live is not None
    stage.host.queue.cancel(live)
    assert not stage.host.queue.steer(live, "id-1", Message.user("b"))
    with pytest.raises(TurnCancelled):
        await asyncio.wait_for(turn.result(), 10)
