"""Running a turn: events, reply, tools and engines."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from llmgine.actors.sessions.errors import EngineFailed
from llmgine.actors.sessions.running.engines import (
    CallModel,
    Engine,
    RunTools,
    SinglePassEngine,
    Step,
    TurnView,
)
from llmgine.actors.sessions.turns.events import StepStarted, ToolCalled, ToolReturned, TurnDone, TurnFailed
from llmgine.providers.contracts import FinishReason, Message, OutputSchema, ToolCallPart, ToolResultPart
from llmgine.providers.errors import InvalidRequest
from llmgine.providers.events import TextDelta, ToolCallStart
from tests.actors.sessions.words import MakeBench, failure, shout


async def test_a_plain_turn(bench: MakeBench, script: Any) -> None:
    """A turn streams its deltas and ends with one reply; prompt and answer stand in the conversation."""
    at = bench(script.says("Hel", "lo"))
    done = await at.turn("Hi")
    assert at.events[:-1] == [StepStarted(1, "scripted/test"), TextDelta(0, "Hel"), TextDelta(0, "lo")]
    assert isinstance(done, TurnDone)
    reply = done.reply
    assert (reply.text, reply.model, reply.cost, reply.finish_reason) == (
        "Hello",
        "scripted/test",
        Decimal("0.001"),
        FinishReason.STOP,
    )
    assert (reply.turn_id, reply.session_id, reply.steps, reply.tool_calls) == ("s1:1", "s1", 1, ())
    assert at.roles == ["user", "assistant"]
    (request,) = at.models.requests
    assert (request.model, request.system, request.messages) == (
        "scripted/test",
        "Be brief.",
        (Message.user("Hi"),),
    )


async def test_tools_run_and_the_model_answers(bench: MakeBench, script: Any) -> None:
    """Tools that the model calls are run, their results go back to it, and the reply tells of both steps."""
    at = bench(
        script.says("Wait.", calls=(script.call("shout", text="hi"),)), script.says("HI!"), tools=(shout,)
    )
    done = await at.turn()
    assert isinstance(done, TurnDone)
    assert (done.reply.text, done.reply.steps, done.reply.usage.input_tokens) == ("HI!", 2, 6)
    (call,) = done.reply.tool_calls
    assert (call.name, call.arguments) == ("shout", {"text": "hi"})
    assert call.result is not None
    assert call.result.text == "HI"
    kinds = [type(event).__name__ for event in at.events]
    assert kinds == [
        "StepStarted",
        "TextDelta",
        "ToolCalled",
        "ToolReturned",
        "StepStarted",
        "TextDelta",
        "TurnDone",
    ]
    assert at.roles == ["user", "assistant", "tool", "assistant"]
    assert at.models.requests[1].messages == at.context.view()[:3]
    assert [spec.name for spec in at.models.requests[0].tools] == ["shout"]


async def test_parallel_calls_run_in_parallel_and_answer_in_order(bench: MakeBench, script: Any) -> None:
    """Calls of one step run at the same time; their results come back in order of call."""
    first_may_end = asyncio.Event()

    async def first() -> str:
        await first_may_end.wait()
        return "1"

    async def second() -> str:
        first_may_end.set()
        return "2"

    calls = (script.call("first", "c1"), script.call("second", "c2"), script.call("none", "c3"))
    at = bench(script.says(calls=calls), script.says("ok"), tools=(first, second))
    await at.turn()
    results = [part for part in at.context.view()[2].parts if isinstance(part, ToolResultPart)]
    assert [(part.call_id, part.is_error) for part in results] == [("c1", False), ("c2", False), ("c3", True)]
    returned = [event.result.call_id for event in at.events if isinstance(event, ToolReturned)]
    assert returned.index("c2") < returned.index("c1")


async def test_parallel_calls_are_bounded(bench: MakeBench, script: Any) -> None:
    """No more calls run at once than `parallel_tools`."""
    running, most = 0, 0

    async def work() -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return "ok"

    calls = tuple(script.call("work", f"c{number}") for number in range(6))
    at = bench(script.says(calls=calls), script.says("ok"), tools=(work,), parallel_tools=2)
    assert isinstance(await at.turn(), TurnDone)
    assert most == 2


async def test_repeated_call_ids_stay_paired(bench: MakeBench, script: Any) -> None:
    """A server that repeats its call ids does not break the pairing: events, results and context agree."""
    at = bench(
        script.says(calls=(script.call("shout", "x", text="a"),)),
        script.says(calls=(script.call("shout", "x", text="b"),)),
        script.says("ok"),
        tools=(shout,),
    )
    done = await at.turn()
    assert isinstance(done, TurnDone)
    called = [event.call.id for event in at.events if isinstance(event, ToolCalled)]
    assert len(set(called)) == 2
    results = [(call.id, call.result and call.result.text) for call in done.reply.tool_calls]
    assert results == [(called[0], "A"), (called[1], "B")]


async def test_the_turns_own_model_and_options(bench: MakeBench, script: Any) -> None:
    """A turn may name another model and set fields of the request; the next turn has the session's again."""
    at = bench(script.says("a"), script.says("b"))
    await at.turn(model="other/m", options={"temperature": 0.5, "seed": 7})
    await at.turn()
    first, second = at.models.requests
    assert (first.model, first.temperature, first.seed) == ("other/m", 0.5, 7)
    assert (second.model, second.temperature, second.seed) == ("scripted/test", None, None)


async def test_an_option_that_does_not_exist(bench: MakeBench) -> None:
    """An option that no request has fails the turn as the caller's mistake, and names it."""
    at = bench()
    error = failure(await at.turn(options={"temprature": 1}), InvalidRequest)
    assert "temprature" in str(error)
    assert at.roles == []


async def test_structured_output(bench: MakeBench, script: Any) -> None:
    """A turn with an output schema asks for it, and its reply has the value that was checked."""
    schema = OutputSchema(json_schema={"type": "object"})
    at = bench(script.says('{"a": 1, "b": null}', output={"a": 1}))
    done = await at.turn(output=schema)
    assert at.models.requests[0].output == schema
    assert isinstance(done, TurnDone)
    assert done.reply.output == {"a": 1}


async def test_an_empty_prompt(bench: MakeBench) -> None:
    """A prompt that says nothing fails the turn before any model is called."""
    at = bench()
    assert isinstance(await at.turn(""), TurnFailed)
    assert at.models.requests == []


class Raises:
    def next(self, view: TurnView) -> Step:
        raise RuntimeError("oops")


class RunsNothingThatIsThere:
    def next(self, view: TurnView) -> Step:
        return RunTools((ToolCallPart(id="made up", name="shout", arguments={}),))


class SkipsCalls:
    """Calls the model again without running the calls of its answer."""

    def next(self, view: TurnView) -> Step:
        return CallModel(view.request()) if view.steps < 2 else SinglePassEngine().next(view)


@pytest.mark.parametrize("engine", [Raises(), RunsNothingThatIsThere()])
async def test_an_engine_that_fails(bench: MakeBench, engine: Engine) -> None:
    """An engine that raises, or asks for what is not there, fails its turn and nothing else."""
    at = bench(engine=engine)
    failure(await at.turn(), EngineFailed)
    assert at.roles == []


async def test_an_engine_that_skips_calls(bench: MakeBench, script: Any) -> None:
    """Calls that an engine does not run are answered for, so that the next model call is well-formed."""
    at = bench(script.says(calls=(script.call("shout", text="a"),)), script.says("ok"), engine=SkipsCalls())
    assert isinstance(await at.turn(), TurnDone)
    assert at.roles == ["user", "assistant", "tool", "assistant"]


async def test_repeated_call_ids_are_told_as_they_are_kept(bench: MakeBench, script: Any) -> None:
    """The id in the deltas is the one in history, also where a server repeats its own."""

    def asks() -> Any:
        return [ToolCallStart(0, "c1", "shout"), *script.says(calls=(script.call("shout", text="a"),))]

    at = bench(asks(), asks(), script.says("ok"), tools=(shout,))
    await at.turn()
    started = [event.id for event in at.events if isinstance(event, ToolCallStart)]
    called = [event.call.id for event in at.events if isinstance(event, ToolCalled)]
    assert started == called == ["c1", "c1-2"]


async def test_an_engine_cannot_run_a_call_twice(bench: MakeBench, script: Any) -> None:
    """A call has one result, so an engine that asks for it twice has failed before anything ran."""

    class Twice(Engine):
        def next(self, view: TurnView) -> Step:
            return RunTools(view.answer.tool_calls * 2) if view.answer else CallModel(view.request())

    at = bench(script.says(calls=(script.call("shout", text="a"),)), tools=(shout,), engine=Twice())
    failure(await at.turn(), EngineFailed)
    assert not [event for event in at.events if isinstance(event, ToolCalled)]
    assert not at.context.open_calls


async def test_a_wrong_option_is_told_without_what_was_given(bench: MakeBench) -> None:
    """The error of a request that cannot be made names the field and keeps its value to itself."""
    at = bench()
    event = await at.turn(options={"extra_headers": {"x-pass": ["hidden-word"]}})
    text = str(failure(event, InvalidRequest))
    assert "extra_headers.x-pass" in text
    assert "hidden-word" not in text
