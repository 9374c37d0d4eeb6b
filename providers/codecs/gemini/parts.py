"""Parts of a conversation as those of Gemini's generateContent protocol."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

from llmgine.providers.codecs.encoding import CallIds, Encoding, image_base64
from llmgine.providers.codecs.gemini.limits import has_block
from llmgine.providers.contracts import (
    AnyPart,
    AudioPart,
    DocumentPart,
    ImagePart,
    MediaPart,
    Message,
    OpaquePart,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)

Block = dict[str, Any]

# What Gemini accepts for the signature of a call that another model made: the base64 form of a fixed text.
STAND_IN = base64.b64encode(b"context_engineering_is_the_way_to_go").decode()


@dataclass(frozen=True, slots=True)
class Called:
    """A call as it was sent: how many came before, its name, and its id if it went along."""

    place: int
    name: str
    id: str | None


class Parts:
    """The blocks of one request's messages, in order; what differs is recorded."""

    def __init__(self, encoding: Encoding, *, legacy: bool) -> None:
        self._encoding = encoding
        self._messages = encoding.request.messages
        self._profile = encoding.target.profile
        self._legacy = legacy
        # Models that take levels of thinking, the third generation on, want signatures and take media in
        # results; of an unknown model that is the likelier.
        self.third = self._profile.reasoning in ("effort", None) and not legacy
        self.calls: dict[str, Called] = {}  # the last one of each id
        self._signs = False  # the next call is the first of its turn: of parallel ones only that is signed
        self._ids = CallIds(r".+", 256)

    def of(self, message: Message, number: int) -> list[Block]:
        """What the message with this number is sent as."""
        blocks: list[Block] = []
        self._signs = self.third
        for position, part in enumerate(message.parts):
            blocks += self._part(part, f"messages[{number}].parts[{position}]", number)
        if message.role == "system":
            self._as_user(blocks, number)
        return blocks

    def _part(self, part: AnyPart, field: str, number: int) -> list[Block]:
        match part:
            case TextPart():
                return self._text(part, field)
            case RefusalPart():
                text = self._encoding.refusal(part, field)
                return [{"text": text}] if text else []
            case ThinkingPart():
                return self._thinking(part, field)
            case ToolCallPart():
                return [self._call(part, field)]
            case ImagePart() | AudioPart() | DocumentPart():
                if self._messages[number].role == "assistant":
                    return self._from_the_model(part, field)
                return self.medium(part, field, number)
            case OpaquePart():
                return self._opaque(part, field)
        raise AssertionError(f"a {part.type} part in a {self._messages[number].role} message")

    def _text(self, part: TextPart, field: str) -> list[Block]:
        if part.citations and not self._encoding.is_native(part):
            self._encoding.dropped(f"{field}.citations", "citations go only to the provider that made them")
        block = self._sealed({"text": part.text}, part, field)
        return [block] if part.text or len(block) > 1 else []

    def _thinking(self, part: ThinkingPart, field: str) -> list[Block]:
        if self._legacy or not self._encoding.is_native(part, same_model=True):
            self._encoding.dropped(field, "reasoning goes only to the model that made it")
            return []
        return [self._sealed({"text": part.text, "thought": True}, part, field)]

    def _opaque(self, part: OpaquePart, field: str) -> list[Block]:
        if not self._encoding.is_native(part) or not isinstance(part.data, dict):
            self._encoding.dropped(field, f"a {part.kind} block goes only to the provider that made it")
            return []
        if self._legacy and not has_block(part.kind, part.data):
            self._encoding.dropped(field, f"google-generativeai cannot send this {part.kind} block")
            return []
        return [self._sealed(dict(part.data), part, field)]

    def _call(self, part: ToolCallPart, field: str) -> Block:
        arguments = part.arguments
        if arguments is None:
            arguments = {"raw_arguments": part.raw_arguments}
            self._encoding.changed(field, "arguments that are no JSON object are sent as a string in one")
        call: Block = {"id": self._ids.call(part.id)} if part.id_source == "provider" else {}
        call |= {"name": self._encoding.tool_name(part, field), "args": arguments}
        self.calls[part.id] = Called(len(self.calls), call["name"], call.get("id"))
        signs, self._signs = self._signs, False
        if not (signs and self._needs_stand_in(part)):
            return self._sealed({"functionCall": call}, part, field)
        reason = "a call without a signature of this model is sent with Gemini's stand-in for one"
        self._encoding.changed(f"{field}.signature", reason)
        unsigned = part.model_copy(update={"signature": None})
        return self._sealed({"functionCall": call, "thoughtSignature": STAND_IN}, unsigned, field)

    def _needs_stand_in(self, part: ToolCallPart) -> bool:
        """Whether a turn's first call is refused as it is; an unknown model's own one may be right."""
        if self._encoding.is_native(part, same_model=True):
            return part.signature is None and self._profile.reasoning is not None
        return True

    def _sealed(self, block: Block, part: AnyPart, field: str) -> Block:
        """A block with what its maker put beside it; the signature goes to the very model."""
        if self._encoding.is_native(part) and not self._legacy:
            block |= part.provider_data
            if part.signature is not None and self._encoding.is_native(part, same_model=True):
                return block | {"thoughtSignature": part.signature}
        self._encoding.leave_seal(part, field)
        return block

    def _from_the_model(self, part: MediaPart, field: str) -> list[Block]:
        if isinstance(part, ImagePart) and self._profile.images:
            return [self._sealed(_sent(part), part, field)]
        if isinstance(part, AudioPart) and (part.transcript or "").strip():
            self._encoding.leave_seal(part, field)
            self._encoding.changed(field, "what a model spoke is sent as text")
            return [{"text": part.transcript}]
        self._encoding.dropped(field, f"a model cannot be shown this {part.type} as its own here")
        return []

    def medium(self, part: MediaPart, field: str, number: int) -> list[Block]:
        """What a medium is sent as that the user shows, in the message with this number."""
        inline = image_base64(part)
        match part:
            case ImagePart():
                if part.detail not in (None, "auto"):
                    self._encoding.dropped(f"{field}.detail", "Gemini is told it for all images at once")
                able = self._profile.images
            case AudioPart():
                able = self._profile.audio
            case DocumentPart():
                if part.cite:
                    self._encoding.dropped(f"{field}.cite", "Gemini cites no documents of messages")
                able = self._profile.documents
        if able:
            return [_sent(part)]
        if isinstance(part, AudioPart) and (part.transcript or "").strip():
            self._encoding.changed(field, "this model hears no sound; its transcript is sent")
            return [{"text": part.transcript}]
        if isinstance(part, DocumentPart) and inline is not None and inline[0].startswith("text/"):
            self._encoding.changed(field, "this model reads no documents; its text is sent")
            return [{"text": self._encoding.plain(inline[1], field)}]
        reason = f"this model takes no {part.type}"
        return [{"text": self._encoding.stand_in(part, field, number, reason)}]

    def _as_user(self, blocks: list[Block], number: int) -> None:
        for block in blocks:
            block["text"] = f"<system>\n{block['text']}\n</system>"
        if blocks:
            reason = "Gemini takes a system message only at the start; it is sent in the user's turn"
            self._encoding.changed(f"messages[{number}]", reason)


def _sent(part: MediaPart) -> Block:
    inline = image_base64(part)
    if inline is None:
        return {"fileData": {"mimeType": part.media_type, "fileUri": part.url}}
    return {"inlineData": {"mimeType": inline[0], "data": inline[1]}}
