"""Structured output: however a model is brought to it, the answer fits or the call fails."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from llmgine.providers.catalogue.profiles import ModelProfile
from llmgine.providers.contracts import (
    FinishReason,
    LLMRequest,
    Message,
    NamedTool,
    OutputSchema,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolSpec,
)
from llmgine.providers.errors import ErrorKind, ErrorPhase
from llmgine.providers.events import Failed, PartDone, Reset, StreamEvent, TextDelta, ToolCallDelta
from llmgine.providers.layers.structured import Means, StructuredOutput, asked_again
from llmgine.providers.layers.structured.plan import chosen_mode
from tests.providers.inner import COST, Clock, Inner, answer, broken, call, done, drained, failed

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city"],
}
GOOD = '{"city": "Rome"}'
VALUE = {"city": "Rome"}
TOOL = ToolSpec(name="look", parameters={"type": "object", "properties": {}})


def ask(
    mode: Any = "auto", *, repairs: int = 2, schema: dict[str, Any] = SCHEMA, **fields: Any
) -> LLMRequest:
    output = OutputSchema(name="place", description="A place", json_schema=schema, mode=mode, repairs=repairs)
    return LLMRequest(model="p/m", messages=(Message.user("Where?"),), output=output, **fields)


class Stage:
    def __init__(self, *calls: list[StreamEvent], means: Means | None = None, limit: float = 100.0) -> None:
        self.inner = Inner(*calls)
        self.clock = Clock()
        self.layer = StructuredOutput(
            self._call, limit, means=lambda request: means or Means(ModelProfile()), clock=self.clock
        )

    def _call(self, request: LLMRequest, *, session: str = "") -> AsyncIterator[StreamEvent]:
        self.clock.now += 10
        return self.inner.stream(request, session=session)

    async def play(self, request: LLMRequest) -> list[StreamEvent]:
        return await drained(self.layer.stream(request, session="s"))


def said(events: list[StreamEvent]) -> str:
    """The text since the last reset."""
    pieces: list[str] = []
    for event in events:
        if isinstance(event, Reset):
            pieces.clear()
        elif isinstance(event, TextDelta):
            pieces.append(event.text)
    return "".join(pieces)


async def test_a_native_answer_is_checked_and_given_as_a_value() -> None:
    """Where the provider does it by itself the request goes out as it is; the answer comes with its value."""
    stage = Stage(answer(GOOD))
    events = await stage.play(ask())
    response = done(events)
    assert (response.output, response.output_mode) == (VALUE, "native")
    assert (response.adjustments, response.attempts) == ((), ())
    assert stage.inner.requests == [ask()]
    assert events[:-1] == answer(GOOD)[:-1]


async def test_nulls_of_a_strict_dialect_are_taken_out() -> None:
    """A null that stands for a left out property is none in the value; the text stays as it came."""
    response = done(await Stage(answer('{"city": "Rome", "days": null}')).play(ask()))
    assert response.output == VALUE
    assert response.text == '{"city": "Rome", "days": null}'


async def test_the_answer_as_a_tool_call() -> None:
    """The model is made to call a tool of the schema; its arguments are heard as text, and it was a stop."""
    parts = (ThinkingPart(text="hm"), call("place", VALUE, GOOD))
    stage = Stage(answer(*parts))
    events = await stage.play(ask("tool"))
    (sent,) = stage.inner.requests
    assert sent.output is None
    assert sent.tools == (ToolSpec(name="place", description="A place", parameters=SCHEMA),)
    assert sent.tool_choice == NamedTool(name="place")
    response = done(events)
    assert (response.output, response.output_mode) == (VALUE, "tool")
    assert response.message.parts == (ThinkingPart(text="hm"), TextPart(text=GOOD))
    assert response.finish_reason is FinishReason.STOP
    assert [(note.field, note.action) for note in response.adjustments] == [("output", "emulated")]
    assert said(events) == GOOD
    assert [event.part for event in events if isinstance(event, PartDone)] == list(response.message.parts)


async def test_arguments_that_come_at_once_are_said_too() -> None:
    """A protocol without deltas of arguments gives the same text."""
    events = await Stage(answer(call("place", VALUE))).play(ask("tool"))
    assert said(events) == done(events).text == '{"city":"Rome"}'


async def test_the_callers_own_tools_stay_tools() -> None:
    """With tools of its own the model must call one or answer; their calls are an ordinary tool turn."""
    stage = Stage(answer(call("look", {}, "{}")))
    events = await stage.play(ask("tool", tools=(TOOL,)))
    (sent,) = stage.inner.requests
    assert ([tool.name for tool in sent.tools], sent.tool_choice) == (["look", "place"], "required")
    response = done(events)
    assert (response.output, response.finish_reason) == (None, FinishReason.TOOL_CALLS)
    assert [each.name for each in response.tool_calls] == ["look"]
    assert any(isinstance(event, ToolCallDelta) for event in events)


async def test_an_answer_beside_calls_is_no_answer_yet() -> None:
    """A model that answers and calls a tool at once has its tool run first."""
    both = (call("place", VALUE, GOOD), call("look", {}, "{}", id_="c2"), call("place", {}, "{}", id_="c3"))
    response = done(await Stage(answer(*both)).play(ask("tool", tools=(TOOL,))))
    assert [part.type for part in response.message.parts] == ["text", "tool_call"]
    assert (response.output, response.finish_reason) == (None, FinishReason.TOOL_CALLS)


async def test_the_tools_name_is_free() -> None:
    """A tool of the caller's with the schema's name is not mistaken for the answer."""
    taken = ToolSpec(name="place", parameters={"type": "object"})
    stage = Stage(answer(call("place_2", VALUE, GOOD)))
    assert done(await stage.play(ask("tool", tools=(taken,)))).output == VALUE
    assert [tool.name for tool in stage.inner.requests[0].tools] == ["place", "place_2"]


async def test_tool_choice_none_leaves_the_answer_only() -> None:
    """Where no tool may be called, the answer's is the only one."""
    stage = Stage(answer(call("place", VALUE, GOOD)))
    await stage.play(ask("tool", tools=(TOOL,), tool_choice="none"))
    assert stage.inner.requests[0].tool_choice == NamedTool(name="place")


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"Here you are:\n```\n{GOOD}\n```\nAnything else?",
        f"Sure! {GOOD} That is it.",
        f"  {GOOD}\n",
    ],
)
async def test_the_answer_in_words(text: str) -> None:
    """The schema is told in the system prompt; a fence and words around the JSON are forgiven."""
    stage = Stage(answer(text))
    response = done(await stage.play(ask("prompt", system="Be kind.")))
    (sent,) = stage.inner.requests
    assert sent.output is None
    assert sent.system is not None
    assert sent.system.startswith("Be kind.\n\nA place\n\n")
    assert sent.system.endswith(json.dumps(SCHEMA, separators=(",", ":")))
    assert (response.output, response.output_mode, response.text) == (VALUE, "prompt", text)


@pytest.mark.parametrize(
    ("profile", "native", "forced", "tools", "mode"),
    [
        ({}, True, True, (), "native"),
        ({}, True, True, (TOOL,), "native"),
        ({"output_with_tools": False}, True, True, (TOOL,), "tool"),
        ({"output_with_tools": False}, True, True, (), "native"),
        ({"output": "tool"}, True, True, (), "tool"),
        ({"output": "prompt"}, True, True, (), "prompt"),
        ({"output": "tool", "tools": False}, True, True, (), "prompt"),
        ({}, False, True, (), "tool"),
        ({}, False, False, (), "prompt"),
        ({"output": "tool", "forced_tools": False}, True, True, (), "prompt"),
    ],
)
def test_the_mode_follows_from_what_the_model_can_do(
    profile: dict[str, Any], native: bool, forced: bool, tools: tuple[ToolSpec, ...], mode: str
) -> None:
    """Left to us, the best way is taken that model, protocol and request allow."""
    means = Means(ModelProfile(**profile), native, forced)
    request = ask(tools=tools)
    assert request.output is not None
    assert chosen_mode(request, request.output, means) == mode


async def test_an_answer_that_does_not_fit_is_asked_for_again() -> None:
    """What came is taken back, the model is shown what is wrong, and the tries are told and summed."""
    stage = Stage(answer('{"city": 3, "days": 0}'), answer("no JSON"), answer(GOOD))
    events = await stage.play(ask(deadline=60.0))
    resets = [event.reason for event in events if isinstance(event, Reset)]
    assert len(resets) == 2
    assert "$.city: 3 is not of type 'string'; $.days: 0 is less than the minimum of 1" in resets[0]
    assert "it is not JSON" in resets[1]
    assert said(events) == GOOD
    response = done(events)
    assert (response.output, response.text) == (VALUE, GOOD)
    assert [attempt.outcome for attempt in response.attempts] == ["bad_output", "bad_output", "done"]
    assert (response.usage.input_tokens, response.cost) == (30, COST * 3)
    first, second, third = stage.inner.requests
    assert [request.deadline for request in stage.inner.requests] == [60.0, 50.0, 40.0]
    assert third.messages[: len(second.messages)] == second.messages
    assert second.messages[:1] == first.messages
    assert second.messages[1] == Message.assistant('{"city": 3, "days": 0}')
    assert "$.city" in second.messages[2].text


async def test_repairs_are_bounded() -> None:
    """Used up, the call fails with the last answer as its partial."""
    stage = Stage(answer("a"), answer("b"))
    last = failed(await stage.play(ask(repairs=1)))
    assert (last.error.kind, last.error.retryable) == (ErrorKind.BAD_OUTPUT, True)
    assert last.partial == Message.assistant("b")
    assert last.usage is not None
    assert last.usage.output_tokens == 10
    assert [attempt.outcome for attempt in last.attempts] == ["bad_output", "bad_output"]
    once = failed(await Stage(answer("a")).play(ask(repairs=0)))
    assert (once.error.provider, once.error.model, once.attempts) == ("p", "m", ())


async def test_the_deadline_ends_the_repairs() -> None:
    """No try begins after the time that they have together."""
    stage = Stage(answer("a"), answer("b"), answer(GOOD), limit=15.0)
    assert failed(await stage.play(ask())).error.kind is ErrorKind.BAD_OUTPUT
    assert len(stage.inner.requests) == 2


async def test_an_answer_cut_off_is_not_repaired() -> None:
    """What was too long would be again, so the failure names the setting; a value that is whole is taken."""
    stage = Stage(answer('{"city": "Ro', finish_reason=FinishReason.LENGTH))
    last = failed(await stage.play(ask()))
    assert (last.error.kind, last.error.retryable) == (ErrorKind.BAD_OUTPUT, False)
    assert "max_output_tokens" in str(last.error)
    whole = Stage(answer(GOOD, finish_reason=FinishReason.LENGTH))
    assert done(await whole.play(ask())).output == VALUE


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ((RefusalPart(text="I will not"),), FinishReason.REFUSAL),
        ((RefusalPart(text="I will not"),), FinishReason.STOP),
        (("half",), FinishReason.CONTENT_FILTER),
        (("half",), FinishReason.PAUSE),
        (("half",), FinishReason.ERROR),
    ],
)
async def test_what_is_no_answer_is_not_checked(parts: tuple[Any, ...], reason: FinishReason) -> None:
    """A refusal, a filtered or an unfinished answer comes as it is, without a value."""
    stage = Stage(answer(*parts, finish_reason=reason))
    response = done(await stage.play(ask()))
    assert (response.output, response.finish_reason) == (None, reason)
    assert response.message.parts == tuple(
        TextPart(text=part) if isinstance(part, str) else part for part in parts
    )


async def test_failures_are_passed_on() -> None:
    """A failed try is not repaired; a half written tool call in it is text."""
    events = broken("{", kind=ErrorKind.OVERLOADED)
    assert await Stage(list(events)).play(ask()) == events
    half = Failed(failed(broken("x")).error, Message(role="assistant", parts=(call("place", None, '{"c'),)))
    last = failed(await Stage([half]).play(ask("tool")))
    assert last.partial == Message.assistant('{"c')
    begun = Failed(failed(broken("x")).error, Message(role="assistant", parts=(call("place"),)))
    assert failed(await Stage([begun]).play(ask("tool"))).partial == Message.assistant("")
    later = failed(await Stage(answer("a"), broken()).play(ask()))
    assert [attempt.outcome for attempt in later.attempts] == ["bad_output", "connection"]
    assert later.error.phase is ErrorPhase.MID_STREAM


@pytest.mark.parametrize(
    ("schema", "word"),
    [
        ({"type": "objekt"}, "objekt"),
        ({"$ref": "https://example.com/schema.json"}, "https://example.com/schema.json"),
        ({"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}}}, "#/$defs/none"),
        (
            {"type": "object", "$dynamicRef": "https://example.com/schema.json"},
            "https://example.com/schema.json",
        ),
        ({"$ref": "#/kept", "kept": {"$ref": "#/$defs/none"}}, "#/$defs/none"),
        ({"$ref": "#"}, "refers to itself"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}}, "refers to itself"),
        ({"type": "object", "description": "\ud800"}, "surrogates"),
        ({"type": "object", "default": {1, 2}}, "set"),
    ],
)
async def test_a_schema_that_is_none_is_refused(schema: dict[str, Any], word: str) -> None:
    """Nothing is sent for a schema that cannot be checked, and nothing is fetched to check it."""
    stage = Stage()
    error = failed(await stage.play(ask(schema=schema))).error
    assert (error.kind, error.phase) == (ErrorKind.INVALID_REQUEST, ErrorPhase.REQUEST)
    assert word in error.message
    assert stage.inner.requests == []


@pytest.mark.parametrize("word", ["const", "default", "examples"])
async def test_what_only_looks_like_a_reference_is_none(word: str) -> None:
    """A value within a schema may hold a "$ref" of its own."""
    value: Any = {"$ref": "https://example.com/thing"}
    schema = {"type": "object", "properties": {"a": {word: [value] if word == "examples" else value}}}
    assert done(await Stage(answer("{}")).play(ask(schema=schema))).output == {}


async def test_a_number_beyond_all_bounds_is_no_answer() -> None:
    """What no JSON can pass on is asked for again, so that the value stays what was checked."""
    stage = Stage(answer('{"city": "Rome", "far": 1e999}'), answer(GOOD))
    assert done(await stage.play(ask())).output == VALUE
    assert "it is not JSON" in stage.inner.requests[1].messages[-1].text


async def test_the_first_problems_are_told() -> None:
    """Of an answer that is wrong all over, a few places are told, and the others are not looked for."""
    schema = {"type": "object", "properties": {"a": {"items": {"type": "integer"}}}}
    stage = Stage(answer(json.dumps({"a": ["x"] * 20})), answer('{"a": [1]}'))
    (reason,) = (event.reason for event in await stage.play(ask(schema=schema)) if isinstance(event, Reset))
    assert [f"$.a[{place}]: " in reason for place in range(20)] == [True] * 5 + [False] * 15


async def test_further_calls_of_the_output_tool_say_nothing() -> None:
    """What a reader hears are the parts of the response, where the model calls the tool twice too."""
    both = (call("place", VALUE, GOOD), call("place", {"city": "Oslo"}, '{"city": "Oslo"}', id_="c2"))
    events = await Stage(answer(*both)).play(ask("tool"))
    response = done(events)
    assert (said(events), response.text, response.output) == (GOOD, GOOD, VALUE)
    assert [type(event).__name__ for event in events] == ["TextDelta", "PartDone", "Done"]


async def test_an_empty_answer_is_asked_for_again() -> None:
    """Nothing is no answer, and leaves no message of its own behind."""
    stage = Stage(answer(), answer(GOOD))
    assert done(await stage.play(ask())).output == VALUE
    assert [message.role for message in stage.inner.requests[1].messages] == ["user", "user"]


def test_asking_again_keeps_the_beginning() -> None:
    """The request for a correction begins with the same messages, so that a cache still serves."""
    request = ask()
    again = asked_again(request, Message.assistant("x"), "it is wrong")
    assert again.messages[:1] == request.messages
    assert "it is wrong" in again.messages[-1].text
    assert again.model_copy(update={"messages": request.messages}) == request


async def test_closing_reaches_the_inner_stream_at_once() -> None:
    """A reader that leaves ends the inner call before `aclose` returns."""
    for mode in ("native", "tool"):
        stage = Stage(answer("x", GOOD))
        source = stage.layer.stream(ask(mode))
        await anext(source)
        await source.aclose()
        assert stage.inner.closed == 1
