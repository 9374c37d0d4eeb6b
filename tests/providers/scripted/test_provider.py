"""The scripted double: what users and our own tests build on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.providers.contracts import (
    FinishReason,
    LLMRequest,
    LLMResponse,
    Message,
    NamedTool,
    OutputSchema,
    TextPart,
    ThinkingPart,
    ToolResultPart,
    ToolSpec,
    UsageSource,
)
from llmgine.providers.errors import ErrorKind, ErrorPhase, ErrorScope
from llmgine.providers.events import (
    Done,
    Failed,
    PartDone,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStart,
)
from llmgine.providers.options import ProvidersOptions
from llmgine.providers.registry import open_provider
from llmgine.providers.scripted.provider import ScriptedProvider
from llmgine.providers.scripted.samples import sample

WEATHER = ToolSpec(
    name="get_weather",
    description="Weather of a city",
    parameters={
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer", "minimum": 2},
            "x": {"type": "null"},
        },
        "required": ["city", "days"],
    },
)


class Sleeps:
    """Takes note of delays in place of waiting."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)


def provider(sleep: Callable[[float], Awaitable[None]] | None = None, **scripts: Any) -> ScriptedProvider:
    options = ProvidersOptions.model_validate({"scripts": scripts})
    return ScriptedProvider("scripted", options, sleep=sleep or Sleeps())


def ask(script: str, *texts: str, **fields: Any) -> LLMRequest:
    roles = (Message.user, Message.assistant)
    messages = tuple(roles[number % 2](text) for number, text in enumerate(texts or ("Hi",)))
    return LLMRequest(model=f"scripted/{script}", messages=messages, **fields)


async def play(request: LLMRequest, double: ScriptedProvider | None = None) -> list[StreamEvent]:
    return [event async for event in (double or provider()).stream(request)]


async def reply(request: LLMRequest, double: ScriptedProvider | None = None) -> LLMResponse:
    last = (await play(request, double))[-1]
    assert isinstance(last, Done)
    return last.response


async def failure(request: LLMRequest, double: ScriptedProvider | None = None) -> Failed:
    last = (await play(request, double))[-1]
    assert isinstance(last, Failed)
    return last


async def test_echo_answers_a_word_at_a_time() -> None:
    """The last user message comes back in word-sized deltas that concatenate to it."""
    events = await play(ask("echo", "first", "mine", "  Hello  there,\nworld "))
    deltas = [event.text for event in events if isinstance(event, TextDelta)]
    assert deltas == ["  Hello  ", "there,\n", "world "]
    last = events[-1]
    assert isinstance(last, Done)
    assert last.response.text == "  Hello  there,\nworld "
    assert last.response.finish_reason is FinishReason.STOP
    assert last.response.cost == Decimal(0)
    assert (last.response.provider, last.response.model) == ("scripted", "echo")


async def test_usage_is_counted_in_words_and_reported() -> None:
    """Usage counts the words of everything asked and answered."""
    response = await reply(ask("echo", "one two", "three", "four five six", system="be kind"))
    assert (response.usage.input_tokens, response.usage.output_tokens) == (8, 3)
    assert response.usage.source is UsageSource.REPORTED
    assert response.usage.raw["unit"] == "words"


async def test_the_same_request_gets_the_same_events() -> None:
    """Nothing is remembered between calls."""
    double = provider()
    request = ask("tool", "go", tools=(WEATHER,))
    assert await play(request, double) == await play(request, double)


async def test_tool_calls_the_tool_and_answers_with_its_result() -> None:
    """The first call asks for the offered tool with fitting arguments; the next repeats its result."""
    request = ask("tool", "weather?", tools=(WEATHER,))
    events = await play(request)
    starts = [event for event in events if isinstance(event, ToolCallStart)]
    assert [(start.name, start.id) for start in starts] == [("get_weather", "call_0_0")]
    last = events[-1]
    assert isinstance(last, Done)
    (call,) = last.response.tool_calls
    assert call.arguments == {"city": "city", "days": 2}
    deltas = "".join(event.arguments for event in events if isinstance(event, ToolCallDelta))
    assert deltas == call.raw_arguments
    assert last.response.finish_reason is FinishReason.TOOL_CALLS

    result = ToolResultPart(call_id=call.id, name=call.name, content=(TextPart(text="sunny"),))
    told = (*request.messages, last.response.message, Message(role="tool", parts=(result,)))
    response = await reply(request.model_copy(update={"messages": told}))
    assert response.text == "sunny"
    again = (*told, response.message, Message.user("and tomorrow?"))
    later = await reply(request.model_copy(update={"messages": again}))
    assert later.tool_calls[0].id == "call_2_0"


async def test_the_choice_of_tools_is_heeded() -> None:
    """A named tool is the one called; with none allowed the double answers in words."""
    other = ToolSpec(name="other", parameters={"type": "object", "properties": {}})
    tools = (WEATHER, other)
    named = await reply(ask("tool", "go", tools=tools, tool_choice=NamedTool(name="other")))
    assert [call.name for call in named.tool_calls] == ["other"]
    none = await reply(ask("tool", "go", tools=tools, tool_choice="none"))
    assert (none.text, none.tool_calls) == ("go", ())
    missing = await failure(ask("tool", "go"))
    assert missing.error.kind is ErrorKind.INVALID_REQUEST
    assert "pass tools" in missing.error.message


async def test_echo_fits_an_output_schema() -> None:
    """Where JSON is asked for, the answer fits the schema."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    response = await reply(ask("echo", output=OutputSchema(json_schema=schema)))
    assert response.text == '{"n": 1}'


async def test_a_script_plays_its_replies_in_turn() -> None:
    """The n-th reply answers a conversation with n assistant messages; past the end it goes by policy."""
    replies = [{"text": "one"}, {"text": "two"}]
    turns = [("a",), ("a", "b", "c"), ("a", "b", "c", "d", "e")]
    for policy, third in (("repeat", "two"), ("cycle", "one")):
        double = provider(s={"replies": replies, "after_last": policy})
        assert [(await reply(ask("s", *turn), double)).text for turn in turns] == ["one", "two", third]
    double = provider(s={"replies": replies, "after_last": "fail"})
    error = (await failure(ask("s", *turns[2]), double)).error
    assert (error.kind, error.phase) == (ErrorKind.INVALID_REQUEST, ErrorPhase.REQUEST)


async def test_thinking_text_and_calls_come_in_order() -> None:
    """One reply may think, speak and call several tools; parts and deltas agree."""
    double = provider(
        s={
            "replies": [
                {
                    "thinking": "let me see",
                    "text": "I will look",
                    "tool_calls": [
                        {"name": "a", "arguments": {"q": "x" * 40}},
                        {"name": "b", "arguments": {}},
                    ],
                    "chunk_words": 2,
                    "usage": {"input_tokens": 7, "reasoning_tokens": 3},
                }
            ]
        }
    )
    events = await play(ask("s"), double)
    last = events[-1]
    assert isinstance(last, Done)
    assert [part.type for part in last.response.message.parts] == [
        "thinking",
        "text",
        "tool_call",
        "tool_call",
    ]
    assert [event.text for event in events if isinstance(event, ThinkingDelta)] == ["let me ", "see"]
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["I will ", "look"]
    assert tuple(event.part for event in events if isinstance(event, PartDone)) == last.response.message.parts
    assert (last.response.usage.input_tokens, last.response.usage.reasoning_tokens) == (7, 3)


async def test_delays_pass_through_the_given_sleep() -> None:
    """The first chunk waits its own delay, each further one the other."""
    sleeps = Sleeps()
    double = provider(sleeps, s={"replies": [{"text": "a b c", "first_delay": 2, "delay": 0.5}]})
    assert (await reply(ask("s"), double)).text == "a b c"
    assert sleeps.taken == [2, 0.5, 0.5]


async def test_a_fault_comes_where_the_script_says() -> None:
    """A fault after n chunks keeps what had arrived; before the first it has nothing."""
    fault = {"kind": "rate_limit", "status": 429, "retry_after": 1.5, "code": "slow_down", "after_chunks": 2}
    failed = await failure(ask("s"), provider(s={"replies": [{"text": "a b c", "fault": fault}]}))
    error = failed.error
    assert (error.kind, error.status, error.retry_after, error.code) == (
        ErrorKind.RATE_LIMIT,
        429,
        1.5,
        "slow_down",
    )
    assert (error.phase, error.scope, error.retryable) == (ErrorPhase.MID_STREAM, ErrorScope.KEY, True)
    assert failed.partial is not None
    assert failed.partial.text == "a b "
    assert failed.usage is not None
    assert failed.usage.source is UsageSource.PARTIAL
    early = await failure(ask("s"), provider(s={"replies": [{"text": "a", "fault": {"kind": "truncated"}}]}))
    assert early.error.phase is ErrorPhase.PRE_TOKEN
    assert early.partial is None


async def test_a_partial_holds_thinking_that_was_cut() -> None:
    """What had arrived keeps its kind."""
    script = {"replies": [{"thinking": "a b", "text": "c", "fault": {"kind": "server", "after_chunks": 1}}]}
    failed = await failure(ask("s"), provider(s=script))
    assert failed.partial is not None
    assert failed.partial.parts == (ThinkingPart(text="a "),)


async def test_a_fault_may_pass() -> None:
    """A fault of so many times lets later calls through, for drills of retries."""
    double = provider(s={"replies": [{"text": "ok", "fault": {"kind": "overloaded", "times": 2}}]})
    outcomes = [type((await play(ask("s"), double))[-1]) for _ in range(4)]
    assert outcomes == [Failed, Failed, Done, Done]


async def test_stalls_and_delays_end_at_the_limits() -> None:
    """A stall ends at the idle timeout, a slow reply at the deadline, without more waiting than that."""
    sleeps = Sleeps()
    double = provider(
        sleeps,
        stalls={"replies": [{"text": "a b", "fault": {"kind": "stall", "after_chunks": 1}}]},
        crawls={"replies": [{"text": "a b c", "delay": 4}]},
    )
    stalled = await failure(ask("stalls", idle_timeout=3), double)
    assert (stalled.error.kind, stalled.error.phase) == (ErrorKind.TIMEOUT, ErrorPhase.MID_STREAM)
    assert "nothing came for 3 s" in stalled.error.message
    assert sleeps.taken == [3]
    sleeps.taken.clear()
    late = await failure(ask("crawls", deadline=6), double)
    assert "deadline" in late.error.message
    assert sleeps.taken == [4, 2]


async def test_a_script_travels_in_the_request() -> None:
    """`scripted/inline` plays the request's own script and refuses what is none."""
    script = {"replies": [{"text": "from the request"}]}
    assert (
        await reply(ask("inline", provider_options={"scripted": {"script": script}}))
    ).text == "from the request"
    refused = await failure(ask("inline", provider_options={"scripted": {"script": {"replies": []}}}))
    assert refused.error.kind is ErrorKind.INVALID_REQUEST
    unknown = await failure(ask("nothing"))
    assert unknown.error.kind is ErrorKind.NOT_FOUND
    assert "echo" in unknown.error.message


async def test_the_registry_opens_it() -> None:
    """`open_provider` gives the double without any key."""
    double = open_provider("scripted", ProvidersOptions())
    assert isinstance([event async for event in double.stream(ask("echo"))][-1], Done)
    await double.aclose()


@given(st.text(), st.integers(min_value=1, max_value=5))
async def test_chunks_concatenate_to_any_text(text: str, words: int) -> None:
    """Whatever a reply says, its deltas are its text."""
    double = provider(s={"replies": [{"text": text, "chunk_words": words}]})
    events = await play(ask("s"), double)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == text
    assert isinstance(events[-1], Done)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string", "minLength": 8}, "valuexxx"),
        ({"type": "string", "maxLength": 2}, "va"),
        ({"type": "string", "format": "date"}, "2000-01-01"),
        ({"enum": ["b", "a"]}, "b"),
        ({"const": 3}, 3),
        ({"type": ["null", "integer"], "maximum": -2}, -2),
        ({"type": "number", "exclusiveMinimum": 2}, 3.0),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [True, True]),
        ({"anyOf": [{"type": "null"}, {"type": "boolean"}]}, True),
        ({"$ref": "#/$defs/p", "$defs": {"p": {"type": "integer"}}}, 1),
        (
            {"allOf": [{"properties": {"a": {"type": "integer"}}, "required": ["a"]}], "type": "object"},
            {"a": 1},
        ),
        ({"$ref": "#"}, None),
        ({"allOf": [True, {"type": "integer"}]}, 1),
        ({"type": "integer", "minimum": 1.5}, 2),
        ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "null"}], "minItems": 2}, [1, None]),
    ],
)
def test_samples_fit_their_schema(schema: dict[str, Any], value: Any) -> None:
    """A sample is the smallest value that fits, and always the same."""
    assert sample(schema) == value
