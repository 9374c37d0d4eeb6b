"""The model's own messages, as a Chat Completions server takes them back."""

from __future__ import annotations

from typing import Any

from llmgine.providers.catalogue.quirks import Quirks
from llmgine.providers.codecs.assembly import compact
from llmgine.providers.codecs.encoding import CallIds, Encoding, arguments_text
from llmgine.providers.codecs.openai_chat.blocks import ChatBlocks
from llmgine.providers.codecs.openai_chat.think_tags import CLOSING, OPENING
from llmgine.providers.contracts import (
    AudioPart,
    Message,
    OpaquePart,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
)

Sent = dict[str, Any]


class ChatTurns:
    """One message of the protocol for each of the model's: its texts in order, then its calls."""

    def __init__(self, encoding: Encoding, quirks: Quirks, ids: CallIds, blocks: ChatBlocks) -> None:
        self._encoding = encoding
        self._quirks = quirks
        self._ids = ids
        self._blocks = blocks

    def of(self, message: Message, field: str) -> list[Sent]:
        turn = _Turn()
        calls = any(isinstance(part, ToolCallPart) for part in message.parts)
        for position, part in enumerate(message.parts):
            place = f"{field}.parts[{position}]"
            match part:
                case TextPart():
                    self._text(part, place, turn)
                case RefusalPart():
                    self._refusal(part, place, turn)
                case ToolCallPart():
                    turn.calls.append(self._call(part, place))
                case ThinkingPart():
                    self._thinking(part, place, turn, calls=calls)
                case OpaquePart():
                    turn.blocks += self._blocks.opaque(part, place)
                case AudioPart() if part.transcript:
                    # The sound has an id, but that is good for an hour only.
                    self._encoding.changed(place, "what the model spoke is sent as its transcript")
                    turn.say(part.transcript)
                    self._encoding.leave_seal(part, place)
                case _:
                    self._encoding.dropped(place, f"no {part.type} of the model's goes back here")
        if turn.calls and self._quirks.needs_thinking:
            turn.fields.setdefault(self._quirks.thinking_field or "reasoning_content", "")
        return turn.sent()

    def _text(self, part: TextPart, field: str, turn: _Turn) -> None:
        turn.say(part.text)
        self._encoding.leave_seal(part, field)
        if not part.citations:
            return
        if not self._quirks.citations:
            self._encoding.dropped(f"{field}.citations", "the server takes none back")
        elif self._encoding.is_native(part):
            turn.annotations += [citation.raw for citation in part.citations]
        else:
            self._encoding.dropped(f"{field}.citations", "citations go only to the provider that made them")

    def _refusal(self, part: RefusalPart, field: str, turn: _Turn) -> None:
        if self._quirks.refusals:
            turn.refusals.append(part.text)
            self._encoding.leave_seal(part, field)
        else:
            turn.say(self._encoding.refusal(part, field))

    def _call(self, part: ToolCallPart, field: str) -> Sent:
        own = self._encoding.is_native(part, same_model=True)
        call_id, name = self._ids.call(part.id), self._encoding.tool_name(part, field)
        self._encoding.leave_seal(part, field)
        if own and part.provider_data.get("type") == "custom":
            custom = {"name": name, "input": part.raw_arguments}
            return {"id": call_id, "type": "custom", "custom": custom} | part.provider_data
        arguments = arguments_text(part)
        if part.arguments is None and not self._quirks.raw_arguments:
            # Many servers parse what they get, and refuse the whole conversation where they cannot.
            arguments = compact({"raw_arguments": part.raw_arguments})
            self._encoding.changed(field, "arguments that are no JSON object are sent as a string in one")
        sent: Sent = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        return sent | part.provider_data if own else sent

    def _thinking(self, part: ThinkingPart, field: str, turn: _Turn, *, calls: bool) -> None:
        """Reasoning goes back in the form in which it came, unless the server wants another or none."""
        details = part.provider_data.get("reasoning_details")
        replay = self._quirks.replay_thinking
        sealed = bool(details or part.signature or part.redacted or part.encrypted)
        if not self._encoding.is_native(part, same_model=sealed or replay == "same_model"):
            self._encoding.dropped(field, "reasoning goes only to the model that made it")
            return
        if replay == "never" or (replay == "with_calls" and not calls):
            self._encoding.dropped(field, "the server wants no reasoning back that led to no tool call")
            return
        if details:
            turn.fields["reasoning_details"] = [*turn.fields.get("reasoning_details", ()), *details]
        if not part.text:
            return
        name = part.provider_data.get("field", "reasoning_content")
        if name == "content":
            turn.blocks.append({"type": "thinking", "thinking": [{"type": "text", "text": part.text}]})
        elif name == "tags":
            data = part.provider_data
            turn.say(f"{data.get('opening', OPENING)}{part.text}{data.get('closing', CLOSING)}")
        else:
            name = self._quirks.thinking_field or name
            turn.fields[name] = turn.fields.get(name, "") + part.text


class _Turn:
    """A message as it grows."""

    def __init__(self) -> None:
        self.blocks: list[Sent] = []
        self.calls: list[Sent] = []
        self.refusals: list[str] = []
        self.annotations: list[Sent] = []
        self.fields: Sent = {}

    def say(self, text: str) -> None:
        """More text; texts that follow each other are one."""
        if not text:
            return
        if self.blocks and self.blocks[-1].get("type") == "text":
            self.blocks[-1] = {"type": "text", "text": self.blocks[-1]["text"] + text}
        else:
            self.blocks.append({"type": "text", "text": text})

    def sent(self) -> list[Sent]:
        """The message; none where nothing is left of it."""
        if not (self.blocks or self.calls or self.refusals or self.annotations or self.fields):
            return []
        content: str | list[Sent] | None = self.blocks
        if len(self.blocks) == 1 and self.blocks[0].get("type") == "text":
            content = self.blocks[0]["text"]
        elif not self.blocks:
            content = None if self.calls or self.refusals else ""
        sent: Sent = {"role": "assistant", "content": content}
        if self.refusals:
            sent["refusal"] = "".join(self.refusals)
        if self.annotations:
            sent["annotations"] = self.annotations
        if self.calls:
            sent["tool_calls"] = self.calls
        return [sent | self.fields]
