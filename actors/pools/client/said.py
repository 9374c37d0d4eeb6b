"""What a call has said so far, for when it never says the rest; costs a stream that does next to nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from llmgine.providers.events import (
    PartDone,
    Reset,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStart,
)

if TYPE_CHECKING:
    from llmgine.providers.layers.recovery.heard import Heard


class Said:
    """The events of one try, kept as little as what is asked of them later allows."""

    __slots__ = ("_others", "_parts", "_texts")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """It is all taken back."""
        self._texts: dict[int, list[str]] = {}
        self._parts: dict[int, PartDone] = {}
        self._others: dict[int, ThinkingDelta | ToolCallStart | ToolCallDelta] = {}

    @property
    def is_empty(self) -> bool:
        return not (self._texts or self._parts or self._others)

    def add(self, event: StreamEvent) -> None:
        """An event that is no end."""
        if isinstance(event, TextDelta):
            try:
                self._texts[event.index].append(event.text)
            except KeyError:
                self._texts[event.index] = [event.text]
        elif isinstance(event, PartDone):
            self._parts[event.index] = event
            self._texts.pop(event.index, None)
        elif isinstance(event, Reset):
            self.clear()
        else:
            assert isinstance(event, ThinkingDelta | ToolCallStart | ToolCallDelta)
            self._others.setdefault(event.index, event)

    def heard(self) -> Heard:
        """The same as whoever puts answers together has heard it."""
        from llmgine.providers.layers.recovery.heard import Heard

        heard = Heard()
        texts = {index: TextDelta(index, "".join(text)) for index, text in self._texts.items()}
        for _, event in sorted({**self._others, **self._parts, **texts}.items()):
            heard.take(replace(event))
        return heard
