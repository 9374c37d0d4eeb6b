"""Parts of a conversation as the content blocks of the Messages protocol."""

from __future__ import annotations

from typing import Any

from llmgine.providers.codecs.encoding import CallIds, Encoding, image_base64
from llmgine.providers.contracts import (
    AnyPart,
    AudioPart,
    DocumentPart,
    ImagePart,
    MediaPart,
    OpaquePart,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)

Block = dict[str, Any]

_PDF = "application/pdf"


class Blocks:
    """The blocks of one request's parts, in order; what differs is recorded."""

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding
        self._messages = encoding.request.messages
        self._ids = CallIds(r"[a-zA-Z0-9_-]+", 64)

    def of(self, part: AnyPart, field: str, number: int) -> list[Block]:
        """What a part of the message with this number is sent as."""
        match part:
            case TextPart():
                return self._text(part, field)
            case RefusalPart():
                return _words(self._encoding.refusal(part, field))
            case ImagePart() | AudioPart() | DocumentPart():
                if self._messages[number].role == "assistant":
                    return self._from_the_model(part, field)
                return self._medium(part, field, number)
            case ToolCallPart():
                return [self._call(part, field)]
            case ToolResultPart():
                return self._result(part, field, number)
            case ThinkingPart():
                return self._thinking(part, field)
            case OpaquePart():
                if self._encoding.is_native(part) and isinstance(part.data, dict) and "type" in part.data:
                    return [dict(part.data)]
                self._encoding.dropped(field, f"a {part.kind} block goes only to the provider that made it")
                return []

    def _text(self, part: TextPart, field: str) -> list[Block]:
        self._encoding.leave_seal(part, field)
        blocks = _words(part.text)
        if not self._encoding.is_native(part):
            if part.citations:
                reason = "citations go only to the provider that made them"
                self._encoding.dropped(f"{field}.citations", reason)
            return blocks
        if part.citations:
            cited = {"citations": [citation.raw for citation in part.citations if citation.raw]}
            blocks = [block | cited for block in blocks]
        return [block | part.provider_data for block in blocks]

    def _thinking(self, part: ThinkingPart, field: str) -> list[Block]:
        if not self._encoding.is_native(part, same_model=True):
            self._encoding.dropped(field, "reasoning goes only to the model that made it")
            return []
        if part.redacted is not None:
            return [{"type": "redacted_thinking", "data": part.redacted} | part.provider_data]
        if not part.signature:
            self._encoding.dropped(field, "reasoning without its signature is refused")
            return []
        block = {"type": "thinking", "thinking": part.text, "signature": part.signature}
        return [block | part.provider_data]

    def _call(self, part: ToolCallPart, field: str) -> Block:
        self._encoding.leave_seal(part, field)
        arguments = part.arguments
        if arguments is None:
            arguments = {"raw_arguments": part.raw_arguments}
            self._encoding.changed(field, "arguments that are no JSON object are sent as a string in one")
        name = self._encoding.tool_name(part, field)
        block = {"type": "tool_use", "id": self._ids.call(part.id), "name": name, "input": arguments}
        return block | part.provider_data if self._encoding.is_native(part) else block

    def _result(self, part: ToolResultPart, field: str, number: int) -> list[Block]:
        """A result, and after it the media that the protocol does not take in the result of a failure."""
        texts: list[Block] = []
        content: list[Block] = []
        for position, item in enumerate(part.content):
            if isinstance(item, TextPart):
                blocks = _words(item.text)
                texts += blocks
            else:
                blocks = self._medium(item, f"{field}.content[{position}]", number)
            content += blocks
        after = [block for block in content if block["type"] != "text"] if part.is_error else []
        if after:
            self._encoding.changed(field, "a failure is told in text alone; its media follow the results")
            content = [block for block in content if block["type"] == "text"]
        plain = len(content) < 2 and content == texts
        sent: str | list[Block] = part.text if plain else content
        if part.is_error and not content:
            sent = "the tool failed and said nothing"
            self._encoding.changed(field, "a failure without text is refused")
        block: Block = {
            "type": "tool_result",
            "tool_use_id": self._ids.result(part.call_id),
            "content": sent,
        }
        return [block | {"is_error": True} if part.is_error else block, *after]

    def _from_the_model(self, part: MediaPart, field: str) -> list[Block]:
        if isinstance(part, AudioPart) and (part.transcript or "").strip():
            self._encoding.leave_seal(part, field)
            self._encoding.changed(field, "what a model spoke is sent as text")
            return [{"type": "text", "text": part.transcript}]
        self._encoding.dropped(field, f"a model cannot be shown an {part.type} as its own here")
        return []

    def _medium(self, part: MediaPart, field: str, number: int) -> list[Block]:
        profile = self._encoding.target.profile
        match part:
            case ImagePart() if profile.images:
                if part.detail not in (None, "auto"):
                    self._encoding.dropped(f"{field}.detail", "the Messages protocol has no place for it")
                return [_image(part)]
            case ImagePart():
                return self._impossible(part, field, number, "this model sees no images")
            case AudioPart() if (part.transcript or "").strip():
                self._encoding.changed(field, "the Messages protocol takes no sound; its transcript is sent")
                return [{"type": "text", "text": part.transcript}]
            case AudioPart():
                return self._impossible(part, field, number, "the Messages protocol takes no sound")
            case DocumentPart():
                return self._document(part, field, number)

    def _document(self, part: DocumentPart, field: str, number: int) -> list[Block]:
        inline = image_base64(part)
        media_type = part.media_type if inline is None else inline[0]
        textual = inline is not None and media_type.startswith("text/")
        if not textual and not self._encoding.target.profile.documents:
            return self._impossible(part, field, number, "this model reads no documents")
        if not textual and media_type != _PDF:
            reason = "the Messages protocol takes PDF, and text that comes with its bytes"
            return self._impossible(part, field, number, reason)
        if inline is None:
            source = {"type": "url", "url": part.url}
        elif textual:
            text = self._encoding.plain(inline[1], field)
            source = {"type": "text", "media_type": "text/plain", "data": text}
            if not self._encoding.target.profile.documents:
                self._encoding.changed(field, "this model reads no documents; its text is sent")
                return _words(text)
        else:
            source = {"type": "base64", "media_type": _PDF, "data": inline[1]}
        block: Block = {"type": "document", "source": source}
        if part.name:
            block["title"] = part.name
        return [block | {"citations": {"enabled": True}} if part.cite else block]

    def _impossible(self, part: MediaPart, field: str, number: int, reason: str) -> list[Block]:
        return _words(self._encoding.stand_in(part, field, number, reason))


def _words(text: str) -> list[Block]:
    """A block of text; none for a blank one, which the protocol refuses."""
    return [{"type": "text", "text": text}] if text.strip() else []


def _image(part: ImagePart) -> Block:
    inline = image_base64(part)
    if inline is None:
        return {"type": "image", "source": {"type": "url", "url": part.url}}
    source = {"type": "base64", "media_type": inline[0], "data": inline[1]}
    return {"type": "image", "source": source}
