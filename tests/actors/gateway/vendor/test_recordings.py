"""Real answers of real providers, told by the gateway in each vendor's words and read back by our own codec.

What a client of the gateway reads is what a client of the provider would have read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from anthropic.types import Message as AnthropicMessage
from anthropic.types import RawMessageStreamEvent
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from llmgine.actors.gateway.vendor.chat.request import read_chat
from llmgine.actors.gateway.vendor.messages.request import read_messages
from llmgine.actors.gateway.vendor.reading import Asked, RequestRefused
from llmgine.actors.gateway.vendor.responses.request import read_responses
from llmgine.actors.gateway.vendor.wires import (
    Answering,
    ChatWire,
    MessagesWire,
    ResponsesWire,
    Wire,
)
from llmgine.providers.codecs import (
    AnthropicMessagesCodec,
    Codec,
    OpenAIChatCodec,
    OpenAIResponsesCodec,
    Target,
)
from llmgine.providers.contracts import (
    FinishReason,
    LLMRequest,
    LLMResponse,
    Message,
    Origin,
    RefusalPart,
    TextPart,
    ToolCallPart,
)
from llmgine.providers.events import Done, Failed, StreamEvent
from llmgine.providers.frames import SseSplitter
from tests.providers.codecs.recorded.exchanges import STREAMS, Exchange, each

WIRES: dict[str, tuple[Wire, Codec, Any, Any]] = {
    "chat": (ChatWire(), OpenAIChatCodec(), ChatCompletion, ChatCompletionChunk),
    "responses": (ResponsesWire(), OpenAIResponsesCodec(), Response, ResponseStreamEvent),
    "messages": (MessagesWire(), AnthropicMessagesCodec(), AnthropicMessage, RawMessageStreamEvent),
}
READERS: dict[str, Callable[[Any, Origin, dict[str, str]], Asked]] = {
    "openai-chat": read_chat,
    "openai-responses": read_responses,
    "anthropic-messages": read_messages,
}
# What a vendor has no word for is told as the nearest one.
SAME_REASON = {FinishReason.STOP, FinishReason.LENGTH, FinishReason.TOOL_CALLS}


def answering() -> Answering:
    request = LLMRequest(model="m", messages=(Message.user("?"),))
    echo = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": []}
    return Answering("1", 2, Asked(request, stream=True, include_usage=True, echo=echo))


def told(wire: Wire, events: list[StreamEvent]) -> list[Any]:
    """The frames of a whole stream."""
    telling = wire.telling(answering())
    frames = telling.begin()
    for event in events[:-1]:
        frames += telling.event(event)  # type: ignore[arg-type]
    last = events[-1]
    assert isinstance(last, Done)
    return [*frames, *telling.end(last.response)]


def read_back(codec: Codec, data: bytes) -> LLMResponse:
    decoder, splitter = codec.decoder(Target("p", "m")), SseSplitter()
    events = [event for frame in splitter.feed(data) for event in decoder.feed(*frame)] + decoder.end()
    assert not isinstance(events[-1], Failed), events[-1]
    assert isinstance(events[-1], Done)
    return events[-1].response


def calls(response: LLMResponse) -> list[tuple[str, str, Any]]:
    return [(call.id, call.name, call.arguments) for call in response.tool_calls]


def said(response: LLMResponse) -> str:
    parts = response.message.parts
    return "".join(part.text for part in parts if isinstance(part, TextPart | RefusalPart))


def check_same(read: LLMResponse, response: LLMResponse, *, streamed: bool) -> None:
    assert calls(read) == calls(response)
    assert read.message.thinking == response.message.thinking or not read.message.thinking
    refused = any(isinstance(part, RefusalPart) for part in response.message.parts)
    if not (refused and streamed):  # a refusal is streamed as text first
        assert said(read) == said(response)
    if response.finish_reason in SAME_REASON:
        assert read.finish_reason is response.finish_reason
    usage, expected = read.usage, response.usage
    if expected.input_tokens is not None and expected.output_tokens is not None:
        assert (usage.input_tokens, usage.output_tokens) == (expected.input_tokens, expected.output_tokens)
        assert (usage.cache_read_tokens or 0) == (expected.cache_read_tokens or 0)


@pytest.mark.parametrize("name", WIRES)
@each(STREAMS)
def test_a_stream_says_the_same_in_each_vendors_words(exchange: Exchange, name: str) -> None:
    """Text, calls, reason and tokens come through; every frame is one that the vendor's SDK knows."""
    wire, codec, whole_type, frame_type = WIRES[name]
    events = exchange.play([exchange.body.encode()])
    if not isinstance(events[-1], Done):
        pytest.skip("the recorded call failed")
    frames = told(wire, events)
    response = events[-1].response
    # Blocks of the provider's own tools come as it sent them, which is more than its SDK describes.
    described = all(part.type != "opaque" for part in response.message.parts)
    if described:
        adapter: TypeAdapter[Any] = TypeAdapter(frame_type)
        for frame in frames:
            if not isinstance(frame.data, str) and frame.data.get("type") != "ping":
                adapter.validate_python(frame.data)
    check_same(read_back(codec, b"".join(frame.encode() for frame in frames)), response, streamed=True)
    body = wire.whole(response, answering())
    if described:
        whole_type.model_validate(body)
    check_same(codec.decode_body(Target("p", "m"), to_json(body)), response, streamed=False)


@each([one for one in STREAMS if one.wire in READERS and isinstance(one.request, dict)])
def test_a_request_goes_through_as_it_came(exchange: Exchange) -> None:
    """Read, written by the codec of the same protocol and read again, a real request asks for the same."""
    origin = Origin(provider=exchange.target.provider, api=exchange.wire, model=exchange.model)
    read = READERS[exchange.wire]
    try:
        asked = read(exchange.request, origin, {})
    except RequestRefused as refused:
        pytest.skip(f"it is refused by name: {refused}")
    written = from_json(to_json(exchange.codec.encode(asked.request, exchange.target).body))
    asked_again = read(written, origin, {})
    first, second = asked.request, asked_again.request
    assert second.model == first.model
    assert [tool.name for tool in second.tools] == [tool.name for tool in first.tools]
    assert second.tool_choice == first.tool_choice
    assert second.max_output_tokens in (first.max_output_tokens, 16_000)
    assert _calls_of(second) == _calls_of(first)
    assert _texts_of(second) == _texts_of(first)


def _calls_of(request: LLMRequest) -> list[tuple[str, Any]]:
    parts = [part for message in request.messages for part in message.parts]
    return [(part.name, part.arguments) for part in parts if isinstance(part, ToolCallPart)]


def _texts_of(request: LLMRequest) -> list[str]:
    """What is said, message by message, wherever the protocol keeps the system prompt."""
    said = [request.system or "", *(message.text.strip() for message in request.messages)]
    return [text for text in said if text]
