"""Behaviours 45 and 47 for a model without tools: calls are emulated, whole and in order, and said to be."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.providers.contracts import (
    EmbeddingRequest,
    EmbeddingResponse,
    FinishReason,
    LLMRequest,
    LLMResponse,
    Message,
    NamedTool,
    OutputSchema,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
    Usage,
    UsageSource,
)
from llmgine.providers.errors import ErrorKind, ProviderError
from llmgine.providers.events import (
    Done,
    Failed,
    PartDone,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)
from llmgine.providers.local import wording
from llmgine.providers.local.tools import ToolEmulation
from llmgine.providers.provider import Batches

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = ToolSpec(name="get_weather", description="Get the current weather of a city.", parameters=CITY)
ADD = ToolSpec(name="add", description="Add two numbers.", parameters={"type": "object", "properties": {}})


class Inner:
    """A model that says what it is told to, and remembers what it was asked."""

    def __init__(self, *answers: str | ProviderError) -> None:
        self.name = "local"
        self.asked: list[LLMRequest] = []
        self.closed = 0
        self._answers = list(answers)

    async def stream(self, request: LLMRequest, *, session: str = "") -> AsyncGenerator[StreamEvent, None]:
        self.asked.append(request)
        answer = self._answers.pop(0)
        try:
            if isinstance(answer, ProviderError):
                yield Failed(answer, usage=Usage(input_tokens=1))
                return
            for start in range(0, len(answer), 5):
                yield TextDelta(0, answer[start : start + 5])
            part = TextPart(text=answer)
            yield PartDone(0, part)
            yield Done(
                LLMResponse(
                    message=Message(role="assistant", parts=(part,)),
                    finish_reason=FinishReason.STOP,
                    usage=Usage(input_tokens=10, output_tokens=2, source=UsageSource.REPORTED),
                    model="smollm2",
                    provider="local",
                )
            )
        finally:
            self.closed += 1

    async def embed(self, request: EmbeddingRequest, *, session: str = "") -> EmbeddingResponse:
        raise AssertionError("nobody asks for vectors here")

    def batches(self, model: str) -> Batches:
        raise NotImplementedError

    async def aclose(self) -> None:
        self.closed += 100


def ask(*messages: Message, **fields: Any) -> LLMRequest:
    fields.setdefault("tools", (WEATHER, ADD))
    return LLMRequest(model="local/smollm2", messages=messages, **fields)


def asked_and_called(question: str, result: str | None = "sunny") -> tuple[Message, ...]:
    call = ToolCallPart(id="c1", name="get_weather", arguments={"city": "Paris"})
    messages = (Message.user(question), Message(role="assistant", parts=(call,)))
    if result is None:
        return messages
    answer = ToolResultPart(call_id="c1", name="get_weather", content=(TextPart(text=result),))
    return (*messages, Message(role="tool", parts=(answer,)))


async def run(inner: Inner, request: LLMRequest) -> list[StreamEvent]:
    emulation = ToolEmulation(inner, new_id=lambda: "call_1", clock=lambda: 0.0)
    return [event async for event in emulation.stream(request)]


def response(events: list[StreamEvent]) -> LLMResponse:
    last = events[-1]
    assert isinstance(last, Done)
    return last.response


async def test_a_chosen_tool_becomes_a_call() -> None:
    """The model's choice and its JSON come out as one streamed tool call, said to be emulated."""
    inner = Inner("get_weather", '{"city": "Paris"}')
    events = await run(inner, ask(Message.user("What is the weather in Paris?")))
    assert events[0] == ToolCallStart(0, "call_1", "get_weather")
    assert (
        "".join(event.arguments for event in events if isinstance(event, ToolCallDelta))
        == '{"city": "Paris"}'
    )
    assert not [event for event in events if isinstance(event, TextDelta)]
    whole = response(events)
    assert whole.finish_reason is FinishReason.TOOL_CALLS
    (call,) = whole.tool_calls
    assert (call.id, call.arguments, call.id_source) == ("call_1", {"city": "Paris"}, "synthesised")
    assert [event.part for event in events if isinstance(event, PartDone)] == [call]
    assert [(one.field, one.action) for one in whole.adjustments] == [("tools", "emulated")]
    assert (whole.usage.input_tokens, whole.usage.output_tokens) == (20, 4)
    choosing, filling = inner.asked
    assert choosing.provider_options == {"openai-chat": {"grammar": 'root ::= "get_weather" | "answer"'}}
    assert filling.output is not None
    assert not choosing.tools + filling.tools
    assert (choosing.temperature, filling.temperature) == (0, 0)


async def test_the_model_may_answer() -> None:
    """Choosing to answer gives a plain streamed reply."""
    inner = Inner("answer", "It is a city.")
    events = await run(inner, ask(Message.user("What does weather mean?")))
    assert response(events).text == "It is a city."
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "It is a city."


async def test_a_question_that_meets_no_tool_is_answered_at_once() -> None:
    """Nothing is chosen where no tool comes into question."""
    inner = Inner("Hello!")
    assert response(await run(inner, ask(Message.user("Say hello")))).text == "Hello!"
    assert len(inner.asked) == 1


async def test_results_are_told_and_answered() -> None:
    """After a result the model answers in words from a turn that holds it."""
    inner = Inner("It is sunny.")
    whole = response(await run(inner, ask(*asked_and_called("Weather in Paris?"))))
    assert whole.text == "It is sunny."
    (message,) = inner.asked[0].messages
    assert message == Message.user("Result of get_weather: sunny\n\nUse it to answer: Weather in Paris?")
    assert [one.action for one in whole.adjustments] == ["emulated", "changed"]


async def test_a_follow_up_may_call_the_tool_again() -> None:
    """The tool of the question before comes into question, with its call as the example."""
    history = (*asked_and_called("Weather in Paris?"), Message.assistant("Sunny."))
    inner = Inner("get_weather", '{"city": "Rome"}')
    whole = response(await run(inner, ask(*history, Message.user("And in Rome?"))))
    assert whole.tool_calls[0].arguments == {"city": "Rome"}
    assert [message.text for message in inner.asked[1].messages] == [
        "Weather in Paris?",
        '{"city": "Paris"}',
        "And in Rome?",
    ]


@pytest.mark.parametrize("choice", ["required", NamedTool(name="add")])
async def test_a_demanded_call_is_made(choice: Any) -> None:
    """A required or named tool is called whatever the question; the model cannot answer instead."""
    inner = Inner("add", "{}") if choice == "required" else Inner("{}")
    whole = response(await run(inner, ask(Message.user("Hi"), tool_choice=choice)))
    assert [call.name for call in whole.tool_calls] == ["add"]
    assert "answer" not in str(inner.asked[0].provider_options)


async def test_a_forbidden_call_is_not_made() -> None:
    """With tool_choice none the model answers."""
    inner = Inner("Words.")
    assert response(await run(inner, ask(Message.user("weather"), tool_choice="none"))).text == "Words."


async def test_a_name_that_no_tool_has_is_refused() -> None:
    """A named tool must be among the tools."""
    (last,) = await run(Inner(), ask(Message.user("Hi"), tool_choice=NamedTool(name="fly")))
    assert isinstance(last, Failed)
    assert last.error.kind is ErrorKind.INVALID_REQUEST


async def test_without_tools_nothing_is_changed() -> None:
    """A plain request goes through as it is."""
    inner = Inner("Hi.")
    request = ask(Message.user("Hi"), tools=())
    assert response(await run(inner, request)).adjustments == ()
    assert inner.asked == [request]


async def test_arguments_that_break_off_are_kept_raw() -> None:
    """JSON that did not come to its end is no call with arguments."""
    whole = response(
        await run(Inner('{"city": "Par'), ask(Message.user("x"), tool_choice=NamedTool(name="add")))
    )
    (call,) = whole.tool_calls
    assert (call.arguments, call.raw_arguments) == (None, '{"city": "Par')
    assert whole.finish_reason is FinishReason.STOP


@pytest.mark.parametrize("good", [(), ("get_weather",), ("answer",)])
async def test_a_failure_of_any_step_ends_the_call(good: tuple[str, ...]) -> None:
    """Whether choice, arguments or answer fail: one `Failed`, with the usage so far."""
    inner = Inner(*good, ProviderError("broke", kind=ErrorKind.CONNECTION))
    events = await run(inner, ask(Message.user("weather?")))
    last = events[-1]
    assert isinstance(last, Failed)
    assert last.error.kind is ErrorKind.CONNECTION
    assert last.usage is not None
    assert last.usage.input_tokens == 1 + 10 * len(good)
    assert sum(isinstance(event, Done | Failed) for event in events) == 1


async def test_all_steps_share_one_deadline() -> None:
    """What the choice took is not there for the arguments; past the deadline nothing more is asked."""
    times = iter([0.0, 1.0, 4.0])
    inner = Inner("get_weather", "{}")
    emulation = ToolEmulation(inner, clock=lambda: next(times))
    request = ask(Message.user("weather?"), deadline=5)
    assert isinstance([event async for event in emulation.stream(request)][-1], Done)
    assert [one.deadline for one in inner.asked] == [4, 1]
    late = iter([0.0, 1.0, 6.0])
    emulation = ToolEmulation(Inner("get_weather"), clock=lambda: next(late))
    last = [event async for event in emulation.stream(request)][-1]
    assert isinstance(last, Failed)
    assert last.error.kind is ErrorKind.TIMEOUT


async def test_closing_closes_what_is_inside() -> None:
    """A reader that stops in the middle stops the model."""
    inner = Inner('{"city": "Paris and more"}')
    emulation = ToolEmulation(inner)
    stream = emulation.stream(ask(Message.user("x"), tool_choice=NamedTool(name="add")))
    async for event in stream:
        if isinstance(event, ToolCallDelta):
            break
    assert inner.closed == 0
    await stream.aclose()
    assert inner.closed == 1
    await emulation.aclose()
    assert inner.closed == 101


async def test_a_schema_goes_where_it_is_enforced() -> None:
    """An output schema is answered by the constrained provider."""
    plain, constrained = Inner(), Inner("{}")
    emulation = ToolEmulation(plain, constrained)
    request = ask(Message.user("x"), tools=(), output=OutputSchema(json_schema=CITY))
    assert isinstance([event async for event in emulation.stream(request)][-1], Done)
    assert (len(plain.asked), len(constrained.asked)) == (0, 1)


def test_words_decide_which_tools_come_into_question() -> None:
    """A tool is considered for a word it shares with the question, in any of the common spellings."""
    tools = (WEATHER, ADD, ToolSpec(name="searchDocs", parameters={}))

    def names(question: str) -> list[str]:
        return [tool.name for tool in wording.candidates(ask(Message.user(question), tools=tools))]

    assert names("How's the weather?") == ["get_weather"]
    assert names("Add 2 and 40") == ["add"]
    assert names("Is it in the docs?") == ["searchDocs"]
    assert names("Search for cities with bad weather") == ["get_weather", "searchDocs"]
    assert names("What can you do for me?") == []


def test_schemas_get_an_end() -> None:
    """Strings, integers, arrays and objects are bounded where they were not; what is bounded stays."""
    schema = {
        "type": "object",
        "title": "T",
        "properties": {
            "s": {"type": "string"},
            "short": {"type": "string", "maxLength": 3},
            "e": {"type": "string", "enum": ["a"]},
            "title": {"type": "integer", "minimum": 5_000_000_000},
            "l": {"type": "array", "items": {"type": ["string", "null"]}},
        },
    }
    made = wording.bounded(schema)
    assert made["additionalProperties"] is False
    inner = made["properties"]
    assert inner["s"]["maxLength"] == 80
    assert inner["short"]["maxLength"] == 3
    assert inner["e"] == {"type": "string", "enum": ["a"]}
    assert inner["title"] == {"type": "integer", "minimum": 5_000_000_000, "maximum": 5_000_000_000}
    assert inner["l"] == {
        "type": "array",
        "items": {"type": ["string", "null"], "maxLength": 80},
        "maxItems": 8,
    }
    assert "title" not in made


@given(st.text(min_size=1), st.text())
def test_telling_keeps_questions_and_results(question: str, result: str) -> None:
    """Whatever was asked and found is in the words; the history holds no tool part any more."""
    history = (*asked_and_called(question, result), Message.assistant("ok"), Message.user("more"))
    told, _ = wording.plain(ask(*history))
    assert [message.role for message in told.messages] == ["user", "assistant", "user"]
    assert question in told.messages[0].text
    assert result in told.messages[0].text
    assert not told.tools
    assert json.loads(told.model_dump_json())["tool_choice"] == "auto"


async def test_every_inner_stream_is_closed_when_its_call_is_over() -> None:
    """Choosing and filling leave no stream open behind them."""
    inner = Inner("get_weather", '{"city": "Paris"}')
    await run(inner, ask(Message.user("What is the weather in Paris?")))
    assert inner.closed == 2
