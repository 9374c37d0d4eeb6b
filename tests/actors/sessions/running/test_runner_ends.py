"""Turns that fail, are cancelled or run out of time, and the context that they leave."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Any

import pytest

from llmgine.actors.sessions.errors import TurnCancelled, TurnDeadline
from llmgine.actors.sessions.turns.events import ToolReturned, TurnDone
from llmgine.providers.codecs import AnthropicMessagesCodec, OpenAIChatCodec
from llmgine.providers.codecs.codec import Target
from llmgine.providers.contracts import (
    FinishReason,
    LLMRequest,
    Message,
    TextPart,
    ThinkingPart,
    ToolResultPart,
    Usage,
)
from llmgine.providers.errors import ProviderError, UnknownModel
from llmgine.providers.events import Failed, PartDone, Reset, TextDelta, ThinkingDelta, ToolCallDelta
from tests.actors.sessions.words import PROVIDER_FAILED, MakeBench, failure, shout


@pytest.mark.parametrize(
    "broken",
    [
        [TextDelta(0, "Hal"), Failed(PROVIDER_FAILED, usage=Usage(input_tokens=1))],
        [PROVIDER_FAILED],
        [UnknownModel("no such model")],
        [TextDelta(0, "Hal")],
    ],
    ids=["failed", "raised", "unknown model", "no last event"],
)
async def test_a_failed_model_call_leaves_no_trace(bench: MakeBench, script: Any, broken: Any) -> None:
    """A turn whose only model call fails leaves the conversation as it was."""
    at = bench(script.says("one"), broken, script.says("three"))
    await at.turn("first")
    event = await at.turn("second")
    error = failure(event, UnknownModel if isinstance(broken[0], UnknownModel) else ProviderError)
    assert str(error)
    assert event.partial == (Message.assistant("Hal") if isinstance(broken[0], TextDelta) else None)
    assert at.roles == ["user", "assistant"]
    assert isinstance(await at.turn("third"), TurnDone)
    assert [message.text for message in at.context.view()] == ["first", "one", "third", "three"]


async def test_a_failure_after_finished_steps_keeps_them(bench: MakeBench, script: Any) -> None:
    """Steps that were finished before a model call failed stay, because their tools have had their effect."""
    at = bench(
        script.says(calls=(script.call("shout", text="a"),)),
        [TextDelta(0, "par"), Failed(PROVIDER_FAILED)],
        script.says("ok"),
        tools=(shout,),
    )
    failure(await at.turn(), ProviderError)
    assert at.roles == ["user", "assistant", "tool"]
    assert isinstance(await at.turn("again"), TurnDone)
    assert at.roles == ["user", "assistant", "tool", "user", "assistant"]


async def test_an_empty_answer_leaves_no_trace(bench: MakeBench, script: Any) -> None:
    """A model that says nothing gives an empty reply, and no empty message enters the conversation."""
    at = bench(script.says())
    done = await at.turn()
    assert isinstance(done, TurnDone)
    assert (done.reply.text, done.reply.finish_reason) == ("", FinishReason.STOP)
    assert at.roles == []


async def test_cancel_while_the_model_speaks(bench: MakeBench, script: Any) -> None:
    """A cancelled turn closes the model call and keeps the text that had been streamed."""
    gate = script.Gate()
    thinking = ThinkingPart(text="hm")
    at = bench(
        [
            ThinkingDelta(0, "hm"),
            PartDone(0, thinking),
            TextDelta(1, "So "),
            TextDelta(1, "far"),
            ToolCallDelta(2, "{"),
            gate,
        ]
    )
    task = at.start()
    await gate.inside.wait()
    task.cancel()
    await task
    event = at.events[-1]
    failure(event, TurnCancelled)
    assert event.partial == Message.assistant("So far")
    assert at.models.cut_short == 1
    assert at.context.view()[-1] == Message.assistant("So far")
    at.models.script.append(script.says("ok"))
    assert isinstance(await at.turn("go on"), TurnDone)


async def test_cancel_before_anything_was_said(bench: MakeBench, script: Any) -> None:
    """A turn that is cancelled before the model said anything leaves no trace."""
    gate = script.Gate()
    at = bench([gate])
    task = at.start()
    await gate.inside.wait()
    task.cancel()
    await task
    failure(at.events[-1], TurnCancelled)
    assert at.roles == []


async def test_cancel_while_tools_run(bench: MakeBench, script: Any) -> None:
    """A cancel while tools run keeps the results that are there and answers the other calls."""
    inside = asyncio.Event()

    async def quick() -> str:
        return "fast"

    async def stuck() -> str:
        inside.set()
        await asyncio.Event().wait()
        return "never"

    calls = (script.call("stuck", "c1"), script.call("quick", "c2"), script.call("stuck", "c3"))
    at = bench(script.says("Wait.", calls=calls), tools=(quick, stuck), parallel_tools=2)
    task = at.start()
    await inside.wait()
    await at.until(ToolReturned)
    task.cancel()
    await task
    failure(at.events[-1], TurnCancelled)
    assert at.roles == ["user", "assistant", "tool"]
    results = [part for part in at.context.view()[2].parts if isinstance(part, ToolResultPart)]
    assert [(part.call_id, part.is_error, part.text) for part in results] == [
        ("c1", True, "No result: the turn ended before it had returned"),
        ("c2", False, "fast"),
        ("c3", True, "No result: the turn ended before it had returned"),
    ]
    returned = [event.result.call_id for event in at.events if isinstance(event, ToolReturned)]
    assert sorted(returned) == ["c1", "c2", "c3"]
    at.models.script.append(script.says("ok"))
    assert isinstance(await at.turn("go on"), TurnDone)


@pytest.mark.parametrize("where", ["model", "tool"])
async def test_deadline(bench: MakeBench, script: Any, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn past its deadline fails with an error that names the setting, and its history stays paired."""
    gate = script.Gate()

    async def stuck() -> str:
        await gate.wait()
        return "never"

    begun = [TextDelta(0, "So far"), gate]
    at = bench(begun if where == "model" else script.says(calls=(script.call("stuck"),)), tools=(stuck,))
    task = at.start(deadline=60.0)
    await gate.inside.wait()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: time.monotonic() + 60.0)
    await task
    error = failure(at.events[-1], TurnDeadline)
    assert "sessions.turn_deadline" in str(error)
    assert at.roles == (["user", "assistant"] if where == "model" else ["user", "assistant", "tool"])


async def test_the_deadline_bounds_the_model_call(bench: MakeBench, script: Any) -> None:
    """Each model call is told how much of the turn's time is left, where its own limit is not shorter."""
    at = bench(script.says("a"), script.says("b"))
    await at.turn(deadline=30.0)
    await at.turn(deadline=30.0, options={"deadline": 5.0})
    assert 29 < at.models.requests[0].deadline <= 30
    assert at.models.requests[1].deadline == 5.0


async def test_reset_takes_back_what_was_streamed(bench: MakeBench, script: Any) -> None:
    """After a reset the partial text begins anew."""
    gate = script.Gate()
    at = bench([TextDelta(0, "wrong"), Reset("restart"), TextDelta(0, "right"), gate])
    task = at.start()
    await gate.inside.wait()
    task.cancel()
    await task
    assert Reset("restart") in at.events
    assert at.events[-1].partial == Message.assistant("right")


async def test_what_a_broken_turn_leaves_suits_every_protocol(bench: MakeBench, script: Any) -> None:
    """After failed, cancelled and half-finished turns the conversation is one that each codec encodes."""
    gate = script.Gate()
    at = bench(
        script.says(calls=(script.call("shout", text="a"),)),
        [Failed(PROVIDER_FAILED)],
        [Failed(PROVIDER_FAILED)],
        [TextDelta(0, "So far"), gate],
        script.says("ok"),
        tools=(shout,),
    )
    await at.turn("one")
    await at.turn("two")
    task = at.start("three")
    await gate.inside.wait()
    task.cancel()
    await task
    await at.turn("four")
    assert at.roles == ["user", "assistant", "tool", "user", "assistant", "user", "assistant"]
    for codec in (OpenAIChatCodec(), AnthropicMessagesCodec()):
        request = LLMRequest(model="p/m", messages=(*at.context.view(), Message.user("next")))
        body = codec.encode(request, Target("p", "m")).body
        roles = [message["role"] for message in body["messages"]]
        for before, after in itertools.pairwise(roles):
            assert (before, after) != ("user", "user")
            assert (before, after) != ("assistant", "assistant")


def test_partial_parts_are_text() -> None:
    """The partial message of a part that was finished keeps that part's own data."""
    from llmgine.actors.sessions.running.partial import Partial

    partial = Partial()
    partial.add(TextDelta(0, "Hel"))
    part = TextPart(text="Hello", provider_data={"k": 1})
    partial.finished(PartDone(0, part))
    partial.add(TextDelta(2, "…"))
    assert partial.message() == Message(role="assistant", parts=(part, TextPart(text="…")))
    partial.clear()
    assert partial.message() is None
