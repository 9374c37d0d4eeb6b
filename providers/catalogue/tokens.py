"""How many tokens a request may hold, by a rule of thumb, for callers who ask for it.

Text: a token for every four characters of plain ASCII, and one for every other character; tools and the
output schema count as their JSON. Each message takes 4 more. An image counts 85 at low detail, else 765;
sound 32 a second of 16 kB; a document its text, else one for every six bytes. Media behind a URL count as
one image, ten seconds, or 5,000. True counts differ by model: for English text and code by a fifth in
common cases, for media by far more.
"""

from __future__ import annotations

import json
from typing import Any

from llmgine.providers.contracts import (
    AnyPart,
    AudioPart,
    DocumentPart,
    EmbeddingRequest,
    ImagePart,
    LLMRequest,
    Message,
    OpaquePart,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    Usage,
    UsageSource,
)

_PER_MESSAGE = 4
_PER_TOOL = 8
_LOW_DETAIL, _IMAGE = 85, 765
_BYTES_PER_SECOND, _PER_SECOND = 16_000, 32
_SECONDS_BEHIND_URL = 10
_BYTES_PER_TOKEN = 6
_DOCUMENT_BEHIND_URL = 5_000


def estimate(request: LLMRequest | EmbeddingRequest) -> Usage:
    """The tokens of the prompt, marked as estimated; the answer's are unknown."""
    if isinstance(request, EmbeddingRequest):
        return _estimated(sum(map(of_text, request.inputs)))
    tokens = 0 if request.system is None else of_text(request.system) + _PER_MESSAGE
    for message in request.messages:
        tokens += of_message(message)
    for tool in request.tools:
        tokens += _PER_TOOL + of_text(tool.name + tool.description) + _of_json(tool.parameters)
    if request.output is not None:
        tokens += _of_json(request.output.json_schema)
    return _estimated(tokens)


def of_message(message: Message) -> int:
    """The tokens of a message by the rule above."""
    return _PER_MESSAGE + sum(map(_of_part, message.parts))


def of_text(text: str) -> int:
    """The tokens of a text by the rule above."""
    plain = len(text) if text.isascii() else len(text.encode("ascii", "ignore"))
    return -(-plain // 4) + len(text) - plain


def _of_part(part: AnyPart) -> int:
    match part:
        case TextPart(text=text) | RefusalPart(text=text) | ThinkingPart(text=text):
            return of_text(text)
        case ToolCallPart():
            arguments = part.raw_arguments or json.dumps(part.arguments or {}, ensure_ascii=False)
            return _PER_TOOL + of_text(part.name + arguments)
        case ToolResultPart():
            return _PER_MESSAGE + sum(map(_of_part, part.content))
        case ImagePart():
            return _LOW_DETAIL if part.detail == "low" else _IMAGE
        case AudioPart():
            seconds = _SECONDS_BEHIND_URL if part.data is None else len(part.data) / _BYTES_PER_SECOND
            return int(seconds * _PER_SECOND) + 1
        case DocumentPart():
            return _of_document(part)
        case OpaquePart():
            return _of_json(part.data)


def _of_document(part: DocumentPart) -> int:
    if part.data is None:
        return _DOCUMENT_BEHIND_URL
    if part.media_type.startswith("text/"):
        return of_text(part.data.decode("utf-8", "replace"))
    return len(part.data) // _BYTES_PER_TOKEN + 1


def _of_json(value: Any) -> int:
    return of_text(json.dumps(value, ensure_ascii=False, default=str))


def _estimated(tokens: int) -> Usage:
    return Usage(input_tokens=tokens, source=UsageSource.ESTIMATED)
