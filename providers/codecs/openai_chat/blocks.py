"""Texts and media as the content blocks of Chat Completions messages."""

from __future__ import annotations

import base64
from typing import Any

from llmgine.providers.catalogue.quirks import Quirks
from llmgine.providers.codecs.encoding import Encoding, image_base64
from llmgine.providers.contracts import (
    AnyPart,
    AudioPart,
    DocumentPart,
    ImagePart,
    MediaPart,
    OpaquePart,
    TextPart,
)

Block = dict[str, Any]

SOUNDS = {
    "audio/wav": "wav",
    "audio/wave": "wav",
    "audio/x-wav": "wav",
    "audio/mp3": "mp3",
    "audio/mpeg": "mp3",
}


class ChatBlocks:
    """What one server takes as content; what it does not take is told."""

    def __init__(self, encoding: Encoding, quirks: Quirks) -> None:
        self._encoding = encoding
        self._quirks = quirks

    def of(self, part: AnyPart, field: str, number: int) -> list[Block]:
        """The blocks of a part of the message with this number."""
        match part:
            case TextPart():
                return [_text(part.text)]
            case ImagePart() | AudioPart() | DocumentPart():
                return [self.medium(part, field, number)]
            case OpaquePart():
                return self.opaque(part, field)
            case _:
                raise AssertionError(f"no message but the model's own holds a {part.type} part")

    def opaque(self, part: OpaquePart, field: str) -> list[Block]:
        if self._encoding.is_native(part):
            return [part.data]
        self._encoding.dropped(field, f"a {part.kind} block goes only to the provider that made it")
        return []

    def medium(self, part: MediaPart, field: str, number: int) -> Block:
        """The block of a medium, or of the words that stand in for it."""
        match part:
            case ImagePart():
                sent = self._image(part)
            case AudioPart():
                sent = self._sound(part, field)
            case DocumentPart():
                sent = self._document(part, field)
        return _text(self._encoding.stand_in(part, field, number, sent)) if isinstance(sent, str) else sent

    def joined(self, blocks: list[Block]) -> str | list[Block]:
        """Content as one text where it is that, or where the server takes no blocks of text."""
        texts = [block["text"] for block in blocks if block.get("type") == "text"]
        if len(texts) == len(blocks) and (len(texts) < 2 or not self._quirks.text_blocks):
            return "\n\n".join(texts)
        return blocks

    def _image(self, part: ImagePart) -> Block | str:
        """The block, or why there is none; so with the other media."""
        if not self._encoding.target.profile.images:
            return "this model sees no images"
        inline = image_base64(part)
        if inline is None and not self._quirks.image_urls:
            return "the server fetches no images; give its bytes"
        url: Block = {"url": part.url if inline is None else _data_url(inline)}
        if part.detail is not None:
            url["detail"] = part.detail
        return {"type": "image_url", "image_url": url}

    def _sound(self, part: AudioPart, field: str) -> Block | str:
        inline = image_base64(part)
        kind = None if inline is None else SOUNDS.get(inline[0].partition(";")[0])
        if self._quirks.audio and self._encoding.target.profile.audio and inline and kind:
            return {"type": "input_audio", "input_audio": {"data": inline[1], "format": kind}}
        if (part.transcript or "").strip():
            self._encoding.changed(field, "the sound cannot be sent; its transcript is")
            return _text(part.transcript or "")
        if not self._quirks.audio:
            return "the server takes no sound"
        if not self._encoding.target.profile.audio:
            return "this model hears no sound"
        return "sound is sent as wav or mp3 with its bytes"

    def _document(self, part: DocumentPart, field: str) -> Block | str:
        if part.cite:
            self._encoding.dropped(f"{field}.cite", "the protocol cites no documents of messages")
        inline = image_base64(part)
        if inline is not None and inline[0].startswith("text/"):
            self._encoding.changed(field, "the text of the document is sent as text")
            text = base64.b64decode(inline[1]).decode("utf-8", "replace")
            return _text(f"{part.name}:\n\n{text}" if part.name else text)
        if self._quirks.documents is None:
            return "the server takes no documents"
        if not self._encoding.target.profile.documents:
            return "this model reads no documents"
        if inline is None and not self._quirks.document_urls:
            return "the server fetches no documents; give its bytes"
        url = part.url if inline is None else _data_url(inline)
        name = part.name or f"document.{part.media_type.rpartition('/')[2]}"
        if self._quirks.documents == "document_url":
            return {"type": "document_url", "document_url": url, "document_name": name}
        return {"type": "file", "file": {"filename": name, "file_data": url}}


def _text(text: str) -> Block:
    return {"type": "text", "text": text}


def _data_url(inline: tuple[str, str]) -> str:
    return f"data:{inline[0]};base64,{inline[1]}"
