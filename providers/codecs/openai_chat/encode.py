"""Requests of the Chat Completions protocol."""

from __future__ import annotations

from typing import Any

from llmgine.providers.catalogue.quirks import Quirks
from llmgine.providers.codecs.encoding import CallIds, Encoding
from llmgine.providers.codecs.openai_chat.blocks import ChatBlocks
from llmgine.providers.codecs.openai_chat.cache import cache_fields
from llmgine.providers.codecs.openai_chat.fields import ChatFields
from llmgine.providers.codecs.openai_chat.turns import ChatTurns
from llmgine.providers.contracts import Message, TextPart, ToolResultPart

Sent = dict[str, Any]


class ChatEncoding:
    """Builds one body; the order of its fields never varies."""

    def __init__(self, encoding: Encoding, quirks: Quirks) -> None:
        self._encoding = encoding
        self._quirks = quirks
        self._ids = _call_ids(quirks)
        self._blocks = ChatBlocks(encoding, quirks)
        self._turns = ChatTurns(encoding, quirks, self._ids, self._blocks)
        self._by_number: dict[int, Sent] = {}

    def body(self) -> Sent:
        self._encoding.check()
        if self._encoding.options.get("n", 1) != 1:
            self._encoding.invalid("provider_options.n", "a response holds one answer; call several times")
        fields = ChatFields(self._encoding, self._quirks)
        system = self._system()
        messages = self._messages()
        if not messages:
            self._encoding.invalid("messages", "nothing of them can be sent; give it text")
        if system is not None:
            messages.insert(0, system)
        cache = cache_fields(self._encoding, self._quirks, system, self._by_number)
        body: Sent = {"model": self._encoding.target.model, "messages": messages}
        body |= fields.tools() | fields.output() | fields.settings() | fields.reasoning() | cache
        return self._encoding.laid_over(body | fields.stream(), "tools")

    def _system(self) -> Sent | None:
        text = self._encoding.request.system
        return None if text is None else {"role": self._quirks.system_role, "content": text}

    def _messages(self) -> list[Sent]:
        sent: list[Sent] = []
        media: list[Sent] = []  # of tool results: no user message may come between those of one turn
        for number, message in enumerate(self._encoding.request.messages):
            field = f"messages[{number}]"
            if message.role != "tool" and media:
                self._bridge(sent, "user", field)
                sent.append({"role": "user", "content": media})
                media = []
            if message.role == "tool":
                made = self._results(message, field, number, media)
            elif message.role == "assistant":
                made = self._turns.of(message, field)
            else:
                made = [self._said(message, field, number)]
            if made:
                self._by_number[number] = made[-1]
                self._bridge(sent, made[0]["role"], field)
            sent += made
        if media:
            self._bridge(sent, "user", f"messages[{len(self._encoding.request.messages) - 1}]")
            sent.append({"role": "user", "content": media})
        return sent

    def _bridge(self, sent: list[Sent], role: str, field: str) -> None:
        """Puts words of the model after results where the server lets nobody else speak next."""
        if self._quirks.speaks_after_tools or role in ("assistant", "tool"):
            return
        if sent and sent[-1]["role"] == "tool":
            sent.append({"role": "assistant", "content": "OK."})
            self._encoding.changed(field, "after a tool only the model speaks here; it says `OK.`")

    def _said(self, message: Message, field: str, number: int) -> Sent:
        """What the user or the system says."""
        blocks: list[Sent] = []
        for position, part in enumerate(message.parts):
            blocks += self._blocks.of(part, f"{field}.parts[{position}]", number)
        role = self._quirks.system_role if message.role == "system" else message.role
        return {"role": role, "content": self._blocks.joined(blocks)}

    def _results(self, message: Message, field: str, number: int, media: list[Sent]) -> list[Sent]:
        sent: list[Sent] = []
        for position, part in enumerate(message.parts):
            if isinstance(part, ToolResultPart):
                call_id = self._ids.result(part.call_id)
                content = self._result(part, f"{field}.parts[{position}]", number, call_id, media)
                sent.append({"role": "tool", "tool_call_id": call_id, "content": content})
        return sent

    def _result(
        self, part: ToolResultPart, field: str, number: int, call_id: str, media: list[Sent]
    ) -> str | list[Sent]:
        """A result's content; media that the server takes only from the user are put aside."""
        content: list[Sent] = []
        apart: list[Sent] = []
        for position, item in enumerate(part.content):
            place = f"{field}.content[{position}]"
            if isinstance(item, TextPart):
                content.append({"type": "text", "text": item.text})
                continue
            block = self._blocks.medium(item, place, number)
            here = block["type"] == "text" or self._quirks.tool_media
            (content if here else apart).append(block)
        if apart:
            self._encoding.changed(field, "a result holds text only here; its media follow in a user message")
            whose = f"From the result of {part.name or 'the tool'} ({call_id}):"
            media += [{"type": "text", "text": whose}, *apart]
            if not content:
                content.append({"type": "text", "text": "It follows in the next message of the user."})
        if words := self._encoding.failed(part, field):
            content.insert(0, {"type": "text", "text": words})
        if all(block["type"] == "text" for block in content):
            return "".join(block["text"] for block in content)
        return content


def _call_ids(quirks: Quirks) -> CallIds:
    """Ids as the server takes them back."""
    match quirks.call_ids:
        case "forty":
            return CallIds(r".+", 40)
        case "nine":
            return CallIds(r"[a-zA-Z0-9]{9}", 9, length=9)
        case "any":
            return CallIds(r".+", 10_000)
