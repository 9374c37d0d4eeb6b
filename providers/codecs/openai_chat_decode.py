"""Answers of the Chat Completions protocol, and of the many servers that speak it nearly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jiter import from_json

from llmgine.providers.codecs.assembly import (
    Kind,
    Slot,
    count,
    merge_known,
    new_call_id,
)
from llmgine.providers.codecs.codec import Target
from llmgine.providers.codecs.decoding import FrameDecoder
from llmgine.providers.codecs.openai_chat_calls import ChatCalls
from llmgine.providers.contracts import (
    Adjustment,
    FinishReason,
    RefusalPart,
    ToolCallPart,
    Usage,
    UsageSource,
)
from llmgine.providers.events import StreamEvent

_FRAME = frozenset({"id", "object", "created", "model", "choices", "usage", "obfuscation", "error"})
# Fields that every frame repeats: they are read from the first and the last ones.
_STEADY = _FRAME | {"service_tier", "system_fingerprint", "provider"}
_CHOICE = frozenset(
    {"index", "delta", "message", "finish_reason", "native_finish_reason", "logprobs", "usage"}
)
_DELTA = frozenset(
    {
        "role",
        "content",
        "refusal",
        "tool_calls",
        "function_call",
        "reasoning",
        "reasoning_content",
        "reasoning_details",
    }
)

_REASONS = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}


class OpenAIChatDecoder(FrameDecoder):
    """Reads `chat.completion.chunk` frames; a finish reason or `[DONE]` is the end marker.

    A refusal is streamed as text deltas of its own part.
    """

    def __init__(
        self,
        target: Target,
        api: str,
        adjustments: tuple[Adjustment, ...] = (),
        new_id: Callable[[], str] = new_call_id,
    ) -> None:
        super().__init__(target, api, adjustments, new_id)
        self._current: Slot | None = None  # the text, thinking or refusal part that is being written
        self._calls = ChatCalls(self._assembly)

    def _read(self, event: str, data: bytes) -> list[StreamEvent]:
        if data[:1] != b"{":
            text = data.strip()
            if text == b"[DONE]":
                self._marked = True
                return self._finish()
            if not text:
                return []
        frame = from_json(data)
        if type(frame) is not dict:
            raise ValueError("it is no JSON object")
        return self._frame(event, frame, data)

    def _body(self, answer: dict[str, Any]) -> list[StreamEvent]:
        choices = answer["choices"]
        if not choices:
            raise ValueError("it has no choices")
        for position, call in enumerate(choices[0]["message"].get("tool_calls") or ()):
            call.setdefault("index", position)
        events = self._frame("", answer, b"")
        return events if self._ended else events + self._finish()

    def _frame(self, event: str, frame: dict[str, Any], data: bytes) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        choices = frame.get("choices")
        if usage := frame.get("usage"):
            merge_known(self._raw_usage, usage)
        if choices:
            if len(choices) == 1 and not choices[0].get("index"):
                self._choice(choices[0], events)
            else:
                self._choices(choices, data, events)
        elif choices is None and not usage and not self._is_error(event, frame):
            self._keep(event, data, frame)
            return events
        if self._response_id is None or self._marked or not choices or not _STEADY.issuperset(frame):
            self._envelope(frame)
        if self._is_error(event, frame):
            return events + self._reported_error(frame)
        if self._reason == "error":
            return events + self._reported_error({"message": "the server ended the answer with `error`"})
        return events

    def _is_error(self, event: str, frame: dict[str, Any]) -> bool:
        return bool(frame.get("error")) or event == "error" or frame.get("object") == "error"

    def _envelope(self, frame: dict[str, Any]) -> None:
        """Who answered, and the fields beside the answer."""
        if self._response_id is None and isinstance(response_id := frame.get("id"), str):
            self._response_id = response_id
        if self._model is None and isinstance(model := frame.get("model"), str):
            self._model = model or None
        for name in frame.keys() - _FRAME:
            value = frame[name]
            self._note(name, value)
            if name == "x_groq" and isinstance(value, dict) and isinstance(value.get("usage"), dict):
                merge_known(self._raw_usage, value["usage"])

    def _choices(self, choices: list[dict[str, Any]], data: bytes, events: list[StreamEvent]) -> None:
        for choice in choices:
            if choice.get("index"):  # further answers of `n` > 1
                self._keep("choice", data, choice)
            else:
                self._choice(choice, events)

    def _choice(self, choice: dict[str, Any], events: list[StreamEvent]) -> None:
        delta = choice.get("delta") or choice.get("message")
        if delta:
            content = delta.get("content")
            alone = len(delta) == 1 or (len(delta) == 2 and "role" in delta)
            if alone and content and type(content) is str:
                self._speak("text", content, events)
            else:
                self._delta(delta, events)
        if reason := choice.get("finish_reason"):
            self._reason = str(reason)
            self._marked = True
            self._note("native_finish_reason", choice.get("native_finish_reason"))
        if logprobs := choice.get("logprobs"):
            self._logprobs(logprobs)
        if not _CHOICE.issuperset(choice):
            for name in choice.keys() - _CHOICE:
                self._note(name, choice[name])
        if usage := choice.get("usage"):
            merge_known(self._raw_usage, usage)

    def _delta(self, delta: dict[str, Any], events: list[StreamEvent]) -> None:
        for field in ("reasoning_content", "reasoning"):
            if isinstance(thought := delta.get(field), str) and thought:
                self._speak("thinking", thought, events)
                if self._current is not None:
                    self._current.data.setdefault("field", field)
                break
        if details := delta.get("reasoning_details"):
            slot = self._turn_to("thinking", events)
            _merge_details(slot.data.setdefault("reasoning_details", []), details)
        self._content(delta.get("content"), events)
        if isinstance(refusal := delta.get("refusal"), str) and refusal:
            self._speak("refusal", refusal, events)
        for call in delta.get("tool_calls") or ():
            self._call(call, events)
        if call := delta.get("function_call"):  # the field of older servers
            self._call({"index": 0, "function": call}, events)
        for name in delta.keys() - _DELTA:
            value = delta[name]
            held = self._data.get(name)
            self._note(name, [*held, *value] if isinstance(held, list) and isinstance(value, list) else value)

    def _content(self, content: Any, events: list[StreamEvent]) -> None:
        """Text, or with some servers a list of typed blocks."""
        if not content:
            return
        if isinstance(content, str):
            self._speak("text", content, events)
            return
        for block in content:
            kind = block.get("type")
            if kind == "text":
                self._content(str(block["text"]), events)
            elif kind == "thinking" and isinstance(thoughts := block.get("thinking"), list):
                for thought in thoughts:
                    self._speak("thinking", str(thought.get("text", "")), events)
            else:
                slot = self._turn_to("opaque", events)
                slot.name, slot.block = str(kind), block
                self._current = None
                self._assembly.close(slot, events)

    def _speak(self, kind: Kind, text: str, events: list[StreamEvent]) -> None:
        slot = self._current
        if slot is None or slot.kind != kind:
            slot = self._turn_to(kind, events)
        self._assembly.write(slot, text, events)

    def _turn_to(self, kind: Kind, events: list[StreamEvent]) -> Slot:
        """The part of this kind that is being written, or a new one after closing another."""
        slot = self._current
        if slot is None or slot.kind != kind:
            self._leave(events)
            slot = self._current = self._assembly.open(kind, events)
        return slot

    def _leave(self, events: list[StreamEvent]) -> None:
        if self._current is not None:
            self._assembly.close(self._current, events)
            self._current = None

    def _call(self, call: dict[str, Any], events: list[StreamEvent]) -> None:
        self._leave(events)
        self._calls.read(call, events)

    def _logprobs(self, logprobs: dict[str, Any]) -> None:
        for name, values in logprobs.items():
            if values and isinstance(values, list):
                self._data.setdefault("logprobs", {}).setdefault(name, []).extend(values)

    def _finish_reason(self) -> FinishReason:
        """The reason by its meaning: a refusal and a forced call both come as `stop`."""
        reason = _REASONS.get(self._reason or "", FinishReason.UNKNOWN)
        if reason is FinishReason.STOP:
            kinds = {type(part) for part in self._assembly.whole}
            if RefusalPart in kinds:
                return FinishReason.REFUSAL
            if ToolCallPart in kinds:
                return FinishReason.TOOL_CALLS
        return reason

    def _usage(self, raw: Mapping[str, Any], source: UsageSource) -> Usage:
        prompt, completion = count(raw, "prompt_tokens"), count(raw, "completion_tokens")
        reasoning = count(raw, "completion_tokens_details", "reasoning_tokens")
        # Some servers count reasoning beside the completion; the total tells.
        if (
            prompt is not None
            and completion is not None
            and reasoning
            and count(raw, "total_tokens") == prompt + completion + reasoning
        ):
            completion += reasoning
        reads = (("prompt_tokens_details", "cached_tokens"), ("prompt_cache_hit_tokens",), ("cached_tokens",))
        cached = [tokens for path in reads if (tokens := count(raw, *path)) is not None]
        return Usage.reported(
            source,
            dict(raw),
            input_tokens=prompt,
            output_tokens=completion,
            cache_read_tokens=cached[0] if cached else None,
            cache_write_tokens=count(raw, "prompt_tokens_details", "cache_write_tokens"),
            reasoning_tokens=reasoning,
        )


def _merge_details(held: list[dict[str, Any]], details: list[dict[str, Any]]) -> None:
    """Reasoning details as whole items: pieces of one index and type are joined."""
    for detail in details:
        last = held[-1] if held else None
        same = last is not None and all(last.get(name) == detail.get(name) for name in ("type", "index"))
        if last is None or not same:
            held.append(dict(detail))
            continue
        for name, value in detail.items():
            if name in ("text", "summary", "data") and isinstance(value, str):
                last[name] = (last.get(name) or "") + value
            elif value is not None:
                last[name] = value
