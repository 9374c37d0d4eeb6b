"""The input items of a Responses request as messages of parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from llmgine.actors.gateway.vendor.media import document_of, image_of
from llmgine.actors.gateway.vendor.reading import Fields
from llmgine.actors.gateway.vendor.seals import unsealed
from llmgine.providers.codecs.assembly import parse_arguments
from llmgine.providers.codecs.openai_responses.codec import OpenAIResponsesCodec
from llmgine.providers.contracts import (
    AnyPart,
    Message,
    OpaquePart,
    Origin,
    RefusalPart,
    Role,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)

_API: Final = OpenAIResponsesCodec.api
_ROLES: Final[dict[str, Role]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


def messages_of(fields: Fields, target: Origin | None) -> tuple[Message, ...]:
    """The messages of `input`: what the model made in a row is one, and so are results in a row."""
    given = fields.raw("input")
    if isinstance(given, str):
        return (Message.user(given),)
    if not isinstance(given, list) or not given:
        fields.refuse("input", "a string or a list of items was expected", "missing_required_parameter")
    reader = _Items(target)
    for at, item in enumerate(given):
        reader.read(Fields(item, f"input[{at}]"))
    return tuple(reader.messages)


class _Items:
    def __init__(self, target: Origin | None) -> None:
        self.messages: list[Message] = []
        self._target = target
        self._called: dict[str, str] = {}

    def read(self, item: Fields) -> None:
        kind = item.text("type") or "message"
        item.leave("status")
        match kind:
            case "message":
                self._message(item)
            case "reasoning":
                self._add("assistant", self._reasoning(item))
            case "function_call":
                self._add("assistant", self._call(item))
            case "function_call_output":
                self._add("tool", self._result(item))
            case "item_reference":
                item.refuse("type", "no items are kept here; give them whole", "unsupported_value")
            case _:
                self._add("assistant", self._opaque(kind, item))

    def _message(self, item: Fields) -> None:
        role = item.one_of("role", *_ROLES) or item.refuse("role", "it is missing")
        parts = content_of(item, "content")
        item.leave("id", "phase")
        item.done()
        if role == "assistant":
            for part in parts:
                self._add("assistant", part)
        else:
            self.messages.append(Message(role=_ROLES[role], parts=tuple(parts)))

    def _add(self, role: Role, part: AnyPart) -> None:
        """A part of what the model made, or of what came of its calls."""
        if self.messages and self.messages[-1].role == role:
            last = self.messages.pop()
            self.messages.append(last.model_copy(update={"parts": (*last.parts, part)}))
        else:
            self.messages.append(Message(role=role, parts=(part,)))

    def _reasoning(self, item: Fields) -> AnyPart:
        whole = dict(item.rest())
        texts = [*_texts(whole, "summary"), *_texts(whole, "content")]
        text, seal = "\n\n".join(texts), whole.get("encrypted_content")
        ours = unsealed(text, seal) if isinstance(seal, str) else None
        if ours is not None:
            return ours
        data = {name: whole[name] for name in ("id", "summary", "content") if whole.get(name)}
        encrypted = seal if isinstance(seal, str) else None
        origin = self._target if self._native else None
        return ThinkingPart(text=text, encrypted=encrypted, origin=origin, provider_data=data)

    def _call(self, item: Fields) -> AnyPart:
        raw = item.text("arguments") or ""
        call_id, name = item.needed("call_id"), item.needed("name")
        item.leave("id", "namespace", "caller")
        item.done()
        self._called[call_id] = name
        return ToolCallPart(id=call_id, name=name, arguments=parse_arguments(raw), raw_arguments=raw)

    def _result(self, item: Fields) -> AnyPart:
        call_id = item.needed("call_id")
        content: Any = tuple(content_of(item, "output"))
        if any(isinstance(part, RefusalPart) for part in content):
            item.refuse("output", "a result holds no refusal")
        item.leave("id", "name", "namespace", "caller")
        item.done()
        return ToolResultPart(call_id=call_id, name=self._called.get(call_id, ""), content=content)

    def _opaque(self, kind: str, item: Fields) -> AnyPart:
        if not self._native:
            item.refuse("type", f"only models behind {_API} take {kind!r} items", "unsupported_value")
        return OpaquePart(kind=kind, data={"type": kind, **item.rest()}, origin=self._target)

    @property
    def _native(self) -> bool:
        return self._target is not None and self._target.api == _API


def content_of(item: Fields, name: str) -> list[AnyPart]:
    """A text, or its blocks."""
    content = item.raw(name)
    if isinstance(content, str):
        return [TextPart(text=content)]
    if not isinstance(content, list):
        item.refuse(name, "a string or a list of parts was expected")
    return [_block(Fields(block, f"{item.at(name)}[{at}]")) for at, block in enumerate(content)]


def _block(block: Fields) -> AnyPart:
    part: AnyPart
    match block.one_of("type", "input_text", "output_text", "refusal", "input_image", "input_file"):
        case "input_text" | "output_text":
            part = TextPart(text=block.needed("text"))
            block.leave("annotations", "logprobs")
        case "refusal":
            part = RefusalPart(text=block.needed("refusal"))
        case "input_image":
            if block.has("file_id"):
                block.refuse("file_id", "no files are kept here; give `image_url`", "unsupported_parameter")
            part = image_of(block.needed("image_url"), block.refuse, "image_url", block.text("detail"))
        case "input_file":
            if block.has("file_id"):
                block.refuse("file_id", "no files are kept here; give `file_data`", "unsupported_parameter")
            part = document_of(
                block.refuse,
                "file_data",
                url=block.text("file_url"),
                data=block.text("file_data"),
                title=block.text("filename"),
            )
            block.leave("detail")
        case _:
            block.refuse("type", "it is missing", "missing_required_parameter")
    block.leave("prompt_cache_breakpoint")
    block.done()
    return part


def _texts(item: dict[str, Any], name: str) -> list[str]:
    found = item.get(name)
    blocks: Sequence[Any] = found if isinstance(found, list) else ()
    return [
        block["text"] for block in blocks if isinstance(block, dict) and isinstance(block.get("text"), str)
    ]
