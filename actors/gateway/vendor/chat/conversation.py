"""The messages of a Chat Completions request as parts."""

from __future__ import annotations

from typing import Any, Final

from llmgine.actors.gateway.vendor.media import document_of, image_of, sound_of
from llmgine.actors.gateway.vendor.reading import Fields
from llmgine.providers.codecs.assembly import parse_arguments
from llmgine.providers.contracts import (
    AnyPart,
    Message,
    Origin,
    RefusalPart,
    Role,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)

_ROLES: Final[dict[str, Role]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}


def messages_of(fields: Fields, target: Origin | None) -> tuple[Message, ...]:
    """The request's messages; results of tools that follow each other are one."""
    messages: list[Message] = []
    called: dict[str, str] = {}
    for one in fields.each("messages"):
        role = one.one_of("role", *_ROLES) or one.refuse(
            "role", "it is missing", "missing_required_parameter"
        )
        if role == "assistant":
            parts: tuple[AnyPart, ...] = tuple(_assistant(one, called))
        elif role == "tool":
            parts = (_result(one, called),)
        else:
            parts = tuple(_content(one))
        one.done()
        if role == "tool" and messages and messages[-1].role == "tool":
            parts = (*messages.pop().parts, *parts)
        messages.append(Message(role=_ROLES[role], parts=parts))
    if not messages:
        fields.refuse("messages", "there is none", "missing_required_parameter")
    return tuple(messages)


def _content(message: Fields) -> list[AnyPart]:
    content = message.raw("content")
    if isinstance(content, str):
        return [TextPart(text=content)]
    if not isinstance(content, list):
        message.refuse("content", "a string or a list of parts was expected")
    place = message.at("content")
    return [_block(Fields(block, f"{place}[{at}]")) for at, block in enumerate(content)]


def _block(block: Fields) -> AnyPart:
    part: AnyPart
    match block.one_of("type", "text", "image_url", "input_audio", "file", "refusal"):
        case "text":
            part = TextPart(text=block.needed("text"))
        case "refusal":
            part = RefusalPart(text=block.needed("refusal"))
        case "image_url":
            image = _within(block, "image_url")
            part = image_of(image.needed("url"), image.refuse, "url", image.text("detail"))
            image.done()
        case "input_audio":
            sound = _within(block, "input_audio")
            part = sound_of(sound.needed("data"), sound.needed("format"), sound.refuse)
            sound.done()
        case "file":
            part = _file(_within(block, "file"))
        case _:
            block.refuse("type", "it is missing", "missing_required_parameter")
    block.leave("prompt_cache_breakpoint")
    block.done()
    return part


def _file(file: Fields) -> AnyPart:
    if file.has("file_id"):
        file.refuse("file_id", "no files are kept here; give `file_data`", "unsupported_parameter")
    part = document_of(file.refuse, "file_data", data=file.needed("file_data"), title=file.text("filename"))
    file.done()
    return part


def _within(block: Fields, name: str) -> Fields:
    return block.within(name) or block.refuse(name, "it is missing", "missing_required_parameter")


def _assistant(message: Fields, called: dict[str, str]) -> list[AnyPart]:
    """Reasoning, then what is said, then the calls, whose names go into `called`."""
    parts: list[AnyPart] = []
    # No field of OpenAI's own: answers of ours have it, and many clients send it back.
    if thought := message.text("reasoning_content"):
        parts.append(ThinkingPart(text=thought))
    if message.has("content"):
        parts += [part for part in _content(message) if not isinstance(part, TextPart) or part.text]
    if refusal := message.text("refusal"):
        parts.append(RefusalPart(text=refusal))
    for call in message.each("tool_calls"):
        if (kind := call.text("type") or "function") != "function":
            call.refuse("type", f"a {kind!r} call cannot be taken back here", "unsupported_value")
        function = _within(call, "function")
        raw = function.text("arguments") or ""
        part = ToolCallPart(
            id=call.needed("id"),
            name=function.needed("name"),
            arguments=parse_arguments(raw),
            raw_arguments=raw,
        )
        called[part.id] = part.name
        parts.append(part)
    message.leave("annotations", "index", "name")
    if message.has("audio"):
        message.refuse("audio", "no sound is kept here; give its words as content", "unsupported_parameter")
    if message.has("function_call"):
        message.refuse("function_call", "it is out of use; give `tool_calls`", "unsupported_parameter")
    return parts


def _result(message: Fields, called: dict[str, str]) -> ToolResultPart:
    call_id = message.needed("tool_call_id")
    name = message.text("name") or called.get(call_id, "")
    content: Any = tuple(_content(message))
    if any(isinstance(part, RefusalPart) for part in content):
        message.refuse("content", "a result holds no refusal")
    return ToolResultPart(call_id=call_id, name=name, content=content)
