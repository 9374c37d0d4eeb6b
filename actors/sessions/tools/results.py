"""What a tool returned, as the content that a model is told: text, JSON, media; never more than a bound."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pydantic_core import PydanticSerializationError, to_json

from llmgine.actors.sessions.tools.failing import CallFailed, cut
from llmgine.providers.contracts import AudioPart, DocumentPart, ImagePart, MediaPart, TextPart

Content = tuple[TextPart | MediaPart, ...]

# How bytes that a model can see begin.
_SIGNATURES: tuple[tuple[bytes, type[ImagePart | AudioPart | DocumentPart], str], ...] = (
    (b"\x89PNG\r\n\x1a\n", ImagePart, "image/png"),
    (b"\xff\xd8\xff", ImagePart, "image/jpeg"),
    (b"GIF87a", ImagePart, "image/gif"),
    (b"GIF89a", ImagePart, "image/gif"),
    (b"%PDF-", DocumentPart, "application/pdf"),
)
_RIFF: dict[bytes, tuple[type[ImagePart | AudioPart], str]] = {
    b"WEBP": (ImagePart, "image/webp"),
    b"WAVE": (AudioPart, "audio/wav"),
}


def as_content(name: str, value: object, limit: int) -> Content:
    """A tool's value for the model: text and media as they are, the rest as JSON; at most `limit` bytes."""
    if isinstance(value, bytes | bytearray):
        value = _media(bytes(value)) or value
    if isinstance(value, TextPart | MediaPart):
        value = (value,)
    if (
        isinstance(value, list | tuple)
        and value
        and all(isinstance(item, TextPart | MediaPart) for item in value)
    ):
        return _bounded_parts(value, limit)
    if isinstance(value, str):
        return (TextPart(text=bounded_text(value, limit)),)
    try:
        text = to_json(value).decode()
    except (PydanticSerializationError, ValueError) as error:
        raise CallFailed(
            f"{name} returned a {type(value).__name__} that is no JSON: {cut(str(error))}"
        ) from None
    return (TextPart(text=bounded_text(text, limit)),)


def _media(data: bytes) -> MediaPart | None:
    """Bytes that tell by their beginning what they are."""
    for begin, kind, media_type in _SIGNATURES:
        if data.startswith(begin):
            return kind(data=data, media_type=media_type)
    found = _RIFF.get(data[8:12]) if data.startswith(b"RIFF") else None
    return None if found is None else found[0](data=data, media_type=found[1])


def _bounded_parts(parts: Iterable[TextPart | MediaPart], limit: int) -> Content:
    kept: list[TextPart | MediaPart] = []
    for part in parts:
        held = part.text.encode(errors="replace") if isinstance(part, TextPart) else part.data or b""
        size = len(held)
        if isinstance(part, TextPart):
            kept.append(part.model_copy(update={"text": bounded_text(part.text, limit)}))
        elif size <= limit:
            kept.append(part)
        else:
            said = f"[{part.type} of {size} bytes was left out: results may have {limit}]"
            kept.append(TextPart(text=said))
        limit = max(0, limit - size)
    return tuple(kept)


def masked(content: Content, mask: Callable[[str], str]) -> Content:
    """The content with every text as `mask` gives it back."""
    return tuple(
        part.model_copy(update={"text": mask(part.text)}) if isinstance(part, TextPart) else part
        for part in content
    )


def bounded_text(text: str, limit: int) -> str:
    """The text, or as much of it as fits into `limit` bytes and a note of what is missing."""
    data = text.encode(errors="replace")
    if len(data) <= limit:
        return data.decode()
    kept = data[:limit].decode(errors="ignore")
    return f"{kept}\n[cut: {len(data) - limit} of {len(data)} bytes left out]"
