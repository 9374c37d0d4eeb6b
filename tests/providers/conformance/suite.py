"""What every provider promises, as one suite that each of them subclasses.

`ProviderConformance` holds for whatever answers, a real model too: it looks at shapes. `WireConformance`
adds what can be said where the answering server is ours: exact words, and what it heard of the request.
A subclass names what its protocol `lacks`; the suite then asserts that this is refused, and with
on_unsupported="adjust" told.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from llmgine.providers.contracts import (
    AudioPart,
    DocumentPart,
    FinishReason,
    ImagePart,
    LLMRequest,
    LLMResponse,
    Message,
    NamedTool,
    OutputSchema,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
    UsageSource,
)
from llmgine.providers.errors import ErrorKind, ErrorPhase
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
from llmgine.providers.provider import Provider
from llmgine.providers.registry import open_provider

if TYPE_CHECKING:
    from tests.providers.faults.server import FaultServer

SECRET = "sk-secret-0123456789"

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060"
    "0000000500017a5eab3f0000000049454e44ae426082"
)
ADD = ToolSpec(
    name="add",
    description="Add two numbers.",
    parameters={
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
)
WEATHER = ToolSpec(
    name="get_weather",
    description="Get the weather of a city.",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
FORECAST = OutputSchema(
    name="forecast",
    json_schema={
        "type": "object",
        "properties": {"city": {"type": "string"}, "degrees": {"type": "integer"}},
        "required": ["city", "degrees"],
        "additionalProperties": False,
    },
)

# What a caller may set, and where in the message of a refusal it is named.
SETTINGS: dict[str, dict[str, Any]] = {
    "temperature": {"temperature": 0.5},
    "top_p": {"top_p": 0.9},
    "top_k": {"top_k": 5},
    "stop": {"stop": ("END",)},
    "seed": {"seed": 7},
    "presence_penalty": {"presence_penalty": 0.25},
    "frequency_penalty": {"frequency_penalty": 0.75},
    "parallel_tool_calls": {"parallel_tool_calls": False, "tools": (ADD,)},
    "tool_choice": {"tool_choice": NamedTool(name="get_weather"), "tools": (ADD, WEATHER)},
    "image": {"messages": (Message.user("What is it?", ImagePart(data=PIXEL)),)},
    "audio": {"messages": (Message.user("What is said?", AudioPart(data=b"RIFF")),)},
    "document": {"messages": (Message.user("What is it?", DocumentPart(data=b"%PDF-1.4")),)},
}


VALUES: dict[str, Any] = {
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 5,
    "stop": "END",
    "seed": 7,
    "presence_penalty": 0.25,
    "frequency_penalty": 0.75,
}


def outcome(events: list[StreamEvent]) -> Done | Failed:
    """The last event; no other may be an end."""
    ends = [event for event in events if isinstance(event, Done | Failed)]
    assert ends == events[-1:]
    return ends[0]


def check_deltas(events: list[StreamEvent], response: LLMResponse) -> None:
    """The deltas of each part make up the part in the drained response, in its order."""
    parts = [event.part for event in sorted(_of(events, PartDone), key=lambda event: event.index)]
    assert tuple(parts) == response.message.parts
    for event in _of(events, PartDone):
        said = "".join(
            one.arguments if isinstance(one, ToolCallDelta) else one.text
            for one in events
            if isinstance(one, TextDelta | ThinkingDelta | ToolCallDelta) and one.index == event.index
        )
        part = event.part
        if part.type == "tool_call":
            begun = [one for one in _of(events, ToolCallStart) if one.index == event.index]
            assert [(one.id, one.name) for one in begun] == [(part.id, part.name)]
            assert said == part.raw_arguments
        elif part.type in ("text", "thinking"):
            assert said == part.text


def _of(events: list[StreamEvent], kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def _values(body: Any) -> list[Any]:
    """All that stands anywhere in a JSON value."""
    if isinstance(body, dict | list):
        inner = body.values() if isinstance(body, dict) else body
        return [value for one in inner for value in _values(one)]
    return [body]


class ProviderConformance:
    """Subclasses bring the fixture `provider` and say which model shows a case."""

    lacks: ClassVar[Mapping[str, str]] = {}  # a setting, and a word of the reason why it is refused
    parallel: ClassVar[bool] = True  # whether one answer can hold several calls
    bridge: ClassVar[list[list[str]]] = []  # what a server is told between results and the user's next word

    def model(self, case: str) -> str:
        """The full name of the model that shows this case."""
        raise NotImplementedError

    def ask(self, case: str, *messages: Message, **fields: Any) -> LLMRequest:
        given = {"messages": messages or (Message.user("Hi"),), **fields}
        return LLMRequest(model=self.model(case), **given)

    async def events(self, provider: Provider, request: LLMRequest) -> list[StreamEvent]:
        return [event async for event in provider.stream(request)]

    async def done(self, provider: Provider, request: LLMRequest) -> LLMResponse:
        events = await self.events(provider, request)
        last = outcome(events)
        assert isinstance(last, Done), last.error
        check_deltas(events, last.response)
        assert f"{last.response.provider}/" == request.model[: len(last.response.provider) + 1]
        return last.response

    async def test_text(self, provider: Provider) -> None:
        """A question gets a text, streamed in deltas that make it up."""
        response = await self.done(provider, self.ask("ok"))
        assert response.text.strip()
        assert response.finish_reason in (FinishReason.STOP, FinishReason.LENGTH)
        assert response.model

    async def test_usage(self, provider: Provider) -> None:
        """Tokens are those that the provider reports."""
        usage = (await self.done(provider, self.ask("ok"))).usage
        assert usage.source is UsageSource.REPORTED
        assert usage.input_tokens
        assert usage.output_tokens

    async def test_system_and_turns(self, provider: Provider) -> None:
        """A conversation with a system prompt and turns of both sides is taken."""
        turns = (Message.user("Hi"), Message.assistant("Hello"), Message.user("Again"))
        assert (await self.done(provider, self.ask("ok", *turns, system="Be brief."))).text.strip()

    @pytest.mark.parametrize("choice", ["auto", "none"])
    async def test_tools_may_be_left_alone(self, provider: Provider, choice: str) -> None:
        """Offered tools are called or not as the model likes; forbidden ones are not."""
        response = await self.done(provider, self.ask("tools", tools=(ADD, WEATHER), tool_choice=choice))
        if choice == "none" or not response.tool_calls:
            assert not response.tool_calls
            assert response.text.strip()
        else:
            assert response.finish_reason is FinishReason.TOOL_CALLS

    @pytest.mark.parametrize("choice", ["required", NamedTool(name="get_weather")])
    async def test_a_forced_call(self, provider: Provider, choice: Any) -> None:
        """A call that is asked for comes, to the named tool if one is named, with arguments for it."""
        request = self.ask(
            "tools", Message.user("Weather in Paris?"), tools=(WEATHER, ADD), tool_choice=choice
        )
        if "tool_choice" in self.lacks:
            await self.refused(provider, request, "tool_choice")
            return
        response = await self.done(provider, request)
        (call,) = response.tool_calls
        wanted = {"get_weather": {"city"}, "add": {"a", "b"}}
        assert set(call.arguments or {}) == wanted[call.name]
        assert call.name == "get_weather" or choice == "required"
        assert response.finish_reason is FinishReason.TOOL_CALLS
        assert call.id

    async def test_a_tool_s_result(self, provider: Provider) -> None:
        """A call's result is taken and answered, whatever its id."""
        asked = Message.user("Add 1 and 2.")
        history = (asked, *self.called(("odd id/1", "add", {"a": 1, "b": 2}, "3")))
        response = await self.done(provider, self.ask("tools", *history, tools=(ADD,)))
        assert response.text.strip() or response.tool_calls

    async def test_structured_output(self, provider: Provider) -> None:
        """An answer that must fit a schema is there as a value that fits it."""
        asked = Message.user("The weather in Paris?")
        response = await self.done(provider, self.ask("structured", asked, output=FORECAST))
        assert isinstance(response.output["city"], str)
        assert isinstance(response.output["degrees"], int)
        assert set(response.output) == {"city", "degrees"}
        assert json.loads(response.text) == response.output
        assert response.output_mode in ("native", "tool", "prompt")
        emulated = [one for one in response.adjustments if one.action == "emulated" and one.field == "output"]
        assert bool(emulated) == (response.output_mode != "native")

    @pytest.mark.parametrize("setting", list(SETTINGS))
    async def test_a_setting_is_taken_or_refused(self, provider: Provider, setting: str) -> None:
        """What the provider can do it does; what it cannot do is an error that names it, or told."""
        request = self.ask("ok", **SETTINGS[setting])
        if setting in self.lacks:
            await self.refused(provider, request, setting)
        else:
            response = await self.done(provider, request)
            assert not [one for one in response.adjustments if one.action == "dropped"]

    async def refused(self, provider: Provider, request: LLMRequest, setting: str) -> None:
        """It is an error before anything is sent, and where the caller allows it a note."""
        (last,) = await self.events(provider, request)
        assert isinstance(last, Failed)
        assert (last.error.kind, last.error.phase) == (ErrorKind.UNSUPPORTED, ErrorPhase.REQUEST)
        assert not last.error.retryable
        assert self.lacks[setting] in last.error.message
        assert "on_unsupported" in last.error.message
        adjusted = await self.done(provider, request.model_copy(update={"on_unsupported": "adjust"}))
        assert any(self.lacks[setting] in f"{one.field}: {one.reason}" for one in adjusted.adjustments)

    async def test_two_calls_in_one_answer(self, provider: Provider) -> None:
        """Several calls of one answer are told apart by index and id."""
        response = await self.done(provider, self.ask("parallel", tools=(ADD, WEATHER)))
        calls = response.tool_calls
        assert len({call.id for call in calls}) == len(calls)
        if self.parallel:
            assert [call.name for call in calls] == ["add", "get_weather"]
        else:
            assert len(calls) <= 1

    async def test_the_stream_can_be_left(self, provider: Provider) -> None:
        """A reader that has had enough closes the stream, and the provider serves the next call."""
        stream: Any = provider.stream(self.ask("ok"))
        async for event in stream:
            assert not isinstance(event, Failed)
            break
        await stream.aclose()
        await self.done(provider, self.ask("ok"))

    async def test_a_reader_can_be_cancelled(self, provider: Provider) -> None:
        """A task that is cancelled in the middle ends as such, and the provider serves the next call."""

        async def read() -> None:
            async for _ in provider.stream(self.ask("stall")):
                got.set()

        got = asyncio.Event()
        task = asyncio.create_task(read())
        await got.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await self.done(provider, self.ask("ok"))

    async def test_a_deadline_ends_the_call(self, provider: Provider) -> None:
        """What takes longer than it may is a timeout, which another try may mend."""
        last = outcome(await self.events(provider, self.ask("stall", deadline=0.05)))
        assert isinstance(last, Failed)
        assert (last.error.kind, last.error.retryable) == (ErrorKind.TIMEOUT, True)

    def called(self, *calls: tuple[str, str, dict[str, Any], str]) -> tuple[Message, Message]:
        """A turn with these calls (id, name, arguments, result) and the turn with their results."""
        asked = tuple(
            ToolCallPart(id=id_, name=name, arguments=arguments, raw_arguments=json.dumps(arguments))
            for id_, name, arguments, _ in calls
        )
        results = tuple(
            ToolResultPart(call_id=id_, name=name, content=(TextPart(text=result),))
            for id_, name, _, result in calls
        )
        return Message(role="assistant", parts=asked), Message(role="tool", parts=results)


class WireConformance(ProviderConformance):
    """What can be said exactly where the server at the other end is a `FaultServer`."""

    endpoint: ClassVar[Mapping[str, Any]] = {}  # of the settings, without its URL
    path: ClassVar[str] = ""  # what follows the server's address in the URL
    request_id: ClassVar[str | None] = "req-1"

    @pytest.fixture
    async def provider(
        self, fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[Provider]:
        """The provider under test, behind a server of ours."""
        monkeypatch.setenv("THERE_KEY", SECRET)
        provider = self.open(fault_server.base_url)
        yield provider
        await provider.aclose()

    def open(self, address: str, **more: Any) -> Provider:
        """One more provider, with other settings of its endpoint."""
        endpoint = {"base_url": address + self.path, "key_env": "THERE_KEY", **self.endpoint, **more}
        return open_provider("there", ProvidersOptions.model_validate({"endpoints": {"there": endpoint}}))

    def model(self, case: str) -> str:
        return f"there/{case}"

    async def heard(self, provider: Provider, *messages: Message, **fields: Any) -> dict[str, Any]:
        """The request as the server understood it."""
        told = json.loads((await self.done(provider, self.ask("echo", *messages, **fields))).text)
        assert isinstance(told, dict)
        return told

    async def test_the_words_themselves(self, provider: Provider) -> None:
        """Every character arrives, with the figures and names that the server sent."""
        response = await self.done(provider, self.ask("ok"))
        assert (response.text, response.finish_reason) == ("Hello big world", FinishReason.STOP)
        assert (response.usage.input_tokens, response.usage.output_tokens) == (5, 3)
        assert response.usage.raw
        assert (response.provider, response.model) == ("there", "served")
        assert response.request_id == self.request_id
        assert response.adjustments == ()

    async def test_what_the_server_heard(self, provider: Provider) -> None:
        """System prompt, turns, calls and results arrive in order and in their places."""
        history = (
            Message.user("Hi"),
            Message.assistant("Hello"),
            Message.user("Add 1 and 2, and the weather?"),
            *self.called(
                ("c1", "add", {"a": 1, "b": 2}, "3"), ("c2", "get_weather", {"city": "Oslo"}, "rain")
            ),
            Message.user("Thanks"),
        )
        told = await self.heard(provider, *history, system="Be brief.", tools=(ADD, WEATHER))
        assert told == {
            "system": "Be brief.",
            "turns": [
                ["user", "text", "Hi"],
                ["assistant", "text", "Hello"],
                ["user", "text", "Add 1 and 2, and the weather?"],
                ["assistant", "call", 'add {"a": 1, "b": 2}'],
                ["assistant", "call", 'get_weather {"city": "Oslo"}'],
                ["tool", "result", "3"],
                ["tool", "result", "rain"],
                *self.bridge,
                ["user", "text", "Thanks"],
            ],
            "tools": ["add", "get_weather"],
            "choice": "auto",
            "output": False,
        }

    async def test_settings_arrive(self, provider: Provider, fault_server: FaultServer) -> None:
        """The values themselves stand in what the server got."""
        for setting, value in VALUES.items():
            if setting not in self.lacks:
                await self.done(provider, self.ask("ok", **SETTINGS[setting]))
                got = _values(fault_server.calls[-1].body)
                assert any(one == pytest.approx(value) for one in got), setting

    async def test_images_arrive(self, provider: Provider) -> None:
        """An image stands where it was put between the words."""
        message = Message.user("Before", ImagePart(data=PIXEL), "after")
        if "image" in self.lacks:
            await self.refused(provider, self.ask("echo", message), "image")
            return
        turns = (await self.heard(provider, message))["turns"]
        assert turns == [
            ["user", "text", "Before"],
            ["user", "image", "data:image/png"],
            ["user", "text", "after"],
        ]

    @pytest.mark.parametrize("choice", ["none", "required", NamedTool(name="get_weather")])
    async def test_the_choice_of_tools_arrives(self, provider: Provider, choice: Any) -> None:
        """Which tools may or must be called is told in the protocol's own words."""
        if choice != "none" and "tool_choice" in self.lacks:
            await self.refused(
                provider, self.ask("echo", tools=(WEATHER,), tool_choice=choice), "tool_choice"
            )
            return
        told = await self.heard(provider, tools=(ADD, WEATHER), tool_choice=choice)
        if isinstance(choice, NamedTool):
            # A server that knows no names is offered that tool alone.
            assert told["choice"] == choice.name or (told["choice"], told["tools"]) == (
                "required",
                [choice.name],
            )
        else:
            assert told["choice"] == choice or (choice == "none" and told["tools"] == [])

    async def test_thinking(self, provider: Provider) -> None:
        """What the model thought comes before its answer, as a part of its own."""
        response = await self.done(provider, self.ask("think"))
        said = [part.type for part in response.message.parts if getattr(part, "text", "")]
        assert said == ["thinking", "text"]
        assert (response.message.thinking, response.text) == ("Let me see.", "Hello big world")

    async def test_structured_output_s_value(self, provider: Provider) -> None:
        """The value is the server's, however it was asked for."""
        response = await self.done(provider, self.ask("structured", output=FORECAST))
        assert response.output == {"city": "Paris", "degrees": 2}

    async def test_an_answer_that_is_cut_by_its_limit(self, provider: Provider) -> None:
        """Too long is LENGTH, with what was said."""
        response = await self.done(provider, self.ask("length"))
        assert (response.text, response.finish_reason) == ("Hello big world", FinishReason.LENGTH)
