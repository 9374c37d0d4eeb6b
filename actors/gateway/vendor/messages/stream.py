"""A streamed answer as the Messages protocol tells it, event by event."""

from __future__ import annotations

from typing import Any

from llmgine.actors.gateway.vendor.frames import Frame
from llmgine.actors.gateway.vendor.messages.response import (
    begun,
    block_of,
    citation,
    cites,
    ended,
    usage,
)
from llmgine.actors.gateway.vendor.ordering import InOrder, PartEvent
from llmgine.actors.gateway.vendor.seals import sealed
from llmgine.providers.contracts import AnyPart, LLMResponse, TextPart, ThinkingPart, ToolCallPart
from llmgine.providers.events import (
    PartDone,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStart,
)


class MessagesStream:
    """Turns the events of one call into the frames of its answer: one block after the other."""

    def __init__(self, *, id: str, model: str) -> None:
        self._id = id
        self._model = model
        self._order = InOrder()
        self._blocks = 0  # that have ended
        self._open = False
        self._argued = False

    def begin(self) -> list[Frame]:
        return [_frame("message_start", message=begun(self._id, self._model)), _frame("ping")]

    def event(self, event: PartEvent) -> list[Frame]:
        """The frames of an event that is not the last one."""
        return [frame for one in self._order.take(event) for frame in self._told(one)]

    def end(self, response: LLMResponse) -> list[Frame]:
        last = _frame("message_delta", delta=ended(response), usage=usage(response.usage))
        return [*self._stop(), last, _frame("message_stop")]

    def failed(self, error: dict[str, Any]) -> list[Frame]:
        """The frames of an error in the midst of the answer; `error` is the vendor's body of one."""
        return [Frame(error, "error")]

    def _told(self, event: PartEvent) -> list[Frame]:
        match event:
            case TextDelta(text=text):
                begun = self._begin({"type": "text", "text": ""})
                return [*begun, self._delta({"type": "text_delta", "text": text})]
            case ThinkingDelta(text=text):
                begun = self._begin({"type": "thinking", "thinking": "", "signature": ""})
                return [*begun, self._delta({"type": "thinking_delta", "thinking": text})]
            case ToolCallStart(id=id_, name=name):
                self._argued = False
                return self._begin({"type": "tool_use", "id": id_, "name": name, "input": {}})
            case ToolCallDelta(arguments=arguments):
                self._argued = True
                return [self._delta({"type": "input_json_delta", "partial_json": arguments})]
            case PartDone(part=part):
                return self._whole(part)

    def _whole(self, part: AnyPart) -> list[Frame]:
        """What the deltas of a part have not told, and its end."""
        if not self._open:
            block = block_of(part)
            return [] if block is None else [*self._begin(block), *self._stop()]
        frames: list[Frame] = []
        match part:
            case TextPart(citations=citations):
                told = [citation(one) for one in citations if cites(one)]
                frames = [self._delta({"type": "citations_delta", "citation": one}) for one in told]
            case ThinkingPart():
                frames = [self._delta({"type": "signature_delta", "signature": sealed(part)})]
            case ToolCallPart(raw_arguments=raw) if raw and not self._argued:
                frames = [self._delta({"type": "input_json_delta", "partial_json": raw})]
        return [*frames, *self._stop()]

    def _begin(self, block: dict[str, Any]) -> list[Frame]:
        if self._open:
            return []
        self._open = True
        return [_frame("content_block_start", index=self._blocks, content_block=block)]

    def _delta(self, delta: dict[str, Any]) -> Frame:
        return _frame("content_block_delta", index=self._blocks, delta=delta)

    def _stop(self) -> list[Frame]:
        if not self._open:
            return []
        self._open = False
        self._blocks += 1
        return [_frame("content_block_stop", index=self._blocks - 1)]


def _frame(kind: str, **fields: Any) -> Frame:
    return Frame({"type": kind, **fields}, kind)
