"""Running a turn: events, reply, and a context that is whole whatever happened."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from llmgine.actors.sessions.engines import CallModel, Engine, RunTools, SinglePassEngine, Step, TurnView
from llmgine.actors.sessions.errors import EngineFailed, StepLimit, TurnCancelled, TurnDeadline
from llmgine.actors.sessions.events import StepStarted, ToolCalled, ToolReturned, TurnDone, TurnFailed
from llmgine.actors.sessions.journal import ContextChanged, ToolBegan, TurnBegan, TurnEnded
from llmgine.actors.sessions.tools import tool
from llmgine.providers.codecs import AnthropicMessagesCodec, OpenAIChatCodec
from llmgine.providers.codecs.codec import Target
from llmgine.providers.contracts import (
    FinishReason,
    LLMRequest,
    Message,
    OutputSchema,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    Usage,
    UsageSource,
)
from llmgine.providers.errors import ErrorKind, InvalidRequest, ProviderError, UnknownModel
from llmgine.providers.events import (
    Failed,
    PartDone,
    Reset,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStart,
)

MakeBench = Callable[..., Any]


async def shout(text: str) -> str:
    """Say it louder."""
    return text.upper()


def failure(event: Any, kind: type[Exception]) -> Any:
    assert isinstance(event, TurnFailed)
    assert isinstance(event.error, kind)
    return event.error


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


async def test_step_limit(bench: MakeBench, script: Any) -> None:
    """A model that only calls tools fails the turn at its limit; the steps that were made stay."""
    steps = [script.says(calls=(script.call("shout", f"c{number}", text="a"),)) for number in range(3)]
    at = bench(*steps, tools=(shout,), max_steps=3)
    failure(await at.turn(), StepLimit)
    assert at.roles == ["user", *["assistant", "tool"] * 3]


PROVIDER_FAILED = ProviderError("busy", kind=ErrorKind.OVERLOADED)


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
async def test_deadline(bench: MakeBench, script: Any, where: str) -> None:
    """A turn past its deadline fails with an error that names the setting, and its history stays paired."""

    async def stuck() -> str:
        await asyncio.Event().wait()
        return "never"

    begun = [TextDelta(0, "So far"), script.Gate()]
    at = bench(begun if where == "model" else script.says(calls=(script.call("stuck"),)), tools=(stuck,))
    error = failure(await at.turn(deadline=0.02), TurnDeadline)
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


async def test_the_journal_comes_before_the_effect(bench: MakeBench, script: Any) -> None:
    """A turn is durable before a tool that may not run twice begins, and before its end is told."""
    flushed_at: list[int] = []

    @tool
    async def pay() -> str:
        flushed_at.append(len(at.journal.flushed))
        return "paid"

    @tool(idempotent=True)
    async def look() -> str:
        flushed_at.append(len(at.journal.flushed))
        return "seen"

    at = bench(
        script.says(calls=(script.call("look", "c1"),)),
        script.says(calls=(script.call("pay", "c2"),)),
        script.says("ok"),
        tools=(pay, look),
    )
    await at.turn()
    assert flushed_at == [0, 1]
    records = at.journal.records
    assert isinstance(records[0], TurnBegan)
    assert isinstance(records[at.journal.flushed[0] - 1], ToolBegan)
    assert at.journal.flushed[-1] == len(records)
    assert records[-1] == TurnEnded("s1:1", "done")


async def test_the_journal_rebuilds_the_context(bench: MakeBench, script: Any) -> None:
    """The context's entries in the journal, applied in order, give the conversation, rollbacks included."""
    at = bench(
        script.says(calls=(script.call("shout", text="a"),)),
        script.says("ok"),
        [Failed(PROVIDER_FAILED)],
        script.says("again"),
        tools=(shout,),
    )
    for prompt in ("one", "two", "three"):
        await at.turn(prompt)
    copy = type(at.context)()
    for record in at.journal.records:
        if isinstance(record, ContextChanged):
            copy.apply(record.entry)
    assert copy.to_json() == at.context.to_json()


async def test_a_journal_that_fails(bench: MakeBench, script: Any) -> None:
    """A journal that cannot write before a tool's effect fails the turn, and the tool is not run."""
    ran: list[str] = []

    async def pay() -> str:
        ran.append("paid")
        return "paid"

    at = bench(script.says(calls=(script.call("pay", "c1"), script.call("pay", "c2"))), tools=(pay,))
    flush = at.journal.flush

    async def fails() -> None:
        at.journal.flush = flush
        raise OSError("disk full")

    at.journal.flush = fails
    error = failure(await at.turn(), EngineFailed)
    assert "disk full" in str(error)
    assert len(ran) <= 1
    assert not at.context.open_calls


async def test_a_turn_that_is_not_kept_is_not_done(bench: MakeBench, script: Any) -> None:
    """A turn whose end cannot be made durable is not told as done."""
    at = bench(script.says("ok"))

    async def fails() -> None:
        raise OSError("disk full")

    at.journal.flush = fails
    error = failure(await at.turn(), EngineFailed)
    assert "could not be kept: OSError: disk full" in str(error)


async def test_observers_are_told(bench: MakeBench, script: Any) -> None:
    """Whoever watches is told of the turn's begin, each tool, and the turn's end with its sums."""
    at = bench(
        script.says(calls=(script.call("shout", text="a"), script.call("none", "c2"))),
        script.says("ok"),
        [Failed(PROVIDER_FAILED)],
        tools=(shout,),
    )
    await at.turn()
    await at.turn()
    assert at.observer.started == ["s1:1", "s1:2"]
    assert sorted((item.name, item.ok) for item in at.observer.tools) == [("none", False), ("shout", True)]
    done, failed = at.observer.turns
    assert (done.error, done.steps, done.usage.input_tokens, done.model) == (None, 2, 6, "scripted/test")
    assert (failed.error, failed.steps) == ("overloaded", 1)


async def test_spans(bench: MakeBench, script: Any) -> None:
    """A turn, its model calls and its tools are one tree of spans, and the reply names its trace."""
    at = bench(
        script.says(calls=(script.call("shout", text="a"),)),
        script.says("ok"),
        tools=(shout,),
    )
    done = await at.turn()
    assert isinstance(done, TurnDone)
    spans = {record.name: record for record in at.recorder.drain().spans}
    turn = spans["invoke_agent"]
    children = {name: record for name, record in spans.items() if record is not turn}
    assert set(children) == {"chat test", "execute_tool shout"}
    assert {record.parent_id for record in children.values()} == {turn.span_id}
    assert {record.trace_id.hex() for record in spans.values()} == {done.reply.trace_id}
    assert at.models.traces[-1].span_id == spans["chat test"].span_id
    assert all(record.end and record.error is None for record in spans.values())
    assert spans["chat test"].attributes["gen_ai.usage.input_tokens"] == 3
    assert "gen_ai.tool.call.arguments" not in spans["execute_tool shout"].attributes


async def test_spans_of_what_failed(bench: MakeBench, script: Any) -> None:
    """Spans of failed and cancelled work are closed with the kind of the error."""
    gate = script.Gate()
    at = bench([Failed(PROVIDER_FAILED)], [gate])
    await at.turn()
    task = at.start()
    await gate.inside.wait()
    task.cancel()
    await task
    found = [(record.name, record.error) for record in at.recorder.drain().spans if record.end]
    assert sorted(found) == [
        ("chat test", "cancelled"),
        ("chat test", "overloaded"),
        ("invoke_agent", "cancelled"),
        ("invoke_agent", "overloaded"),
    ]


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
    from llmgine.actors.sessions.partial import Partial

    partial = Partial()
    partial.add(TextDelta(0, "Hel"))
    part = TextPart(text="Hello", provider_data={"k": 1})
    partial.finished(PartDone(0, part))
    partial.add(TextDelta(2, "…"))
    assert partial.message() == Message(role="assistant", parts=(part, TextPart(text="…")))
    partial.clear()
    assert partial.message() is None


async def test_spans_bear_the_bare_name_of_the_model(bench: MakeBench, script: Any) -> None:
    """The provider is an attribute of its own; a bare name with a slash in it stays whole."""
    at = bench(script.says("ok"), script.says("ok", provider="hub"), script.says("ok", provider="hub"))
    for model in ("scripted/test", "hub/team/model", "team/model"):
        await at.turn(model=model)
    calls = [record for record in at.recorder.drain().spans if record.name.startswith("chat ")]
    found = [record.attributes for record in calls if record.end]
    assert [one["gen_ai.request.model"] for one in found] == ["test", "team/model", "team/model"]
    assert [one["gen_ai.provider.name"] for one in found] == ["scripted", "hub", "hub"]


async def test_a_call_that_was_cut_off_has_no_known_cost(bench: MakeBench, script: Any) -> None:
    """What a cancelled model call cost is unknown, not nothing; the turn's tokens are told as partial."""
    gate = script.Gate()
    at = bench(script.says(calls=(script.call("shout", text="a"),)), [gate], tools=(shout,))
    task = at.start()
    await gate.inside.wait()
    task.cancel()
    await task
    (summary,) = at.observer.turns
    assert (summary.cost, summary.usage.input_tokens, summary.usage.source) == (
        None,
        3,
        UsageSource.PARTIAL,
    )


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
