"""An answer as Chat Completions tell it."""

from __future__ import annotations

from typing import Any, Final

from llmgine.actors.gateway.vendor.words import finish_word
from llmgine.providers.codecs.encoding import arguments_text
from llmgine.providers.codecs.openai_chat.decode import REASONS
from llmgine.providers.contracts import (
    Citation,
    FinishReason,
    LLMResponse,
    RefusalPart,
    TextPart,
    ToolCallPart,
    Usage,
)

# A refusal has a field of its own beside the reason.
_OTHER_REASONS: Final = {
    FinishReason.REFUSAL: "stop",
    FinishReason.PAUSE: "stop",
    FinishReason.ERROR: "stop",
    FinishReason.UNKNOWN: "stop",
}
_BESIDE: Final = ("service_tier", "system_fingerprint")


def completion(response: LLMResponse, *, id: str, created: int, model: str) -> dict[str, Any]:
    """The whole answer; `model` is as the client named it."""
    message = response.message
    said: dict[str, Any] = {"role": "assistant", "content": message.text or None}
    refusals = [part.text for part in message.parts if isinstance(part, RefusalPart)]
    said["refusal"] = "".join(refusals) or None
    if not (said["content"] or refusals or message.tool_calls):
        said["content"] = ""
    if message.thinking:
        said["reasoning_content"] = message.thinking
    if annotations := _annotations(response):
        said["annotations"] = annotations
    if message.tool_calls:
        said["tool_calls"] = [call(part) for part in message.tool_calls]
    choice = {
        "index": 0,
        "message": said,
        "logprobs": response.provider_data.get("logprobs"),
        "finish_reason": finish_reason(response),
    }
    told = {"id": id, "object": "chat.completion", "created": created, "model": model, "choices": [choice]}
    told |= {name: response.provider_data[name] for name in _BESIDE if name in response.provider_data}
    counted = usage(response.usage)
    return told if counted is None else told | {"usage": counted}


def call(part: ToolCallPart) -> dict[str, Any]:
    function = {"name": part.name, "arguments": arguments_text(part)}
    return {"id": part.id, "type": "function", "function": function}


def finish_reason(response: LLMResponse) -> str:
    return finish_word(response, REASONS, _OTHER_REASONS)


def usage(counted: Usage) -> dict[str, Any] | None:
    """The tokens; None where the provider reported none."""
    if counted.input_tokens is None or counted.output_tokens is None:
        return None
    return {
        "prompt_tokens": counted.input_tokens,
        "completion_tokens": counted.output_tokens,
        "total_tokens": counted.total_tokens,
        "prompt_tokens_details": {"cached_tokens": counted.cache_read_tokens or 0},
        "completion_tokens_details": {"reasoning_tokens": counted.reasoning_tokens or 0},
    }


def _annotations(response: LLMResponse) -> list[dict[str, Any]]:
    """Sources on the web; places count from the start of the whole text."""
    told: list[dict[str, Any]] = []
    before = 0
    for part in response.message.parts:
        if isinstance(part, TextPart):
            told += [annotation(one, before) for one in part.citations if one.url is not None]
            before += len(part.text)
    return told


def annotation(citation: Citation, before: int) -> dict[str, Any]:
    source = {
        "url": citation.url,
        "title": citation.title or "",
        "start_index": before + (citation.start or 0),
        "end_index": before + (citation.end or 0),
    }
    return {"type": "url_citation", "url_citation": source}
