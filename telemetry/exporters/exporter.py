"""What an exporter is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from llmgine.telemetry.records import Span


class Exporter(Protocol):
    """Takes finished spans somewhere; called in one thread of its own, where it may block and fail.

    A span that was closed because its process seemed gone may come a second time, with its real end.
    """

    @property
    def name(self) -> str: ...

    def export(self, spans: Sequence[Span]) -> None:
        """Take these spans. An exception loses them for this exporter alone, and is counted."""

    def idle(self) -> None:
        """Nothing has come for a moment: whatever waited for more may go out."""

    def close(self) -> None:
        """Nothing comes any more."""
