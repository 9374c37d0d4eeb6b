"""All wires against an independent server, which judges how its clients take its faults."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest

from llmgine.providers.contracts import (
    FinishReason,
    LLMRequest,
    LLMResponse,
    Message,
    NamedTool,
    TextPart,
    ToolResultPart,
    ToolSpec,
    UsageSource,
)
from llmgine.providers.errors import ErrorKind, ErrorPhase, ProviderError
from llmgine.providers.events import Done, Failed, Reset, StreamEvent, TextDelta
from llmgine.providers.options import ProvidersOptions
from llmgine.providers.provider import Provider
from llmgine.providers.registry import open_provider

if TYPE_CHECKING:
    from llmock.pytest_plugin import LLMock

VENDORS = {
    "openai-responses": ("openai", "openai", "gpt-5.5"),
    "openai-chat": ("openai", "openai", "gpt-4o-mini"),
    "anthropic-messages": ("anthropic", "anthropic", "claude-sonnet-4-5"),
    "gemini": ("gemini", "gemini", "gemini-2.5-flash"),
}
WEATHER = ToolSpec(
    name="get_weather",
    description="Get the current weather of a city.",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["C", "F"]}},
        "required": ["city"],
    },
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


@pytest.fixture(params=list(VENDORS))
def api(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def provider(api: str, llmock: LLMock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Provider]:
    """One of each protocol; the settings alone say where the server is."""
    monkeypatch.setenv("THERE_KEY", "sk-none")
    kind, vendor, _ = VENDORS[api]
    endpoint = {"kind": kind, "api": api, "base_url": llmock.base_url(vendor), "key_env": "THERE_KEY"}
    for name in llmock.env():
        monkeypatch.delenv(name)
    made = open_provider("there", ProvidersOptions.model_validate({"endpoints": {"there": endpoint}}))
    yield made
    await made.aclose()


def ask(api: str, *messages: Message, **fields: Any) -> LLMRequest:
    history = messages or (Message.user("Tell me a story."),)
    return LLMRequest(model=f"there/{VENDORS[api][2]}", messages=history, **fields)


async def heard(provider: Provider, request: LLMRequest) -> list[StreamEvent]:
    return [event async for event in provider.stream(request)]


async def done(provider: Provider, request: LLMRequest) -> LLMResponse:
    last = (await heard(provider, request))[-1]
    assert isinstance(last, Done), last
    return last.response


async def failed(provider: Provider, request: LLMRequest) -> tuple[ProviderError, str]:
    last = (await heard(provider, request))[-1]
    assert isinstance(last, Failed), last
    return last.error, last.partial.text if last.partial else ""


async def test_text(provider: Provider, api: str, llmock: LLMock) -> None:
    """A reply streams in deltas that make it up, with the figures that the server tells."""
    llmock.reply("Grüße aus 世界, and so on.")
    events = await heard(provider, ask(api, system="Be brief."))
    last = events[-1]
    assert isinstance(last, Done)
    assert last.response.text == "Grüße aus 世界, and so on."
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == last.response.text
    assert last.response.finish_reason is FinishReason.STOP
    assert last.response.usage.source is UsageSource.REPORTED
    assert last.response.usage.input_tokens
    assert last.response.usage.output_tokens
    assert llmock.last_request.stream
    assert llmock.verdict().findings == ()


async def test_a_tool_of_the_model_s_choice(provider: Provider, api: str, llmock: LLMock) -> None:
    """The tool that the prompt speaks of is called with arguments that fit; its result is answered."""
    asked = Message.user("What is the weather in Paris?")
    first = await done(provider, ask(api, asked, tools=(ADD, WEATHER)))
    (call,) = first.tool_calls
    assert (call.name, first.finish_reason) == ("get_weather", FinishReason.TOOL_CALLS)
    assert isinstance((call.arguments or {})["city"], str)
    result = ToolResultPart(call_id=call.id, name=call.name, content=(TextPart(text="Rain, 12 degrees"),))
    history = (asked, first.message, Message(role="tool", parts=(result,)))
    assert (await done(provider, ask(api, *history, tools=(ADD, WEATHER)))).text
    assert llmock.verdict().findings == ()


@pytest.mark.parametrize("choice", ["none", "required", NamedTool(name="add")])
async def test_the_caller_s_choice_is_kept(provider: Provider, api: str, choice: Any, llmock: LLMock) -> None:
    """None, any or the named tool: the server does what it was told."""
    asked = Message.user("What is the weather in Paris?")
    response = await done(provider, ask(api, asked, tools=(ADD, WEATHER), tool_choice=choice))
    names = [call.name for call in response.tool_calls]
    if choice == "none":
        assert (names, bool(response.text)) == ([], True)
    else:
        assert names == [choice.name if isinstance(choice, NamedTool) else "get_weather"]
    assert llmock.verdict().findings == ()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ErrorKind.INVALID_REQUEST),
        (401, ErrorKind.AUTHENTICATION),
        (404, ErrorKind.NOT_FOUND),
        (500, ErrorKind.SERVER),
        (503, ErrorKind.OVERLOADED),
    ],
)
async def test_a_failure_is_told_and_not_sent_again(
    provider: Provider, api: str, llmock: LLMock, status: int, kind: ErrorKind
) -> None:
    """The error is classified; what no retry can mend is tried once."""
    llmock.fail(status)
    error, _ = await failed(provider, ask(api))
    assert (error.kind, error.status, error.phase) == (kind, status, ErrorPhase.PRE_TOKEN)
    assert len(llmock.requests) == 1
    llmock.assert_resilient()


async def test_a_rate_limit_says_when_to_come_back(provider: Provider, api: str, llmock: LLMock) -> None:
    """The server's own wait reaches the caller, who alone decides."""
    llmock.rate_limit(retry_after=3)
    error, _ = await failed(provider, ask(api))
    assert (error.kind, error.retry_after, error.retryable) == (ErrorKind.RATE_LIMIT, 3, True)
    assert len(llmock.requests) == 1
    llmock.assert_resilient()


async def test_too_long_a_prompt(provider: Provider, api: str, llmock: LLMock) -> None:
    """It is known as such in each vendor's wording."""
    llmock.context_overflow()
    error, _ = await failed(provider, ask(api))
    assert error.kind is ErrorKind.CONTEXT_LENGTH
    llmock.assert_resilient()


BROKEN = {
    "truncate": ErrorKind.TRUNCATED,
    "corrupt": ErrorKind.MALFORMED,
    "disconnect": ErrorKind.CONNECTION,
}


def chunks_before(api: str) -> int:
    """How many chunks bring some words, for the Responses protocol begins with several that bring none."""
    return 7 if api == "openai-responses" else 4


def break_next(llmock: LLMock, fault: str, api: str) -> None:
    llmock.reply("One two three four five six seven eight nine ten.", times=None)
    getattr(llmock, fault)(after_chunks=chunks_before(api))


@pytest.mark.parametrize("fault", list(BROKEN))
async def test_a_broken_stream_is_never_a_reply(
    provider: Provider, api: str, llmock: LLMock, fault: str
) -> None:
    """Ended early, corrupted or cut: an error, with what had arrived."""
    break_next(llmock, fault, api)
    error, partial = await failed(provider, ask(api))
    assert (error.kind, error.phase, error.retryable) == (BROKEN[fault], ErrorPhase.MID_STREAM, True)
    assert partial
    assert "One two three four".startswith(partial[:18])


@pytest.mark.parametrize("fault", list(BROKEN))
async def test_a_broken_stream_is_begun_anew(
    provider: Provider, api: str, llmock: LLMock, fault: str
) -> None:
    """With mid_stream="restart" the reader is told to forget, and the server finds nothing to blame."""
    break_next(llmock, fault, api)
    events = await heard(provider, ask(api, mid_stream="restart"))
    last = events[-1]
    assert isinstance(last, Done)
    assert last.response.text == "One two three four five six seven eight nine ten."
    assert [event for event in events if isinstance(event, Reset)]
    assert len(llmock.requests) == 2
    assert llmock.verdict().errors == ()


async def test_a_stalled_stream_is_left(provider: Provider, api: str, llmock: LLMock) -> None:
    """Silence ends the call after its idle timeout; the server sees the client go."""
    llmock.stall(after_chunks=chunks_before(api), seconds=30)
    error, _ = await failed(provider, ask(api, idle_timeout=0.3))
    assert (error.kind, error.phase) == (ErrorKind.TIMEOUT, ErrorPhase.MID_STREAM)
    (request,) = llmock.requests
    assert not request.completed
    assert "no_read_timeout" not in [finding.code for finding in llmock.verdict().findings]
