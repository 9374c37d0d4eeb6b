"""The content blocks of a Messages request as messages of parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from llmgine.actors.gateway.vendor.media import decoded, document_of, image_of
from llmgine.actors.gateway.vendor.reading import Fields
from llmgine.actors.gateway.vendor.seals import unsealed
from llmgine.providers.codecs.anthropic_messages.codec import AnthropicMessagesCodec
from llmgine.providers.codecs.assembly import compact
from llmgine.providers.contracts import (
    AnyPart,
    DocumentPart,
    ImagePart,
    Message,
    OpaquePart,
    Origin,
    Role,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)

_API: Final = AnthropicMessagesCodec.api
_ROLES: Final[dict[str, Role]] = {"user": "user", "assistant": "assistant", "system": "system"}


class Conversation:
    """Reads the messages of one request; `mark` hears of each block, and of the message that it comes to."""

    def __init__(self, target: Origin | None, mark: Callable[[int, Fields], None]) -> None:
        self._target = target
        self._mark = mark
        self._messages: list[Message] = []
        self._called: dict[str, str] = {}

    def read(self, fields: Fields) -> tuple[Message, ...]:
        for one in fields.each("messages"):
            role = one.one_of("role", *_ROLES) or one.refuse("role", "it is missing")
            content = one.raw("content")
            one.done()
            if isinstance(content, str):
                self._add(_ROLES[role], [TextPart(text=content)])
            elif isinstance(content, list):
                blocks = [Fields(each, f"{one.at('content')}[{at}]") for at, each in enumerate(content)]
                self._turn(_ROLES[role], blocks)
            else:
                one.refuse("content", "a string or a list of blocks was expected")
        if not self._messages:
            fields.refuse("messages", "there is none")
        return tuple(self._messages)

    def _turn(self, role: Role, blocks: list[Fields]) -> None:
        """A turn as messages: results of tools are one of their own, which comes first."""
        results: list[AnyPart] = []
        others: list[AnyPart] = []
        marked: list[tuple[bool, Fields]] = []
        for block in blocks:
            kind = block.needed("type")
            is_result = kind == "tool_result" and role == "user"
            (results if is_result else others).append(self._part(kind, block, role))
            marked.append((is_result, block))
        after = len(self._messages) + bool(results)
        for is_result, block in marked:
            self._mark(len(self._messages) if is_result else after, block)
            block.done()
        if results:
            self._add("tool", results)
        if others or not results:
            self._add(role, others)

    def _add(self, role: Role, parts: list[AnyPart]) -> None:
        self._messages.append(Message(role=role, parts=tuple(parts)))

    def _part(self, kind: str, block: Fields, role: Role) -> AnyPart:
        match kind:
            case "text":
                block.leave("citations")
                return TextPart(text=block.needed("text"))
            case "image" if role == "user":
                return image(block)
            case "document" if role == "user":
                return document(block)
            case "tool_use" if role == "assistant":
                return self._call(block)
            case "tool_result" if role == "user":
                return self._result(block)
            case "thinking" if role == "assistant":
                return self._thinking(block)
            case "redacted_thinking" if role == "assistant":
                data = block.needed("data")
                return unsealed("", data) or ThinkingPart(redacted=data, origin=self._own)
        if self._own is None:
            block.refuse("type", f"only models behind {_API} take {kind!r} blocks of the {role}")
        return OpaquePart(kind=kind, data={"type": kind, **block.rest()}, origin=self._own)

    @property
    def _own(self) -> Origin | None:
        """The model that is asked, where it speaks this protocol: what it made it can take back."""
        return self._target if self._target is not None and self._target.api == _API else None

    def _thinking(self, block: Fields) -> AnyPart:
        text, seal = block.needed("thinking"), block.text("signature") or ""
        return unsealed(text, seal) or ThinkingPart(text=text, signature=seal or None, origin=self._own)

    def _call(self, block: Fields) -> AnyPart:
        arguments = block.table("input") or {}
        part = ToolCallPart(
            id=block.needed("id"),
            name=block.needed("name"),
            arguments=arguments,
            raw_arguments=compact(arguments),
        )
        block.leave("caller")
        self._called[part.id] = part.name
        return part

    def _result(self, block: Fields) -> AnyPart:
        call_id = block.needed("tool_use_id")
        return ToolResultPart(
            call_id=call_id,
            name=self._called.get(call_id, ""),
            content=tuple(_result_content(block)),
            is_error=block.flag("is_error") or False,
        )


def _result_content(block: Fields) -> list[TextPart | ImagePart | DocumentPart]:
    content = block.raw("content")
    if content is None:
        return []
    if isinstance(content, str):
        return [TextPart(text=content)]
    if not isinstance(content, list):
        block.refuse("content", "a string or a list of blocks was expected")
    parts: list[TextPart | ImagePart | DocumentPart] = []
    for at, one in enumerate(content):
        inner = Fields(one, f"{block.at('content')}[{at}]")
        match inner.one_of("type", "text", "image", "document"):
            case "image":
                parts.append(image(inner))
            case "document":
                parts.append(document(inner))
            case _:
                parts.append(TextPart(text=inner.needed("text")))
        inner.leave("cache_control", "citations")
        inner.done()
    return parts


def image(block: Fields) -> ImagePart:
    source = block.within("source") or block.refuse("source", "it is missing")
    kind = source.one_of("type", "base64", "url")
    if kind == "url":
        part = image_of(source.needed("url"), source.refuse, "url")
    else:
        data = decoded(source.needed("data"), source.refuse, "data")
        part = ImagePart(data=data, media_type=source.needed("media_type"))
    source.done()
    return part


def document(block: Fields) -> DocumentPart:
    source = block.within("source") or block.refuse("source", "it is missing")
    kind = source.one_of("type", "base64", "text", "url")
    title = block.text("title")
    if kind == "url":
        part = document_of(source.refuse, "url", url=source.needed("url"), title=title)
    else:
        text = source.needed("data")
        data = text.encode() if kind == "text" else decoded(text, source.refuse, "data")
        part = DocumentPart(data=data, media_type=source.needed("media_type"), name=title)
    source.done()
    if block.has("context"):
        block.refuse("context", "it has no place here; say it in a text block")
    citations: Any = block.within("citations")
    if citations is not None:
        part = part.model_copy(update={"cite": citations.flag("enabled") or False})
    return part
