"""What people and models said, in the form of OpenTelemetry's conventions for generative AI. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llmgine.providers.contracts import (
    AudioPart,
    DocumentPart,
    FinishReason,
    ImagePart,
    LLMResponse,
    Message,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
)

_FINISH = {
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.TOOL_CALLS: "tool_call",
    FinishReason.CONTENT_FILTER: "content_filter",
}
_MODALITY = {ImagePart: "image", AudioPart: "audio", DocumentPart: "document"}


def inputs(messages: Iterable[Message]) -> list[dict[str, Any]]:
    """A value for `gen_ai.input.messages`."""
    return [{"role": message.role, "parts": _parts(message)} for message in messages]


def output(response: LLMResponse) -> list[dict[str, Any]]:
    """A value for `gen_ai.output.messages`."""
    finish = _FINISH.get(response.finish_reason, response.finish_reason.value)
    return [{"role": "assistant", "parts": _parts(response.message), "finish_reason": finish}]


def instructions(system: str) -> list[dict[str, Any]]:
    """A value for `gen_ai.system_instructions`."""
    return [{"type": "text", "content": system}]


def definitions(tools: Iterable[ToolSpec]) -> list[dict[str, Any]]:
    """A value for `gen_ai.tool.definitions`."""
    return [
        {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": tool.parameters,
        }
        for tool in tools
    ]


def _parts(message: Message) -> list[dict[str, Any]]:
    return [_part(part) for part in message.parts]


def _part(part: Any) -> dict[str, Any]:
    match part:
        case TextPart() | RefusalPart():
            return {"type": "text", "content": part.text}
        case ThinkingPart():
            return {"type": "reasoning", "content": part.text}
        case ToolCallPart():
            arguments = part.raw_arguments if part.arguments is None else part.arguments
            return {"type": "tool_call", "id": part.id, "name": part.name, "arguments": arguments}
        case ToolResultPart():
            return {"type": "tool_call_response", "id": part.call_id, "response": part.text}
        case ImagePart() | AudioPart() | DocumentPart():
            return _media(part)
        case _:
            return {"type": str(part.type)}


def _media(part: ImagePart | AudioPart | DocumentPart) -> dict[str, Any]:
    told = {"mime_type": part.media_type, "modality": _MODALITY[type(part)]}
    if part.data is None:
        return {"type": "uri", **told, "uri": part.url}
    # A picture says nothing on a span that its size would not.
    return {"type": "blob", **told, "content": "", "size": len(part.data)}
