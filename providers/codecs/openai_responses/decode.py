"""Answers of OpenAI's Responses protocol, and of the servers that speak it too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jiter import from_json

from llmgine.providers.codecs.assembly import count, merge_known, new_call_id
from llmgine.providers.codecs.codec import Target
from llmgine.providers.codecs.decoding import FrameDecoder
from llmgine.providers.codecs.openai_responses.items import Item
from llmgine.providers.codecs.openai_responses.output import Output
from llmgine.providers.contracts import (
    Adjustment,
    FinishReason,
    RefusalPart,
    ToolCallPart,
    Usage,
    UsageSource,
)
from llmgine.providers.errors import ErrorKind, ErrorScope
from llmgine.providers.events import StreamEvent

_ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
_BEGINNINGS = frozenset({"response.created", "response.queued", "response.in_progress"})
_UNFINISHED = frozenset({"queued", "in_progress"})
_TEXT_ITEMS = {
    "response.output_text.": "message",
    "response.refusal.": "message",
    "response.reasoning_": "reasoning",
}
# Fields of a response that are read, and those in which it repeats the request.
_READ = {"id", "object", "model", "status", "output", "usage", "error", "incomplete_details"}
_REPEATED = {
    "background", "billing", "completed_at", "created_at", "frequency_penalty", "include", "input",
    "instructions", "max_output_tokens", "max_tool_calls", "metadata", "output_text", "parallel_tool_calls",
    "presence_penalty", "previous_response_id", "prompt", "prompt_cache_key", "prompt_cache_options",
    "prompt_cache_retention", "reasoning", "safety_identifier", "store", "stream", "temperature", "text",
    "tool_choice", "tools", "top_logprobs", "top_p", "truncation", "user",
}  # fmt: skip
REASONS = {
    "max_output_tokens": FinishReason.LENGTH,
    "content_filter": FinishReason.CONTENT_FILTER,
}


class OpenAIResponsesDecoder(FrameDecoder):
    """Reads Responses events by their `type`; the response with its last status is the end marker.

    Items of types that this version does not know, as those of tools on the server's side, become opaque
    parts, so that they can be replayed.
    """

    def __init__(
        self,
        target: Target,
        api: str,
        adjustments: tuple[Adjustment, ...] = (),
        new_id: Callable[[], str] = new_call_id,
    ) -> None:
        super().__init__(target, api, adjustments, new_id)
        self._output = Output(self._assembly)

    def _read(self, event: str, data: bytes) -> list[StreamEvent]:
        if data[:1] != b"{" and data.strip() in (b"", b"[DONE]"):
            return []
        frame = from_json(data)
        if type(frame) is not dict:
            raise ValueError("it is no JSON object")
        kind = frame.get("type") or event
        events: list[StreamEvent] = []
        if kind in _ENDS:
            return self._conclude(kind.removeprefix("response."), frame.get("response") or {})
        if kind == "error" or (frame.get("error") and not kind.startswith("response.")):
            return self._reported_error(frame)
        if kind in _BEGINNINGS:
            self._envelope(frame.get("response") or {})
        elif kind == "response.output_item.added":
            self._output.begin(frame.get("output_index"), frame["item"], events)
        elif kind == "response.output_item.done":
            self._output.complete(frame.get("output_index"), frame["item"], events)
            self._logprobs(frame["item"])
        elif kind != "keepalive":
            item = self._output.find(frame) or self._unbegun(kind, frame, events)
            if item is None or item.done or not item.read(kind, frame, events):
                self._keep(event, data, frame)
        return events

    def _body(self, answer: dict[str, Any]) -> list[StreamEvent]:
        if not isinstance(answer.get("output"), list):
            raise ValueError("it has no output")
        status = answer.get("status") or "completed"
        if status in _UNFINISHED:
            raise ValueError(f"its status is {status}: it is no finished answer")
        return self._conclude(status, answer)

    def _unbegun(self, kind: str, frame: dict[str, Any], events: list[StreamEvent]) -> Item | None:
        """An item for a piece of text whose item was never begun, as some servers leave it out."""
        for start, name in _TEXT_ITEMS.items():
            if kind.startswith(start):
                item = {"type": name, "id": frame.get("item_id")}
                return self._output.begin(frame.get("output_index"), item, events)
        return None

    def _conclude(self, status: str, response: dict[str, Any]) -> list[StreamEvent]:
        """The end of an answer: whole, broken off or failed."""
        self._envelope(response)
        if usage := response.get("usage"):
            merge_known(self._raw_usage, usage)
        if status == "failed":
            return self._reported_error({"error": response.get("error") or {}})
        if status == "cancelled":
            text = "the answer was cancelled at the provider"
            return self._fail(self._error(ErrorKind.CANCELLED, text, ErrorScope.REQUEST))
        events: list[StreamEvent] = []
        output = response.get("output") or []
        self._output.conclude(output, events)
        if "logprobs" not in self._data:
            for item in output:
                self._logprobs(item)
        details = response.get("incomplete_details") or {}
        self._reason = str(details.get("reason") or status)
        self._marked = True
        return events + self._finish()

    def _envelope(self, response: dict[str, Any]) -> None:
        """Who answered, and the fields beside the answer."""
        if isinstance(response_id := response.get("id"), str):
            self._response_id = response_id
        if isinstance(model := response.get("model"), str):
            self._model = model or None
        for name in response.keys() - _READ - _REPEATED:
            self._note(name, response[name])

    def _logprobs(self, item: dict[str, Any]) -> None:
        if item["type"] == "message":
            for block in item.get("content") or ():
                if logprobs := block.get("logprobs"):
                    self._data.setdefault("logprobs", {}).setdefault("content", []).extend(logprobs)

    def _finish_reason(self) -> FinishReason:
        """The reason by its meaning: refusals and calls both end as completed."""
        if self._reason != "completed":
            return REASONS.get(self._reason or "", FinishReason.UNKNOWN)
        kinds = {type(part) for part in self._assembly.whole}
        if RefusalPart in kinds:
            return FinishReason.REFUSAL
        return FinishReason.TOOL_CALLS if ToolCallPart in kinds else FinishReason.STOP

    def _usage(self, raw: Mapping[str, Any], source: UsageSource) -> Usage:
        return Usage.reported(
            source,
            dict(raw),
            input_tokens=count(raw, "input_tokens"),
            output_tokens=count(raw, "output_tokens"),
            cache_read_tokens=count(raw, "input_tokens_details", "cached_tokens"),
            cache_write_tokens=count(raw, "input_tokens_details", "cache_write_tokens"),
            reasoning_tokens=count(raw, "output_tokens_details", "reasoning_tokens"),
        )
