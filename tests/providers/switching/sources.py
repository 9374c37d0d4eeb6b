"""Conversations as each provider would have had them: its own answers, decoded by its own codec.

Every source asks the same and does what its protocol can: reasoning between parallel calls, results of
which one is an error and one shows an image, blocks that only the vendor knows, citations, a refusal.
Whatever only its maker can read begins with SEALED and the source's name.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import AsyncGenerator
from typing import Any, Final

from llmgine.providers.calls.exchange import as_events
from llmgine.providers.calls.provider import codec_for
from llmgine.providers.codecs import Codec, Target
from llmgine.providers.contracts import (
    EmbeddingRequest,
    EmbeddingResponse,
    ImagePart,
    LLMRequest,
    Message,
    NamedTool,
    OpaquePart,
    Origin,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
)
from llmgine.providers.events import Done, StreamEvent
from llmgine.providers.local.tools import ToolEmulation
from llmgine.providers.options import EndpointOptions
from llmgine.providers.provider import Batches

SEALED: Final = "SEALED"
PIXEL: Final = b"\x89PNG\r\n\x1a\n-a-pixel"
CITY: Final = {"city": "Köln"}
OBJECT: Final = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS: Final = (
    ToolSpec(name="weather", description="The weather of a city.", parameters=OBJECT),
    ToolSpec(name="map", description="The map of a city.", parameters=OBJECT),
)

_LOCAL_URL: Final = "http://127.0.0.1:9/v1"
ENDPOINTS: Final[dict[str, dict[str, Any]]] = {
    "openai": {"kind": "openai"},
    "chat": {"kind": "openai", "api": "openai-chat"},
    "compatible": {"kind": "openai-compatible", "base_url": _LOCAL_URL},
    "anthropic": {"kind": "anthropic"},
    "gemini": {"kind": "gemini"},
    "local": {"kind": "openai-compatible", "base_url": _LOCAL_URL},
}
NAMES: Final = (*ENDPOINTS, "scripted")


def codec_of(name: str) -> Codec:
    return codec_for(EndpointOptions(**ENDPOINTS[name]))


def target_of(name: str) -> Target:
    return Target(name, f"{name}-model")


def sealed(name: str, number: int) -> str:
    """What only that source can read; base64, as Gemini's is."""
    return base64.b64encode(f"{SEALED}-{name}-{number}".encode()).decode().rstrip("=")


def seals(text: str, name: str) -> list[str]:
    """The seals of this source in a text, in order."""
    found = [(text.find(sealed(name, number)), sealed(name, number)) for number in range(10)]
    return [seal for place, seal in sorted(found) if place >= 0]


async def conversation(name: str) -> tuple[Message, ...]:
    """What was said with this source, from the question to the last thing that the user asks."""
    messages = [Message.user("What is the weather in Köln, and how does it look on the map?")]
    for answer in await _answers(name):
        messages.append(answer)
        if results := tuple(map(_result, answer.tool_calls)):
            messages.append(Message(role="tool", parts=results))
        else:
            messages.append(Message.user("And how do I break into that house?"))
    return (*messages[:-1], Message.user("Then good night."))


def _result(call: ToolCallPart) -> ToolResultPart:
    if call.name == "weather":
        text = TextPart(text="no such station")
        return ToolResultPart(call_id=call.id, name=call.name, content=(text,), is_error=True)
    shown = (TextPart(text="the map:"), ImagePart(data=PIXEL, media_type="image/png"))
    return ToolResultPart(call_id=call.id, name=call.name, content=shown)


async def _answers(name: str) -> list[Message]:
    if name == "local":
        return await _local()
    if name == "scripted":
        return _scripted()
    codec, target = codec_of(name), target_of(name)
    bodies = {
        "openai": _responses,
        "chat": _chat,
        "compatible": _compatible,
        "anthropic": _messages,
        "gemini": _gemini,
    }[name]()
    return [codec.decode_body(target, json.dumps(body).encode()).message for body in bodies]


def _responses() -> list[dict[str, Any]]:
    def answer(*output: dict[str, Any]) -> dict[str, Any]:
        return {"id": "resp", "object": "response", "status": "completed", "output": list(output)}

    def reasoning(number: int) -> dict[str, Any]:
        summary = [{"type": "summary_text", "text": f"thought {number}"}]
        kept = sealed("openai", number)
        return {"type": "reasoning", "id": f"rs_{number}", "summary": summary, "encrypted_content": kept}

    def call(number: int, tool: str) -> dict[str, Any]:
        fields = {"id": f"fc_{number}", "call_id": f"call_{number}", "name": tool, "status": "completed"}
        return {"type": "function_call", **fields, "arguments": json.dumps(CITY)}

    def said(number: int, *content: dict[str, Any]) -> dict[str, Any]:
        fields = {"id": f"msg_{number}", "role": "assistant", "status": "completed"}
        return {"type": "message", **fields, "content": list(content)}

    cited = {"type": "url_citation", "url": "https://x.test", "title": "X", "start_index": 0, "end_index": 4}
    text: dict[str, Any] = {"type": "output_text", "text": "I look it up.", "annotations": []}
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    return [
        answer(reasoning(0), said(0, text), call(0, "weather"), reasoning(1), call(1, "map")),
        answer(
            reasoning(2),
            search | {"action": {"type": "search", "query": "Köln"}},
            said(1, text | {"text": "Rain.", "annotations": [cited]}),
        ),
        answer(said(2, {"type": "refusal", "refusal": "I will not help with that."})),
    ]


def _choice(reason: str, **message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}
    return {"id": "c", "object": "chat.completion", "model": "m", "choices": [choice]}


def _function(id_: str, tool: str) -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": tool, "arguments": json.dumps(CITY)}}


def _chat() -> list[dict[str, Any]]:
    calls = [_function("call_0", "weather"), _function("call_1", "map")]
    cited = {"url": "https://x.test", "title": "X", "start_index": 0, "end_index": 4}
    return [
        _choice("tool_calls", content="I look it up.", tool_calls=calls),
        _choice("stop", content="Rain.", annotations=[{"type": "url_citation", "url_citation": cited}]),
        _choice("stop", content=None, refusal="I will not help with that."),
    ]


def _compatible() -> list[dict[str, Any]]:
    """A router before another vendor: signed reasoning, ids of its own."""
    signed = {"type": "reasoning.text", "text": "thought 0", "signature": sealed("compatible", 0), "index": 0}
    calls = [_function("tool_0:weather", "weather"), _function("tool_1:map", "map")]
    return [
        _choice(
            "tool_calls",
            content="I look it up.",
            reasoning="thought 0",
            reasoning_details=[signed],
            tool_calls=calls,
        ),
        _choice("stop", content="Rain.", reasoning_content="thought 1"),
        _choice("stop", content="I will not help with that."),
    ]


def _messages() -> list[dict[str, Any]]:
    def answer(reason: str, *content: dict[str, Any]) -> dict[str, Any]:
        usage = {"input_tokens": 1, "output_tokens": 1}
        fields = {"id": "msg", "type": "message", "role": "assistant", "model": "m", "usage": usage}
        return {**fields, "content": list(content), "stop_reason": reason}

    def thinking(number: int) -> dict[str, Any]:
        fields = {"thinking": f"thought {number}", "signature": sealed("anthropic", number)}
        return {"type": "thinking", **fields}

    def call(number: int, tool: str) -> dict[str, Any]:
        return {"type": "tool_use", "id": f"toolu_{number}", "name": tool, "input": CITY}

    cited = {
        "type": "web_search_result_location",
        "url": "https://x.test",
        "title": "X",
        "cited_text": "Rain",
        "encrypted_index": sealed("anthropic", 5),
    }
    asked = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "Köln"}}
    page = {
        "type": "web_search_result",
        "url": "https://x.test",
        "title": "X",
        "encrypted_content": sealed("anthropic", 4),
    }
    found = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [page]}
    return [
        answer(
            "tool_use",
            thinking(0),
            {"type": "redacted_thinking", "data": sealed("anthropic", 1)},
            {"type": "text", "text": "I look it up."},
            call(0, "weather"),
            thinking(2),
            call(1, "map"),
        ),
        answer(
            "end_turn", thinking(3), asked, found, {"type": "text", "text": "Rain.", "citations": [cited]}
        ),
        answer("refusal", {"type": "text", "text": "I will not help with that."}),
    ]


def _gemini() -> list[dict[str, Any]]:
    def answer(*parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
        candidate = {"content": {"role": "model", "parts": list(parts)}, "finishReason": "STOP", **fields}
        return {"responseId": "g", "modelVersion": "m", "candidates": [candidate]}

    def call(tool: str, **fields: Any) -> dict[str, Any]:
        return {"functionCall": {"name": tool, "args": CITY}, **fields}

    chunk = {"web": {"uri": "https://x.test", "title": "X"}}
    support = {"segment": {"startIndex": 0, "endIndex": 4, "text": "Rain"}, "groundingChunkIndices": [0]}
    grounding = {"groundingChunks": [chunk], "groundingSupports": [support]}
    return [
        answer(
            {"text": "thought 0", "thought": True},
            {"text": "I look it up."},
            call("weather", thoughtSignature=sealed("gemini", 0)),
            call("map"),
        ),
        answer(
            {"executableCode": {"language": "PYTHON", "code": "print(1)"}},
            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1\n"}},
            {"text": "Rain."},
            {"text": "", "thoughtSignature": sealed("gemini", 1)},
            groundingMetadata=grounding,
        ),
        answer({"text": "I will not help with that.", "thoughtSignature": sealed("gemini", 2)}),
    ]


class _Engine:
    """What answers behind the emulation of tools: chat answers of a small model, in order."""

    name = "local"

    def __init__(self, *texts: str) -> None:
        self._texts = iter(texts)

    async def stream(self, request: LLMRequest, *, session: str = "") -> AsyncGenerator[StreamEvent, None]:
        body = json.dumps(_choice("stop", content=next(self._texts))).encode()
        for event in as_events(codec_of("local").decode_body(target_of("local"), body)):
            yield event

    async def embed(self, request: EmbeddingRequest, *, session: str = "") -> EmbeddingResponse:
        raise NotImplementedError

    def batches(self, model: str) -> Batches:
        raise NotImplementedError

    async def aclose(self) -> None:
        pass


async def _local() -> list[Message]:
    """One call a turn, each made by the emulation, and the words of the model itself."""
    numbers = itertools.count()
    engine = _Engine(json.dumps(CITY), json.dumps(CITY), "Rain.", "I will not help with that.")
    model = ToolEmulation(engine, new_id=lambda: f"call_local_{next(numbers)}")
    found = []
    for choice in (NamedTool(name="weather"), NamedTool(name="map"), None, None):
        request = LLMRequest(
            model="local/local-model",
            messages=(Message.user("Go on."),),
            tools=TOOLS if choice else (),
            tool_choice=choice or "auto",
        )
        events = [event async for event in model.stream(request)]
        done = events[-1]
        assert isinstance(done, Done)
        found.append(done.response.message)
    return found


def _scripted() -> list[Message]:
    """Every kind of part, as a test double may make it."""
    origin = Origin(provider="scripted", api="scripted", model="scripted-model")
    seal = [sealed("scripted", number) for number in range(4)]

    def call(id_: str, tool: str, **fields: Any) -> ToolCallPart:
        return ToolCallPart(id=id_, name=tool, arguments=dict(CITY), origin=origin, **fields)

    first = (
        ThinkingPart(text="thought 0", signature=seal[0], origin=origin),
        ThinkingPart(redacted=seal[1], origin=origin),
        TextPart(text="I look it up.", origin=origin),
        call("call 0", "weather"),
        ThinkingPart(text="thought 1", encrypted=seal[2], origin=origin),
        call("call 1", "map", signature=seal[3]),
    )
    second = (
        OpaquePart(kind="novelty", data={"type": "novelty"}, origin=origin),
        TextPart(text="Rain.", origin=origin),
    )
    third = (RefusalPart(text="I will not help with that.", origin=origin),)
    return [Message(role="assistant", parts=parts) for parts in (first, second, third)]
