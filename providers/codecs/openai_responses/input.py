"""Conversations as the input items of OpenAI's Responses protocol."""

from __future__ import annotations

import base64
from collections.abc import Container
from itertools import groupby
from typing import Any

from llmgine.providers.codecs.encoding import CallIds, Encoding, arguments_text, image_base64
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
    ToolResultPart,
)

Block = dict[str, Any]

_LONGEST_ID = 64
_CALL_FIELDS = ("id", "namespace", "caller", "async", "status")


def breakpoint_after(block: Block) -> Block:
    """The block, with the mark that what ends with it is worth keeping."""
    return block | {"prompt_cache_breakpoint": {"mode": "explicit"}}


class Input:
    """Builds the items of one request, message by message.

    What the provider's models made goes back as it came, ids and all. An id is left out where reasoning of
    its message is, because the protocol refuses one without the other. A message whose number is in `marked`
    ends with a cache breakpoint.
    """

    def __init__(self, encoding: Encoding, marked: Container[int] = ()) -> None:
        self._encoding = encoding
        self._marked = marked
        self._ids = CallIds(r".+", _LONGEST_ID)
        self._custom: set[str] = set()  # ids of calls whose results have a type of their own
        self._items: list[Block] = []
        self._reasoning: dict[int, str] = {}  # which items are reasoning, and of what part
        self._whole = True  # whether all reasoning of the message goes along

    def items(self) -> list[Block]:
        for number, message in enumerate(self._encoding.request.messages):
            field, marked = f"messages[{number}]", number in self._marked
            if message.role == "assistant":
                self._assistant(message, field)
                if marked:
                    self._encoding.dropped(
                        "cache.breakpoints", f"no breakpoint goes into {field}, the model's"
                    )
                continue
            self._end_turn()
            if message.role == "tool":
                self._results(message, field, number, marked=marked)
            else:
                self._said(message, field, number, marked=marked)
        self._end_turn()
        if not self._items:
            self._encoding.invalid("messages", "nothing of them can be sent; give it text")
        return self._items

    def _end_turn(self) -> None:
        """Takes reasoning off the end of the model's turn: the protocol wants what it led to after it."""
        while (last := len(self._items) - 1) in self._reasoning:
            self._items.pop()
            self._encoding.dropped(
                self._reasoning.pop(last), "reasoning without an answer after it is refused"
            )

    def _said(self, message: Message, field: str, number: int, *, marked: bool) -> None:
        """What the user or the system says."""
        texts = [part.text for part in message.parts if isinstance(part, TextPart)]
        if len(texts) == len(message.parts) < 2 and not (marked and texts):
            self._items.append({"role": message.role, "content": "".join(texts)})
            return
        blocks: list[Block] = []
        for position, part in enumerate(message.parts):
            blocks += self._content(part, f"{field}.parts[{position}]", number)
        if not blocks:
            self._encoding.invalid(field, "nothing of it can be sent; give it text")
        if marked:
            blocks[-1] = breakpoint_after(blocks[-1])
        self._items.append({"role": message.role, "content": blocks})

    def _content(self, part: AnyPart, field: str, number: int) -> list[Block]:
        """One part as content of a message or of a tool's result."""
        match part:
            case TextPart():
                return [_text(part.text)]
            case ImagePart():
                if self._encoding.target.profile.images:
                    return [{"type": "input_image", "detail": part.detail or "auto", "image_url": _url(part)}]
                return [_text(self._encoding.stand_in(part, field, number, "this model takes no images"))]
            case DocumentPart():
                return [self._document(part, field, number)]
            case AudioPart() if (part.transcript or "").strip():
                self._encoding.changed(field, "the sound cannot be sent; its transcript is")
                return [_text(part.transcript or "")]
            case AudioPart():
                reason = "the Responses protocol takes no sound"
                return [_text(self._encoding.stand_in(part, field, number, reason))]
            case OpaquePart():
                if self._encoding.is_native(part):
                    return [dict(part.data)]
                self._drop_opaque(part, field)
        return []

    def _document(self, part: DocumentPart, field: str, number: int) -> Block:
        if part.cite:
            self._encoding.dropped(f"{field}.cite", "the Responses protocol cites no documents of messages")
        inline = image_base64(part)
        if self._encoding.target.profile.documents:
            if inline is None:
                return {"type": "input_file", "file_url": part.url}
            name = part.name or f"document.{_suffix(part.media_type)}"
            return {"type": "input_file", "filename": name, "file_data": _url(part)}
        if inline is not None and inline[0].startswith("text/"):
            self._encoding.changed(field, "this model takes no documents, so that its text is sent")
            return _text(base64.b64decode(inline[1]).decode("utf-8", "replace"))
        return _text(self._encoding.stand_in(part, field, number, "this model takes no documents"))

    def _assistant(self, message: Message, field: str) -> None:
        self._whole = not any(self._lost(part) for part in message.parts if isinstance(part, ThinkingPart))
        parts: list[tuple[str, AnyPart]] = []
        for position, part in enumerate(message.parts):
            place = f"{field}.parts[{position}]"
            parts.append((place, self._spoken(part, place)))
        for message_of, run in groupby(parts, key=lambda one: self._message_of(one[1]) or one[0]):
            if not isinstance(message_of, str):
                self._message(list(run), *message_of)
                continue
            for place, part in run:
                self._item(part, place)

    def _item(self, part: AnyPart, field: str) -> None:
        """A part of the model's that is an item by itself."""
        match part:
            case ThinkingPart():
                if lost := self._lost(part):
                    self._encoding.dropped(field, lost)
                else:
                    self._reasoning[len(self._items)] = field
                    self._items.append(_reasoning(part))
            case ToolCallPart():
                self._items.append(self._call(part, field))
            case OpaquePart():
                if self._whole and self._encoding.is_native(part):
                    self._items.append(part.data)
                else:
                    self._drop_opaque(part, field)
            case _:
                self._encoding.dropped(field, "the Responses protocol takes back no media that a model made")

    def _spoken(self, part: AnyPart, field: str) -> AnyPart:
        if isinstance(part, AudioPart) and part.transcript:
            self._encoding.changed(field, "what the model said aloud is sent as its transcript")
            return TextPart(text=part.transcript, signature=part.signature)
        return part

    def _lost(self, part: ThinkingPart) -> str | None:
        """Why reasoning cannot go back, or None where it can."""
        if not self._encoding.is_native(part, same_model=True):
            return "reasoning goes only to the model that made it"
        if "id" not in part.provider_data:
            return "reasoning without an id is refused"
        stored = self._encoding.options.get("store") is True
        if not (stored or part.encrypted or part.provider_data.get("content")):
            return "the provider stores no reasoning, and this came without its encrypted content"
        return None

    def _message_of(self, part: AnyPart) -> tuple[str, str] | None:
        """The message that a part is a piece of: its id and phase, "" where it has none."""
        if not isinstance(part, TextPart | RefusalPart | OpaquePart):
            return None
        data = part.provider_data if self._encoding.is_native(part) else {}
        if isinstance(part, OpaquePart) and "id" not in data:
            return None
        return str(data.get("id") or ""), str(data.get("phase") or "")

    def _message(self, parts: list[tuple[str, AnyPart]], message_id: str, phase: str) -> None:
        last = {"phase": phase} if phase else {}
        if message_id and self._whole:
            status = parts[0][1].provider_data.get("status", "completed")
            item = {"type": "message", "id": message_id, "role": "assistant", "status": status}
            self._items.append({**item, "content": [_output(part) for _, part in parts], **last})
            return
        text = "".join(self._text(part, field) for field, part in parts)
        if text:
            self._items.append({"role": "assistant", "content": text, **last})

    def _text(self, part: AnyPart, field: str) -> str:
        """A piece of a message that goes back without its id, and so as plain text."""
        if isinstance(part, OpaquePart):
            self._drop_opaque(part, field)
            return ""
        assert isinstance(part, TextPart | RefusalPart)
        if isinstance(part, RefusalPart):
            return self._encoding.refusal(part, field)
        self._encoding.leave_seal(part, field)
        if part.citations:
            reason = "citations go only to the provider that made them, and with its ids"
            self._encoding.dropped(f"{field}.citations", reason)
        return part.text

    def _call(self, part: ToolCallPart, field: str) -> Block:
        own = self._encoding.is_native(part)
        self._encoding.leave_seal(part, field)
        call_id, name = self._ids.call(part.id), self._encoding.tool_name(part, field)
        if own and part.provider_data.get("type") == "custom_tool_call":
            self._custom.add(call_id)
            sent = {"type": "custom_tool_call", "call_id": call_id, "name": name, "input": part.raw_arguments}
        else:
            arguments = arguments_text(part)
            sent = {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}
        kept = [field for field in _CALL_FIELDS if field in part.provider_data] if own else []
        return sent | {field: part.provider_data[field] for field in kept if field != "id" or self._whole}

    def _results(self, message: Message, field: str, number: int, *, marked: bool) -> None:
        for position, part in enumerate(message.parts):
            assert isinstance(part, ToolResultPart)
            ends = marked and position == len(message.parts) - 1
            self._items.append(self._result(part, f"{field}.parts[{position}]", number, marked=ends))

    def _result(self, part: ToolResultPart, field: str, number: int, *, marked: bool) -> Block:
        words = self._encoding.failed(part, field)
        output: str | list[Block] = words + part.text
        if marked or any(not isinstance(item, TextPart) for item in part.content):
            blocks = [_text(words)] if words else []
            for position, item in enumerate(part.content):
                blocks += self._content(item, f"{field}.content[{position}]", number)
            if blocks and marked:
                blocks[-1] = breakpoint_after(blocks[-1])
            output = blocks or ""
        call_id = self._ids.result(part.call_id)
        kind = "custom_tool_call_output" if call_id in self._custom else "function_call_output"
        return {"type": kind, "call_id": call_id, "output": output}

    def _drop_opaque(self, part: OpaquePart, field: str) -> None:
        self._encoding.dropped(
            field, f"a {part.kind} block goes only to the provider that made it, with the reasoning before it"
        )


def _text(text: str) -> Block:
    return {"type": "input_text", "text": text}


def _output(part: AnyPart) -> Block:
    """A piece of a message as the model made it."""
    match part:
        case TextPart():
            annotations = [citation.raw for citation in part.citations]
            return {"type": "output_text", "text": part.text, "annotations": annotations}
        case RefusalPart():
            return {"type": "refusal", "refusal": part.text}
        case OpaquePart():
            return dict(part.data)
        case other:
            raise AssertionError(f"a message holds no {other.type}")


def _reasoning(part: ThinkingPart) -> Block:
    data = part.provider_data
    plain = [{"type": "summary_text", "text": part.text}] if part.text else []
    item: Block = {"type": "reasoning", "id": data["id"], "summary": data.get("summary", plain)}
    if content := data.get("content"):
        item["content"] = content
    if part.encrypted is not None:
        item["encrypted_content"] = part.encrypted
    return item


def _url(part: MediaPart) -> str:
    inline = image_base64(part)
    return part.url or "" if inline is None else f"data:{inline[0]};base64,{inline[1]}"


def _suffix(media_type: str) -> str:
    return {"text/plain": "txt", "text/markdown": "md"}.get(media_type, media_type.rpartition("/")[2])
