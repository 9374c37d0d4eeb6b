"""Answers of Gemini's generateContent protocol."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any

from llmgine.providers.codecs.assembly import Kind, Slot, compact, count, new_call_id
from llmgine.providers.codecs.codec import Target
from llmgine.providers.codecs.decoding import FrameDecoder
from llmgine.providers.codecs.failures import SIGNATURE_INVALID
from llmgine.providers.codecs.gemini.citations import cite
from llmgine.providers.codecs.gemini.limits import whole_numbers
from llmgine.providers.codecs.json_text import read_json, string
from llmgine.providers.contracts import (
    Adjustment,
    AnyPart,
    AudioPart,
    DocumentPart,
    FinishReason,
    ImagePart,
    OpaquePart,
    Usage,
    UsageSource,
)
from llmgine.providers.errors import ErrorKind, ErrorScope
from llmgine.providers.events import StreamEvent, TextDelta, ThinkingDelta

_FRAME = frozenset({"candidates", "usageMetadata", "modelVersion", "responseId", "promptFeedback"})
_CANDIDATE = frozenset({"content", "finishReason", "index"})
_BESIDE = frozenset({"thought", "thoughtSignature"})
_CALL = frozenset({"id", "name", "args"})
_MEDIUM = frozenset({"mimeType", "data"})
_PLAIN_BASE64 = str.maketrans("-_", "+/")

_FILTERED = (
    *("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "MODEL_ARMOR"),
    *("ESCALATION", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "PUP_LIMITED_DISABLED"),
)
_BROKEN = (
    *("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS", "MALFORMED_RESPONSE"),
    *("MISSING_THOUGHT_SIGNATURE", "NO_IMAGE", "IMAGE_OTHER"),
)
_REASONS = {
    "STOP": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "CONTINUATION": FinishReason.PAUSE,
    **dict.fromkeys(_FILTERED, FinishReason.CONTENT_FILTER),
    **dict.fromkeys(_BROKEN, FinishReason.ERROR),
}
_UNSIGNED = "MISSING_THOUGHT_SIGNATURE"  # the request is at fault: the same one would come to the same end
_UNFINISHED = "FINISH_REASON_UNSPECIFIED"  # what some servers write where there is no reason yet
_LONGEST = 2000


class GenerateContentDecoder(FrameDecoder):
    """Reads GenerateContentResponse objects; a candidate's `finishReason` is the end marker.

    Text that goes on is one part. A part with a signature stays a part of its own, an empty one too, so
    that it can be sent back as it came. Further candidates are kept and not read.
    """

    def __init__(
        self,
        target: Target,
        api: str,
        adjustments: tuple[Adjustment, ...] = (),
        new_id: Callable[[], str] = new_call_id,
        *,
        legacy: bool = False,
    ) -> None:
        super().__init__(target, api, adjustments, new_id)
        self._legacy = legacy
        self._growing: Slot | None = None
        self._texts: list[Slot] = []
        self._grounding: dict[str, Any] = {}
        self._usable = False  # there is more than thinking
        self._called = False

    def _read(self, event: str, data: bytes) -> list[StreamEvent]:
        if data[:1] != b"{" and not data.strip():
            return []
        frame = read_json(data)
        if type(frame) is not dict:
            raise ValueError("it is no JSON object")
        return self._take(frame, event, data)

    def _body(self, answer: dict[str, Any]) -> list[StreamEvent]:
        return self._take(answer, "", b"") + self.end()

    def _take(self, frame: dict[str, Any], event: str, data: bytes) -> list[StreamEvent]:
        if frame.get("error"):
            return self._reported_error(frame)
        events: list[StreamEvent] = []
        if usage := frame.get("usageMetadata"):
            self._raw_usage.update(usage)
        if self._response_id is None and isinstance(response_id := frame.get("responseId"), str):
            self._response_id = response_id
        if self._model is None and isinstance(model := frame.get("modelVersion"), str):
            self._model = model or None
        for candidate in frame.get("candidates") or ():
            if candidate.get("index"):
                self._keep(event, compact(candidate).encode(), candidate)
            else:
                self._candidate(candidate, events)
        if feedback := frame.get("promptFeedback"):
            self._note("promptFeedback", feedback)
            if reason := feedback.get("blockReason"):
                return events + self._blocked(str(reason), feedback.get("blockReasonMessage"))
        if not _FRAME.issuperset(frame):
            for name in frame.keys() - _FRAME:
                self._note(name, frame[name])
        return events

    def _candidate(self, candidate: dict[str, Any], events: list[StreamEvent]) -> None:
        content = candidate.get("content")
        if content is not None:
            for part in content.get("parts") or ():
                if len(part) == 1 and type(text := part.get("text")) is str:
                    self._text("text", text, events)
                else:
                    self._part(part, events)
        if (reason := candidate.get("finishReason")) and reason != _UNFINISHED:
            self._reason, self._marked = str(reason), True
        if not _CANDIDATE.issuperset(candidate):
            self._about(candidate)

    def _about(self, candidate: dict[str, Any]) -> None:
        """What is said of an answer beside its parts."""
        for name in candidate.keys() - _CANDIDATE:
            value = candidate[name]
            if name == "logprobsResult" and type(value) is dict:
                self._probable(value)
            else:
                self._note(name, value)
            if name in ("groundingMetadata", "citationMetadata") and type(value) is dict:
                self._grounding |= value

    def _probable(self, result: dict[str, Any]) -> None:
        """Each frame tells how likely its own tokens were."""
        held = self._data.setdefault("logprobsResult", {})
        for name, value in result.items():
            if isinstance(value, list) and isinstance(held.get(name), list):
                held[name] += value
            else:
                held[name] = value

    def _text(self, kind: Kind, text: str, events: list[StreamEvent]) -> None:
        if not text:
            return
        slot = self._growing
        if slot is None or slot.kind != kind:
            slot = self._growing = self._open(kind, events)
        slot.pieces.append(text)
        if kind == "text":
            self._usable = True
            events.append(TextDelta(slot.index, text))
        else:
            events.append(ThinkingDelta(slot.index, text))

    def _open(self, kind: Kind, events: list[StreamEvent]) -> Slot:
        """A new part of words. Text is closed only by a call or the end: it may be cited until then."""
        self._open_nothing(events)
        slot = self._assembly.open(kind, events)
        if kind == "text":
            self._texts.append(slot)
        return slot

    def _part(self, part: dict[str, Any], events: list[StreamEvent]) -> None:
        kind = "text" if "text" in part else next((name for name in part if name not in _BESIDE), "text")
        signature = part.get("thoughtSignature")
        sealed = None if signature is None else string(signature)
        beside = {name: part[name] for name in part.keys() - {"thoughtSignature", kind}}
        if kind == "text":
            self._words(part, sealed, beside, events)
            return
        self._usable = True
        if kind == "functionCall":
            self._call(part["functionCall"], sealed, beside, events)
            return
        self._open_nothing(events)
        if kind == "inlineData" and not beside and part[kind].keys() == _MEDIUM:
            self._assembly.put(_medium(part[kind], sealed), events)
        else:
            data = {name: value for name, value in part.items() if name != "thoughtSignature"}
            self._assembly.put(OpaquePart(kind=kind, data=data, signature=sealed), events)

    def _words(
        self, part: dict[str, Any], sealed: str | None, beside: dict[str, Any], events: list[StreamEvent]
    ) -> None:
        text = string(part.get("text", ""))
        kind: Kind = "thinking" if beside.pop("thought", False) else "text"
        if sealed is None and not beside:
            self._text(kind, text, events)
            return
        slot = self._open(kind, events)
        slot.signature, slot.data = sealed, beside
        if text:
            self._usable = self._usable or kind == "text"
            self._assembly.write(slot, text, events)
        if kind == "thinking":
            self._assembly.close(slot, events)

    def _call(
        self, call: dict[str, Any], sealed: str | None, beside: dict[str, Any], events: list[StreamEvent]
    ) -> None:
        arguments = call.get("args")
        if not (arguments is None or type(arguments) is dict):
            raise TypeError(f"arguments are an object, not {type(arguments).__name__}")
        if self._legacy:
            arguments = whole_numbers(arguments)
        self._assembly.close_all(events)
        self._growing = None
        slot = self._assembly.open("tool_call", events)
        slot.id, slot.name = string(call.get("id") or ""), string(call.get("name") or "")
        slot.signature, slot.data = sealed, beside
        if call.keys() - _CALL:
            self._keep("functionCall", compact(call).encode(), call)
        self._assembly.argue(slot, compact(arguments or {}), events)
        self._assembly.close(slot, events)
        self._called = True

    def _open_nothing(self, events: list[StreamEvent]) -> None:
        """No part of words grows any more."""
        if self._growing is not None and self._growing.kind == "thinking":
            self._assembly.close(self._growing, events)
        self._growing = None

    def _blocked(self, reason: str, message: Any) -> list[StreamEvent]:
        text = f"the prompt was blocked: {message or reason}"
        error = self._error(ErrorKind.CONTENT_FILTER, text[:_LONGEST], ErrorScope.REQUEST)
        error.code = reason
        return self._fail(error)

    def _finish(self) -> list[StreamEvent]:
        reason = self._finish_reason()
        if not self._usable and reason in (FinishReason.ERROR, FinishReason.UNKNOWN):
            return self._unusable()
        if self._grounding:
            cite(self._texts, self._grounding)
        return super()._finish()

    def _unusable(self) -> list[StreamEvent]:
        """The model came to a bad end and left nothing."""
        reason = self._reason or ""
        text = f"the model ended with {reason} and no answer: {self._data.get('finishMessage', '')}"
        kind = ErrorKind.INVALID_REQUEST if reason == _UNSIGNED else ErrorKind.BAD_OUTPUT
        error = self._error(kind, text[:_LONGEST].removesuffix(": "), ErrorScope.REQUEST)
        error.code = SIGNATURE_INVALID if reason == _UNSIGNED else reason
        return self._fail(error)

    def _finish_reason(self) -> FinishReason:
        reason = _REASONS.get(self._reason or "", FinishReason.UNKNOWN)
        return FinishReason.TOOL_CALLS if reason is FinishReason.STOP and self._called else reason

    def _usage(self, raw: Mapping[str, Any], source: UsageSource) -> Usage:
        """Gemini counts thinking beside the answer, and what its own tools read beside the prompt."""
        asked = _sum(raw, "promptTokenCount", "toolUsePromptTokenCount")
        said = _sum(raw, "candidatesTokenCount", "thoughtsTokenCount")
        total = count(raw, "totalTokenCount")
        if asked is not None and total is not None and (self._legacy or total == asked):
            # A count of nothing is left out, and the old package leaves out that of thinking.
            said = max(total - asked, said or 0)
        return Usage.reported(
            source,
            dict(raw),
            input_tokens=asked,
            output_tokens=said,
            cache_read_tokens=count(raw, "cachedContentTokenCount"),
            reasoning_tokens=count(raw, "thoughtsTokenCount"),
        )


def _medium(data: dict[str, Any], sealed: str | None) -> AnyPart:
    """An image, a sound or another file that the model made."""
    media_type = string(data["mimeType"])
    content = base64.b64decode(string(data["data"]).translate(_PLAIN_BASE64), validate=True)
    if media_type.startswith("image/"):
        return ImagePart(data=content, media_type=media_type, signature=sealed)
    if media_type.startswith("audio/"):
        return AudioPart(data=content, media_type=media_type, signature=sealed)
    return DocumentPart(data=content, media_type=media_type, signature=sealed)


def _sum(raw: Mapping[str, Any], *names: str) -> int | None:
    known = [number for name in names if (number := count(raw, name)) is not None]
    return sum(known) if known else None
