"""What results of MCP servers become."""

from __future__ import annotations

import base64
from typing import Any

from mcp.types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)

from llmgine.actors.sessions.tools.mcp.content import as_parts, as_text
from llmgine.providers.contracts import AudioPart, DocumentPart, ImagePart, TextPart

DATA = base64.b64encode(b"data").decode()


def result(*content: Any, **fields: Any) -> CallToolResult:
    return CallToolResult(content=list(content), **fields)


def blob(media_type: str) -> EmbeddedResource:
    held = BlobResourceContents(uri="file:///a", mime_type=media_type, blob=DATA)
    return EmbeddedResource(resource=held)


def test_each_kind_of_content_has_its_part() -> None:
    """Texts, media, embedded resources and links keep their order and their kind."""
    parts = as_parts(
        result(
            TextContent(text="hello"),
            ImageContent(data=DATA, mime_type="image/jpeg"),
            AudioContent(data=DATA, mime_type="audio/mpeg"),
            EmbeddedResource(resource=TextResourceContents(uri="file:///b", text="inside")),
            blob("application/pdf"),
            blob("image/png"),
            ResourceLink(name="log", uri="file:///c", description="of today"),
        )
    )
    assert parts == (
        TextPart(text="hello"),
        ImagePart(data=b"data", media_type="image/jpeg"),
        AudioPart(data=b"data", media_type="audio/mpeg"),
        TextPart(text="inside"),
        DocumentPart(data=b"data", media_type="application/pdf"),
        ImagePart(data=b"data", media_type="image/png"),
        TextPart(text="[resource: log file:///c of today]"),
    )


def test_what_no_model_reads_is_told() -> None:
    """Bytes of another kind, and such as are no base64, become a note."""
    zipped, broken = as_parts(
        result(blob("application/zip"), ImageContent(data="no base64!", mime_type="image/png"))
    )
    assert isinstance(zipped, TextPart)
    assert isinstance(broken, TextPart)
    assert "4 bytes of application/zip" in zipped.text
    assert "image was left out" in broken.text


def test_a_structured_value_stands_where_there_is_no_content() -> None:
    """A result without content is its structured value as JSON; with nothing at all it is empty text."""
    assert as_parts(result(structured_content={"a": 1})) == (TextPart(text='{"a":1}'),)
    assert as_parts(result(TextContent(text="one"), structured_content={"a": 1})) == (TextPart(text="one"),)
    assert as_parts(result()) == (TextPart(text=""),)


def test_an_error_is_its_words() -> None:
    """Of a result that tells of an error, the texts alone are told."""
    told = result(
        TextContent(text="one"), ImageContent(data=DATA, mime_type="image/png"), TextContent(text="two")
    )
    assert as_text(told) == "one\ntwo"
