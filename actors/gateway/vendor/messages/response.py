"""An answer as the Messages protocol tells it."""

from __future__ import annotations

from typing import Any, Final

from llmgine.actors.gateway.vendor.seals import sealed
from llmgine.actors.gateway.vendor.words import finish_word
from llmgine.providers.codecs.anthropic_messages.codec import AnthropicMessagesCodec
from llmgine.providers.codecs.anthropic_messages.decode import REASONS
from llmgine.providers.contracts import (
    AnyPart,
    Citation,
    FinishReason,
    LLMResponse,
    OpaquePart,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    Usage,
)

Block = dict[str, Any]

_OTHER_REASONS: Final = {
    FinishReason.CONTENT_FILTER: "refusal",
    FinishReason.ERROR: "end_turn",
    FinishReason.UNKNOWN: "end_turn",
}


def message(response: LLMResponse, *, id: str, model: str) -> dict[str, Any]:
    """The whole answer; `model` is as the client named it."""
    blocks = [block for part in response.message.parts if (block := block_of(part)) is not None]
    head = begun(id, model)
    return {**head, "content": blocks, **ended(response), "usage": usage(response.usage)}


def begun(id: str, model: str) -> dict[str, Any]:
    """The answer before it says anything."""
    return {
        "id": id,
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage(Usage()),
    }


def ended(response: LLMResponse) -> dict[str, Any]:
    return {
        "stop_reason": finish_word(response, REASONS, _OTHER_REASONS),
        "stop_sequence": response.provider_data.get("stop_sequence"),
    }


def usage(counted: Usage) -> dict[str, Any]:
    """The tokens as this vendor counts them: those of the cache beside the others, 0 for what is unknown."""
    reads, writes = counted.cache_read_tokens or 0, counted.cache_write_tokens or 0
    return {
        "input_tokens": (counted.input_tokens or 0) - reads - writes if counted.input_tokens else 0,
        "cache_creation_input_tokens": writes,
        "cache_read_input_tokens": reads,
        "output_tokens": counted.output_tokens or 0,
    }


def block_of(part: AnyPart) -> Block | None:
    """The block of a whole part; None for what the protocol has no place for."""
    match part:
        case TextPart(text=text) | RefusalPart(text=text):
            if not text:
                return None
            citations = part.citations if isinstance(part, TextPart) else ()
            told = [citation(one) for one in citations if cites(one)]
            return {"type": "text", "text": text, "citations": told or None}
        case ThinkingPart():
            return thinking(part)
        case ToolCallPart(id=id_, name=name):
            return {"type": "tool_use", "id": id_, "name": name, "input": arguments_of(part)}
        case OpaquePart(data=data, origin=origin) if origin and origin.api == AnthropicMessagesCodec.api:
            return dict(data)
    return None


def thinking(part: ThinkingPart) -> Block:
    if part.text:
        return {"type": "thinking", "thinking": part.text, "signature": sealed(part)}
    return {"type": "redacted_thinking", "data": sealed(part)}


def arguments_of(part: ToolCallPart) -> dict[str, Any]:
    """The arguments as an object, which this vendor always has; text that is none stands in one."""
    return {"raw_arguments": part.raw_arguments} if part.arguments is None else part.arguments


def cites(one: Citation) -> bool:
    """Whether this vendor has words for it."""
    return "cited_text" in one.raw or one.url is not None


def citation(one: Citation) -> Block:
    if "cited_text" in one.raw:
        return dict(one.raw)
    return {
        "type": "web_search_result_location",
        "url": one.url,
        "title": one.title,
        "cited_text": one.quote or "",
        "encrypted_index": "",
    }
