"""Answers of the Chat Completions protocol, and of the many servers that speak it nearly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from jiter import from_json

from llmgine.providers.codecs.assembly import (
    Kind,
    Slot,
    merge_known,
    new_call_id,
)
from llmgine.providers.codecs.codec import Target
from llmgine.providers.codecs.decoding import FrameDecoder
from llmgine.providers.codecs.json_text import read_json
from llmgine.providers.codecs.openai_chat.calls import ChatCalls
from llmgine.providers.codecs.openai_chat.parts import Sound, citation_of, image_of, merge_details
from llmgine.providers.codecs.openai_chat.think_tags import ThinkTags
from llmgine.providers.codecs.openai_chat.usage import usage_of
from llmgine.providers.contracts import (
    Adjustment,
    FinishReason,
    RefusalPart,
    ToolCallPart,
    Usage,
    UsageSource,
)
from llmgine.providers.errors import ErrorPhase, ProviderError
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
        "annotations",
        "images",
        "audio",
    }
)

REASONS = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "model_length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}
# Reasons that tell of a failure of the server, and the type of error that each is.
_BROKEN = {"error": "server_error", "insufficient_system_resource": "overloaded_error"}


class OpenAIChatDecoder(FrameDecoder):
    """Reads `chat.completion.chunk` frames; a finish reason or `[DONE]` is the end marker.

    A refusal is streamed as text deltas of its own part. `think_tags` says whether reasoning may come within
    the text.
    """

    def __init__(
        self,
        target: Target,
        api: str,
        adjustments: tuple[Adjustment, ...] = (),
        new_id: Callable[[], str] = new_call_id,
        think_tags: Literal["never", "tagged", "opened"] = "never",
    ) -> None:
        super().__init__(target, api, adjustments, new_id)
        self._current: Slot | None = None  # the text, thinking or refusal part that is being written
        self._calls = ChatCalls(self._assembly)
        self._tags = None if think_tags == "never" else ThinkTags(opened=think_tags == "opened")
        self._sound: Sound | None = None

    def _read(self, event: str, data: bytes) -> list[StreamEvent]:
        if data[:1] != b"{":
            text = data.strip()
            if text == b"[DONE]":
                self._marked = True
                return self._finish()
            if not text:
                return []
        try:
            frame = from_json(data)
        except ValueError:
            frame = read_json(data)
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
        if self._reason is not None and (kind := _BROKEN.get(self._reason)):
            message = f"the server ended the answer with `{self._reason}`"
            return events + self._reported_error({"type": kind, "message": message})
        return events

    def _finish(self) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        self._leave_tags(events)
        self._end_sound(events)
        return events + super()._finish()

    def _fail(self, error: ProviderError) -> list[StreamEvent]:
        """What was held back is shown before the failure, so that nothing that had arrived is missing."""
        events: list[StreamEvent] = []
        self._leave_tags(events)
        self._end_sound([])
        if events and error.phase is ErrorPhase.PRE_TOKEN:
            error.phase = ErrorPhase.MID_STREAM
        return events + super()._fail(error)

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
                if self._tags is None:
                    self._speak("text", content, events)
                else:
                    self._tagged(self._tags, content, events)
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
        self._reasoning(delta, events)
        self._content(delta.get("content"), events)
        if annotations := delta.get("annotations"):
            self._annotate(annotations)
        if isinstance(refusal := delta.get("refusal"), str) and refusal:
            self._leave_tags(events)
            self._speak("refusal", refusal, events)
        for call in delta.get("tool_calls") or ():
            self._call(call, events)
        if call := delta.get("function_call"):  # the field of older servers
            self._call({"index": 0, "function": call}, events)
        for image in delta.get("images") or ():
            self._image(image, events)
        if isinstance(sound := delta.get("audio"), dict):
            self._sound = self._sound or Sound()
            self._sound.read(sound)
        for name in delta.keys() - _DELTA:
            value = delta[name]
            held = self._data.get(name)
            self._note(name, [*held, *value] if isinstance(held, list) and isinstance(value, list) else value)

    def _reasoning(self, delta: dict[str, Any], events: list[StreamEvent]) -> None:
        for field in ("reasoning_content", "reasoning"):
            if isinstance(thought := delta.get(field), str) and thought:
                self._leave_tags(events)
                self._speak("thinking", thought, events)
                if self._current is not None:
                    self._current.data.setdefault("field", field)
                break
        if details := delta.get("reasoning_details"):
            self._leave_tags(events)
            slot = self._turn_to("thinking", events)
            merge_details(slot.data.setdefault("reasoning_details", []), details)

    def _content(self, content: Any, events: list[StreamEvent]) -> None:
        """Text, or with some servers a list of typed blocks."""
        if not content:
            return
        if isinstance(content, str):
            if self._tags is None:
                self._speak("text", content, events)
            else:
                self._tagged(self._tags, content, events)
            return
        for block in content:
            kind = block.get("type")
            if kind == "text":
                self._content(str(block["text"]), events)
            elif kind == "thinking" and isinstance(thoughts := block.get("thinking"), list):
                self._leave_tags(events)
                for thought in thoughts:
                    self._speak("thinking", str(thought.get("text", "")), events)
                if self._current is not None:
                    self._current.data.setdefault("field", "content")
            else:
                self._opaque(str(kind), block, events)

    def _opaque(self, kind: str, block: dict[str, Any], events: list[StreamEvent]) -> None:
        self._leave_tags(events)
        slot = self._turn_to("opaque", events)
        slot.name, slot.block = kind, block
        self._current = None
        self._assembly.close(slot, events)

    def _image(self, block: Any, events: list[StreamEvent]) -> None:
        if (part := image_of(block)) is None:
            self._opaque("image", block, events)
            return
        self._leave_tags(events)
        self._leave(events)
        self._assembly.put(part, events)

    def _annotate(self, annotations: Any) -> None:
        """Sources of the text that is being written; what belongs to none is kept beside the answer."""
        slot = self._current
        for annotation in annotations if isinstance(annotations, list) else [annotations]:
            if slot is not None and slot.kind == "text" and isinstance(annotation, dict):
                slot.citations.append(citation_of(annotation))
            else:
                self._note("annotations", [*self._data.get("annotations", ()), annotation])

    def _tagged(self, tags: ThinkTags, text: str, events: list[StreamEvent]) -> None:
        """Text that may hold reasoning between tags."""
        for kind, piece in tags.feed(text):
            self._spoken(tags, kind, piece, events)
        if tags.done:
            self._tags = None

    def _leave_tags(self, events: list[StreamEvent]) -> None:
        """No tag can come any more: what was held back is what it looks like."""
        if (tags := self._tags) is None:
            return
        self._tags = None
        for kind, piece in tags.end():
            self._spoken(tags, kind, piece, events)
        self._end_thought(tags)

    def _spoken(
        self, tags: ThinkTags, kind: Literal["thinking", "text"], piece: str, events: list[StreamEvent]
    ) -> None:
        if kind == "text":
            self._end_thought(tags)
        self._speak(kind, piece, events)
        if kind == "thinking" and self._current is not None:
            self._current.data |= {"field": "tags", "opening": tags.opening}

    def _end_thought(self, tags: ThinkTags) -> None:
        if tags.closing and self._current is not None and self._current.kind == "thinking":
            self._current.data["closing"] = tags.closing

    def _end_sound(self, events: list[StreamEvent]) -> None:
        if self._sound is not None:
            self._leave(events)
            self._assembly.put(self._sound.part(), events)
            self._sound = None

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
        self._leave_tags(events)
        self._leave(events)
        self._calls.read(call, events)

    def _logprobs(self, logprobs: dict[str, Any]) -> None:
        for name, values in logprobs.items():
            if values and isinstance(values, list):
                self._data.setdefault("logprobs", {}).setdefault(name, []).extend(values)

    def _finish_reason(self) -> FinishReason:
        """The reason by its meaning: a refusal and a forced call both come as `stop`."""
        reason = REASONS.get(self._reason or "", FinishReason.UNKNOWN)
        if reason is FinishReason.STOP:
            kinds = {type(part) for part in self._assembly.whole}
            if RefusalPart in kinds:
                return FinishReason.REFUSAL
            if ToolCallPart in kinds:
                return FinishReason.TOOL_CALLS
        return reason

    def _usage(self, raw: Mapping[str, Any], source: UsageSource) -> Usage:
        return usage_of(raw, source)
