"""An answer as the output items and the response of the Responses protocol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from llmgine.actors.gateway.vendor.seals import sealed
from llmgine.actors.gateway.vendor.words import turned
from llmgine.providers.codecs.encoding import arguments_text
from llmgine.providers.codecs.openai_responses.codec import OpenAIResponsesCodec
from llmgine.providers.codecs.openai_responses.decode import REASONS
from llmgine.providers.contracts import (
    AnyPart,
    Citation,
    LLMResponse,
    OpaquePart,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    Usage,
)

Item = dict[str, Any]

_UNFINISHED: Final = turned(REASONS)


@dataclass(frozen=True, slots=True)
class Head:
    """What an answer says of itself and repeats of its request; `model` is as the client named it."""

    id: str
    created: int
    model: str
    echo: Mapping[str, Any]
    conversation: str | None = None

    def response(self, status: str, **others: Any) -> Item:
        told: Item = {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "model": self.model,
            "output": [],
            "store": self.conversation is not None,
            "usage": None,
            **self.echo,
        }
        if self.conversation is not None:
            told["conversation"] = {"id": self.conversation}
        return told | others


def response(answer: LLMResponse, head: Head) -> Item:
    """The whole answer."""
    return ended(answer, head, items(answer.message.parts, head.id))


def ended(answer: LLMResponse, head: Head, output: list[Item]) -> Item:
    """The answer with these items as its output."""
    counted = usage(answer.usage)
    if reason := _UNFINISHED.get(answer.finish_reason):
        return head.response(
            "incomplete", output=output, usage=counted, incomplete_details={"reason": reason}
        )
    return head.response("completed", output=output, usage=counted)


def items(parts: Iterable[AnyPart], response_id: str) -> list[Item]:
    """The output: texts and refusals in a row are one message, every other part an item."""
    output: list[Item] = []
    for part in parts:
        if (block := content(part)) is not None:
            if not output or output[-1]["type"] != "message":
                output.append(message(item_id("msg", response_id, len(output))))
            output[-1]["content"].append(block)
        elif (item := item_of(part, response_id, len(output))) is not None:
            output.append(item)
    return output


def item_id(kind: str, response_id: str, place: int) -> str:
    return f"{kind}_{response_id.removeprefix('resp_')}_{place}"


def message(id: str, status: str = "completed") -> Item:
    return {"id": id, "type": "message", "role": "assistant", "status": status, "content": []}


def content(part: AnyPart) -> Item | None:
    """A part as content of a message; None for what is an item by itself."""
    match part:
        case TextPart(text=text, citations=citations):
            annotations = [annotation(one) for one in citations if one.url is not None]
            return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": []}
        case RefusalPart(text=text):
            return {"type": "refusal", "refusal": text}
    return None


def item_of(part: AnyPart, response_id: str, place: int) -> Item | None:
    """A part that is an item by itself; None for what the protocol has no place for."""
    match part:
        case ThinkingPart():
            return reasoning(part, item_id("rs", response_id, place))
        case ToolCallPart():
            return call(part, item_id("fc", response_id, place))
        case OpaquePart(data=data, origin=origin) if origin is not None and _is_own(origin.api):
            return dict(data)
    return None


def reasoning(part: ThinkingPart, id: str) -> Item:
    summary = [{"type": "summary_text", "text": part.text}] if part.text else []
    return {"id": id, "type": "reasoning", "summary": summary, "encrypted_content": sealed(part)}


def call(part: ToolCallPart, id: str) -> Item:
    return {
        "id": id,
        "type": "function_call",
        "call_id": part.id,
        "name": part.name,
        "arguments": arguments_text(part),
        "status": "completed",
    }


def annotation(citation: Citation) -> Item:
    return {
        "type": "url_citation",
        "url": citation.url,
        "title": citation.title or "",
        "start_index": citation.start or 0,
        "end_index": citation.end or 0,
    }


def usage(counted: Usage) -> Item | None:
    """The tokens; None where the provider reported none."""
    if counted.input_tokens is None or counted.output_tokens is None:
        return None
    reads, writes = counted.cache_read_tokens or 0, counted.cache_write_tokens or 0
    return {
        "input_tokens": counted.input_tokens,
        "input_tokens_details": {"cached_tokens": reads, "cache_write_tokens": writes},
        "output_tokens": counted.output_tokens,
        "output_tokens_details": {"reasoning_tokens": counted.reasoning_tokens or 0},
        "total_tokens": counted.total_tokens,
    }


def _is_own(api: str) -> bool:
    return api == OpenAIResponsesCodec.api
