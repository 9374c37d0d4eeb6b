"""What an MCP server's results become: parts of a tool result."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from pydantic_core import to_json

from llmgine.providers.contracts import AudioPart, DocumentPart, ImagePart, MediaPart, TextPart


def as_parts(result: Any) -> tuple[TextPart | MediaPart, ...]:
    """A `CallToolResult`'s content in order; its structured value as JSON where there is no content."""
    parts = tuple(_part(item) for item in result.content)
    if not parts and result.structured_content is not None:
        return (TextPart(text=to_json(result.structured_content).decode()),)
    return parts or (TextPart(text=""),)


def as_text(result: Any) -> str:
    """The words of a result alone, as of one that tells of an error."""
    return "\n".join(part.text for part in as_parts(result) if isinstance(part, TextPart))


def _part(item: Any) -> TextPart | MediaPart:
    match item.type:
        case "text":
            return TextPart(text=item.text)
        case "image":
            return _media(item.data, item.mime_type, "image")
        case "audio":
            return _media(item.data, item.mime_type, "audio")
        case "resource":
            return _resource(item.resource)
        case "resource_link":
            told = [item.name, item.uri, item.description or ""]
            return TextPart(text=f"[resource: {' '.join(filter(None, told))}]")
        case other:
            return TextPart(text=f"[a {other} was left out: this version does not know it]")


def _resource(resource: Any) -> TextPart | MediaPart:
    text = getattr(resource, "text", None)
    if text is not None:
        return TextPart(text=text)
    return _media(resource.blob, resource.mime_type or "application/octet-stream", resource.uri)


def _media(encoded: str, media_type: str, what: str) -> TextPart | MediaPart:
    try:
        data = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return TextPart(text=f"[{what} was left out: it is no base64]")
    kind, _, _ = media_type.partition("/")
    if kind == "image":
        return ImagePart(data=data, media_type=media_type)
    if kind == "audio":
        return AudioPart(data=data, media_type=media_type)
    if media_type == "application/pdf":
        return DocumentPart(data=data, media_type=media_type)
    return TextPart(text=f"[{what}, {len(data)} bytes of {media_type}, was left out: models cannot read it]")
