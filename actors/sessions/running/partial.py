"""What a model call has said so far, for when it never says the rest."""

from __future__ import annotations

from llmgine.providers.contracts import Message, TextPart
from llmgine.providers.events import PartDone, TextDelta, ThinkingDelta, ToolCallDelta


class Partial:
    """Collects text by part. Thinking and calls that were cut off cannot be replayed, and are not kept."""

    def __init__(self) -> None:
        self._pieces: dict[int, list[str]] = {}
        self._parts: dict[int, TextPart] = {}

    def add(self, event: TextDelta | ThinkingDelta | ToolCallDelta) -> None:
        if isinstance(event, TextDelta):
            self._pieces.setdefault(event.index, []).append(event.text)

    def finished(self, event: PartDone) -> None:
        if isinstance(event.part, TextPart):
            self._pieces.setdefault(event.index, [])
            self._parts[event.index] = event.part

    def clear(self) -> None:
        self._pieces.clear()
        self._parts.clear()

    def message(self) -> Message | None:
        """The text as the model's message; None where there is none."""
        parts = [
            self._parts.get(index) or TextPart(text="".join(pieces))
            for index, pieces in sorted(self._pieces.items())
        ]
        kept = tuple(part for part in parts if part.text)
        return Message(role="assistant", parts=kept) if kept else None
