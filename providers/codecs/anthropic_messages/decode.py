"""Answers of the Anthropic Messages protocol."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from llmgine.providers.codecs.anthropic_messages.citations import citation_of, spanning
from llmgine.providers.codecs.assembly import (
    Kind,
    Slot,
    compact,
    count,
    merge_known,
    new_call_id,
    parse_arguments,
)
from llmgine.providers.codecs.codec import Target
from llmgine.providers.codecs.decoding import FrameDecoder
from llmgine.providers.codecs.json_text import read_json, string
from llmgine.providers.contracts import Adjustment, FinishReason, Usage, UsageSource
from llmgine.providers.events import StreamEvent

_KINDS: dict[str, Kind] = {
    "text": "text",
    "thinking": "thinking",
    "redacted_thinking": "thinking",
    "tool_use": "tool_call",
}
_TEXT_BLOCK = frozenset({"type", "text", "citations"})
_THINKING_BLOCK = frozenset({"type", "thinking", "signature", "data"})
_TOOL_BLOCK = frozenset({"type", "id", "name", "input"})
_MESSAGE = frozenset({"id", "type", "role", "model", "content", "usage", "stop_reason"})
_START_FRAME = frozenset({"type", "message"})
_DELTA_FRAME = frozenset({"type", "delta", "usage"})
_DELTA = frozenset({"stop_reason"})

REASONS = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "pause_turn": FinishReason.PAUSE,
    "refusal": FinishReason.REFUSAL,
}


class AnthropicMessagesDecoder(FrameDecoder):
    """Reads Messages events by their `type`; `message_stop` is the end marker.

    Blocks that this version does not know, as those of tools on the server's side, become opaque
    parts with the deltas worked in, so that they can be replayed.
    """

    def __init__(
        self,
        target: Target,
        api: str,
        adjustments: tuple[Adjustment, ...] = (),
        new_id: Callable[[], str] = new_call_id,
    ) -> None:
        super().__init__(target, api, adjustments, new_id)
        self._open: dict[Any, Slot] = {}
        self._final_usage = False

    def _read(self, event: str, data: bytes) -> list[StreamEvent]:
        if data[:1] != b"{" and not data.strip():
            return []
        frame = read_json(data)
        if type(frame) is not dict:
            raise ValueError("it is no JSON object")
        kind = frame.get("type") or event
        events: list[StreamEvent] = []
        if kind == "content_block_delta":
            self._delta(frame, events)
        elif kind == "content_block_start":
            if (slot := self._open.pop(frame["index"], None)) is not None:
                self._stop(slot, events)  # its own stop was left out
            self._start(frame["index"], frame["content_block"], events)
        elif kind == "content_block_stop":
            if (slot := self._open.pop(frame["index"], None)) is not None:
                self._stop(slot, events)
        elif kind == "message_start":
            self._message(frame["message"], events)
            self._note_rest(frame, _START_FRAME)
        elif kind == "message_delta":
            self._message_delta(frame)
        elif kind == "message_stop":
            return self._finish()
        elif kind == "error":
            return self._reported_error(frame)
        elif kind != "ping":
            self._keep(event, data, frame)
        return events

    def _body(self, answer: dict[str, Any]) -> list[StreamEvent]:
        if not isinstance(answer.get("content"), list):
            raise ValueError("it has no content")
        events: list[StreamEvent] = []
        self._message(answer, events)
        self._final_usage = True
        return events + self._finish()

    def _finish(self) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        for slot in self._open.values():  # a server that left out the stop of a block
            self._stop(slot, events)
        self._open = {}
        self._marked = True
        return events + super()._finish()

    def _message(self, message: dict[str, Any], events: list[StreamEvent]) -> None:
        if isinstance(response_id := message.get("id"), str):
            self._response_id = response_id
        if isinstance(model := message.get("model"), str):
            self._model = model or None
        for block in message.get("content") or ():
            self._start(None, block, events)
            self._stop(self._open.pop(None), events)
        if usage := message.get("usage"):
            merge_known(self._raw_usage, usage)
        if reason := message.get("stop_reason"):
            self._reason = str(reason)
        self._note_rest(message, _MESSAGE)

    def _message_delta(self, frame: dict[str, Any]) -> None:
        delta = frame.get("delta") or {}
        if reason := delta.get("stop_reason"):
            self._reason = str(reason)
        self._note_rest(delta, _DELTA)
        if usage := frame.get("usage"):
            merge_known(self._raw_usage, usage)
            self._final_usage = True
        self._note_rest(frame, _DELTA_FRAME)

    def _note_rest(self, fields: dict[str, Any], known: frozenset[str]) -> None:
        for name, value in fields.items():
            if name not in known:
                self._note(name, value)

    def _start(self, index: Any, block: dict[str, Any], events: list[StreamEvent]) -> None:
        name = block["type"]
        slot = self._assembly.open(_KINDS.get(name, "opaque"), events)
        self._open[index] = slot
        match slot.kind:
            case "text":
                self._fill(slot, block, _TEXT_BLOCK)
                for citation in block.get("citations") or ():
                    slot.citations.append(citation_of(citation))
                if text := block.get("text"):
                    self._assembly.write(slot, string(text), events)
            case "thinking":
                self._fill(slot, block, _THINKING_BLOCK)
                slot.redacted = None if (data := block.get("data")) is None else string(data)
                slot.signature = string(block.get("signature") or "") or None
                if text := block.get("thinking"):
                    self._assembly.write(slot, string(text), events)
            case "tool_call":
                self._fill(slot, block, _TOOL_BLOCK)
                slot.id, slot.name = string(block.get("id") or ""), string(block.get("name") or "")
                slot.block = {"input": block.get("input")}
            case _:
                slot.name, slot.block = string(name), dict(block)

    def _fill(self, slot: Slot, block: dict[str, Any], known: frozenset[str]) -> None:
        slot.data.update({name: value for name, value in block.items() if name not in known})

    def _delta(self, frame: dict[str, Any], events: list[StreamEvent]) -> None:
        delta = frame["delta"]
        kind = delta["type"]
        slot = self._open.get(frame["index"]) or self._unopened(frame, kind, events)
        if slot.kind == "opaque":
            self._opaque_delta(slot, delta)
        elif kind == "text_delta":
            self._assembly.write(slot, string(delta["text"]), events)
        elif kind == "input_json_delta":
            if piece := string(delta["partial_json"]):
                self._assembly.argue(slot, piece, events)
        elif kind == "thinking_delta":
            self._assembly.write(slot, string(delta["thinking"]), events)
        elif kind == "signature_delta":
            slot.signature = (slot.signature or "") + string(delta["signature"])
        elif kind == "citations_delta":
            slot.citations.append(citation_of(delta["citation"]))
        else:
            self._keep("content_block_delta", compact(frame).encode(), frame)

    def _unopened(self, frame: dict[str, Any], kind: str, events: list[StreamEvent]) -> Slot:
        """A part for a delta whose block was never opened, as some servers leave it out."""
        block = {"text_delta": "text", "thinking_delta": "thinking"}.get(kind)
        if block is None:
            raise ValueError(f"a {kind} belongs to no block")
        self._start(frame["index"], {"type": block}, events)
        return self._open[frame["index"]]

    def _opaque_delta(self, slot: Slot, delta: dict[str, Any]) -> None:
        """Works a delta into its block: strings and lists grow, other values are replaced."""
        if delta["type"] == "input_json_delta":
            slot.pieces.append(string(delta["partial_json"]))
            return
        for name in delta.keys() - {"type"}:
            value, held = delta[name], slot.block.get(name)
            grows = type(held) is type(value) and isinstance(value, str | list)
            if value is not None:
                slot.block[name] = held + value if grows else value

    def _stop(self, slot: Slot, events: list[StreamEvent]) -> None:
        if slot.kind == "tool_call" and not slot.pieces and slot.block.get("input"):
            self._assembly.argue(slot, compact(slot.block["input"]), events)
        elif slot.kind == "opaque" and (raw := "".join(slot.pieces)):
            arguments = parse_arguments(raw)
            slot.block["input"] = raw if arguments is None else arguments
        elif slot.citations:
            slot.citations = spanning(slot.citations, sum(map(len, slot.pieces)))
        self._assembly.close(slot, events)

    def _finish_reason(self) -> FinishReason:
        return REASONS.get(self._reason or "", FinishReason.UNKNOWN)

    def _usage_source(self) -> UsageSource:
        if self._raw_usage and not self._final_usage:
            return UsageSource.PARTIAL
        return super()._usage_source()

    def _usage(self, raw: Mapping[str, Any], source: UsageSource) -> Usage:
        fresh = count(raw, "input_tokens")
        read, written = count(raw, "cache_read_input_tokens"), count(raw, "cache_creation_input_tokens")
        return Usage.reported(
            source,
            dict(raw),
            input_tokens=None if fresh is None else fresh + (read or 0) + (written or 0),
            output_tokens=count(raw, "output_tokens"),
            cache_read_tokens=read,
            cache_write_tokens=written,
            reasoning_tokens=count(raw, "output_tokens_details", "thinking_tokens"),
        )
