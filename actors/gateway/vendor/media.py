"""Images, sounds and documents of a request."""

from __future__ import annotations

import base64
import mimetypes
from typing import Any, Final, NoReturn, Protocol

from llmgine.actors.gateway.vendor.words import turned
from llmgine.providers.codecs.openai_chat.blocks import SOUNDS
from llmgine.providers.contracts import AudioPart, DocumentPart, ImagePart

_FORMATS: Final = turned(SOUNDS)


class Refuses(Protocol):
    """Says where in the request something is wrong."""

    def __call__(self, name: str, reason: str) -> NoReturn: ...


def image_of(url: str, refuse: Refuses, name: str, detail: Any = None) -> ImagePart:
    """The image behind a URL, which may hold its bytes."""
    if detail not in (None, "auto", "low", "high"):
        refuse("detail", f"it is auto, low or high, not {str(detail)[:50]!r}")
    if url.startswith("data:"):
        media_type, data = _inline(url, refuse, name)
        return ImagePart(data=data, media_type=media_type, detail=detail)
    return ImagePart(url=url, media_type=_guessed(url, "image/png"), detail=detail)


def document_of(
    refuse: Refuses, name: str, *, url: str | None = None, data: str | None = None, title: str | None = None
) -> DocumentPart:
    """The document behind a URL, or in base64 text or a data URL."""
    if data is not None and data.startswith("data:"):
        media_type, content = _inline(data, refuse, name)
        return DocumentPart(data=content, media_type=media_type, name=title)
    if data is not None:
        media_type = _guessed(title or "", "application/pdf")
        return DocumentPart(data=decoded(data, refuse, name), media_type=media_type, name=title)
    if url is None:
        refuse(name, "it is missing")
    return DocumentPart(url=url, media_type=_guessed(url, "application/pdf"), name=title)


def sound_of(data: str, kind: str, refuse: Refuses) -> AudioPart:
    """Sound as Chat Completions has it."""
    if kind not in _FORMATS:
        refuse("format", f"it is one of {', '.join(sorted(_FORMATS))}, not {kind[:50]!r}")
    return AudioPart(data=decoded(data, refuse, "data"), media_type=_FORMATS[kind])


def decoded(text: str, refuse: Refuses, name: str) -> bytes:
    """The bytes of base64 text."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        refuse(name, "it is no base64")


def _inline(url: str, refuse: Refuses, name: str) -> tuple[str, bytes]:
    head, comma, text = url.partition(";base64,")
    if not comma:
        refuse(name, "a data URL holds its media type and base64, as data:image/png;base64,…")
    return head.removeprefix("data:"), decoded(text, refuse, name)


def _guessed(name: str, otherwise: str) -> str:
    return mimetypes.guess_type(name.partition("?")[0])[0] or otherwise
