"""What a model call has said so far, for when it never says the rest."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby

from llmgine.providers.contracts import Message, TextPart
from llmgine.providers.events import PartDone, TextDelta, ThinkingDelta, ToolCallDelta


class Partial:
    """Collects text by part. Thinking and calls that were cut off cannot be replayed, and are not kept."""

    def __init__(self) -> None:
        self._pieces: dict[int, list[str]] = {}
        self._parts: dict[int, TextPart] = {}
        self._unsaid: list[tuple[int, str]] = []

    def add(self, event: TextDelta | ThinkingDelta | ToolCallDelta) -> None:
        if isinstance(event, TextDelta):
            self._pieces.setdefault(event.index, []).append(event.text)
            self._unsaid.append((event.index, event.text))

    def finished(self, event: PartDone) -> None:
        if isinstance(event.part, TextPart):
            self._pieces.setdefault(event.index, [])
            self._parts[event.index] = event.part

    def clear(self) -> None:
        self._pieces.clear()
        self._parts.clear()
        self._unsaid.clear()

    def restore(self, pieces: Iterable[tuple[int, str]]) -> None:
        """What the call had said before its process died."""
        self.clear()
        for index, text in pieces:
            self._pieces.setdefault(index, []).append(text)

    def take_new(self) -> tuple[tuple[int, str], ...]:
        """What was said since this was asked last, neighbours of one part joined."""
        joined = [
            (index, "".join(text for _, text in group))
            for index, group in groupby(self._unsaid, key=lambda piece: piece[0])
        ]
        self._unsaid.clear()
        return tuple(joined)

    def message(self) -> Message | None:
        """The text as the model's message; None where there is none."""
        parts = [
            self._parts.get(index) or TextPart(text="".join(pieces))
            for index, pieces in sorted(self._pieces.items())
        ]
        kept = tuple(part for part in parts if part.text)
        return Message(role="assistant", parts=kept) if kept else None
