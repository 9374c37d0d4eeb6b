"""What an exporter is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from llmgine.telemetry.records import Span


class Taken(NamedTuple):
    """What became of spans that were not all taken.

    `refused` of them are lost for good, `again` may be handed over once more, not before `after`
    seconds where the receiver said so. The others were taken.
    """

    refused: int = 0
    again: Sequence[Span] = ()
    after: float | None = None
    reason: str = ""


class Exporter(Protocol):
    """Takes finished spans somewhere; called in one thread of its own, where it may block and fail.

    A span that was closed because its process seemed gone may come a second time, with its real end.
    """

    @property
    def name(self) -> str: ...

    def export(self, spans: Sequence[Span]) -> Taken | None:
        """Take these spans; None where all were taken.

        An exception loses them for this exporter alone, and is counted.
        """

    def idle(self) -> bool | None:
        """Nothing has come for a moment: whatever waited for more may go out.

        True where something still waits and wants to be told of the next quiet moment too.
        """

    def close(self) -> None:
        """Nothing comes any more."""
