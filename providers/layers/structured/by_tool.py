"""The call of an output tool, heard as the text that it stands for."""

from __future__ import annotations

from llmgine.providers.codecs.assembly import compact
from llmgine.providers.contracts import AnyPart, FinishReason, LLMResponse, Message, TextPart, ToolCallPart
from llmgine.providers.events import (
    Done,
    Failed,
    PartDone,
    Reset,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)


class AsText:
    """Events of one call in which the first call of tool `name` becomes a text part, and further ones of it
    say nothing; calls of other tools stay calls."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.clear()

    def clear(self) -> None:
        """It is all taken back."""
        self._index: int | None = None
        self._said = False
        self._further: set[int] = set()

    def take(self, event: StreamEvent) -> list[StreamEvent]:
        """The event as the caller is to hear it."""
        match event:
            case ToolCallStart(index=index, name=self._name):
                self._begin(index)
                return []
            case ToolCallDelta(index=index, arguments=arguments) if index == self._index:
                self._said = True
                return [TextDelta(index, arguments)]
            case PartDone(index=index, part=ToolCallPart(name=self._name) as part):
                return self._finished(index, part)
            case ToolCallDelta(index=index) if index in self._further:
                return []
            case Failed(partial=Message() as partial):
                event.partial = self._message(partial)
            case Done():
                event.response = self._response(event.response)
            case Reset():
                self.clear()
        return [event]

    def _begin(self, index: int) -> None:
        if self._index is None:
            self._index = index
        elif index != self._index:
            self._further.add(index)

    def _finished(self, index: int, part: ToolCallPart) -> list[StreamEvent]:
        """A whole call; one whose arguments came all at once has not been said before."""
        self._begin(index)
        if index != self._index:
            return []
        text = _text(part)
        delta: list[StreamEvent] = [] if self._said or not text.text else [TextDelta(index, text.text)]
        self._said = True
        return [*delta, PartDone(index, text)]

    def _response(self, response: LLMResponse) -> LLMResponse:
        """The response with the answer as text; calls of other tools are still to be run."""
        message = self._message(response.message)
        reason = response.finish_reason
        if reason is FinishReason.TOOL_CALLS and not message.tool_calls:
            reason = FinishReason.STOP
        return response.model_copy(update={"message": message, "finish_reason": reason})

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
    return TextPart(text=part.raw_arguments or ("" if part.arguments is None else compact(part.arguments)))
