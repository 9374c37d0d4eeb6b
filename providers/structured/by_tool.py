"""The call of an output tool, heard as the text that it stands for."""

from __future__ import annotations

from llmgine.providers.codecs.assembly import compact
from llmgine.providers.contracts import AnyPart, FinishReason, LLMResponse, Message, TextPart, ToolCallPart
from llmgine.providers.events import (
    Failed,
    PartDone,
    Reset,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)


class AsText:
    """Events of one call in which the first call of tool `name` becomes a text part; others stay calls."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._index: int | None = None
        self._said = False

    def take(self, event: StreamEvent) -> StreamEvent | None:
        """The event as the caller is to see it; None for one that says nothing."""
        match event:
            case ToolCallStart(index=index, name=self._name) if self._index is None:
                self._index = index
                return None
            case ToolCallDelta(index=self._index, arguments=arguments):
                self._said = True
                return TextDelta(event.index, arguments)
            case Failed(partial=Message() as partial):
                event.partial = self._message(partial)
            case Reset():
                self._index, self._said = None, False
        return event

    def finished(self, event: PartDone) -> list[StreamEvent]:
        """A finished part; a call whose arguments came all at once has not been said before."""
        if not self._is_answer(event):
            return [event]
        assert isinstance(event.part, ToolCallPart)
        self._index = event.index
        text = _text(event.part)
        delta: list[StreamEvent] = [] if self._said or not text.text else [TextDelta(event.index, text.text)]
        self._said = True
        return [*delta, PartDone(event.index, text)]

    def response(self, response: LLMResponse) -> LLMResponse:
        """The response with the answer as text; other calls of it are still to be run."""
        message = self._message(response.message)
        reason = response.finish_reason
        if reason is FinishReason.TOOL_CALLS and not message.tool_calls:
            reason = FinishReason.STOP
        return response.model_copy(update={"message": message, "finish_reason": reason})

    def _is_answer(self, event: PartDone) -> bool:
        if not isinstance(event.part, ToolCallPart) or event.part.name != self._name:
            return False
        return self._index is None or self._index == event.index

    def _message(self, message: Message) -> Message:
        parts: list[AnyPart] = []
        seen = False
        for part in message.parts:
            if isinstance(part, ToolCallPart) and part.name == self._name and not seen:
                seen = True
                parts.append(_text(part))
            elif not isinstance(part, ToolCallPart) or part.name != self._name:
                parts.append(part)
        return message.model_copy(update={"parts": tuple(parts)})


def _text(part: ToolCallPart) -> TextPart:
    # It has no origin: nothing of the call, its id or its seal, may go back as a text's.
    return TextPart(text=part.raw_arguments or compact(part.arguments or {}))
