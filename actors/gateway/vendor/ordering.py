"""A streamed answer part by part: nothing of the next part comes before the one under way is whole."""

from __future__ import annotations

from llmgine.providers.codecs.assembly import parse_arguments
from llmgine.providers.contracts import AnyPart, TextPart, ThinkingPart, ToolCallPart
from llmgine.providers.events import (
    PartDone,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStart,
)

PartEvent = TextDelta | ThinkingDelta | ToolCallStart | ToolCallDelta | PartDone


class InOrder:
    """Holds back what belongs to later parts, as servers may write several calls at the same time.

    Each part that it gives out ends with its `PartDone`. That of a text comes no later than the next part,
    that of a call as soon as its arguments are whole and another part waits.
    """

    def __init__(self) -> None:
        self._index: int | None = None
        self._begun: ToolCallStart | None = None
        self._kind: type[PartEvent] | None = None
        self._pieces: list[str] = []
        self._waiting: list[PartEvent] = []
        self._over: set[int] = set()

    def take(self, event: PartEvent) -> list[PartEvent]:
        """What is to be told now."""
        if event.index in self._over:
            return []
        if self._index in (None, event.index):
            given = [event]
            self._heard(event)
        elif self._is_whole():
            given = [self._end()]
            self._waiting.append(event)
        else:
            self._waiting.append(event)
            return []
        if self._waiting and (self._index is None or self._is_whole()):
            given += [self._end()] if self._index is not None else []
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                given += self.take(one)
        return given

    def _heard(self, event: PartEvent) -> None:
        self._index = event.index
        self._kind = self._kind or type(event)
        match event:
            case TextDelta(text=text) | ThinkingDelta(text=text):
                self._pieces.append(text)
            case ToolCallStart():
                self._begun = event
            case ToolCallDelta(arguments=arguments):
                self._pieces.append(arguments)
            case PartDone():
                self._forget()

    def _is_whole(self) -> bool:
        text = "".join(self._pieces)
        return self._begun is None or bool(text.strip() and parse_arguments(text) is not None)

    def _end(self) -> PartDone:
        """The end of the part under way, made of what was told of it."""
        assert self._index is not None
        text = "".join(self._pieces)
        part: AnyPart = ThinkingPart(text=text) if self._kind is ThinkingDelta else TextPart(text=text)
        if self._begun is not None:
            arguments = parse_arguments(text)
            part = ToolCallPart(
                id=self._begun.id, name=self._begun.name, arguments=arguments, raw_arguments=text
            )
        end = PartDone(self._index, part)
        self._forget()
        return end

    def _forget(self) -> None:
        assert self._index is not None
        self._over.add(self._index)
        self._index, self._kind, self._begun = None, None, None
        self._pieces = []
