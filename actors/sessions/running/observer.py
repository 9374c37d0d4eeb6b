"""What a session tells of its turns to whoever watches, beside the stream of each turn."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from llmgine.providers.contracts import Usage


@dataclass(frozen=True, slots=True)
class TurnSummary:
    """A turn that has ended; `error` is the kind of its failure, None where it went well."""

    session_id: str
    turn_id: str
    model: str
    steps: int
    usage: Usage
    cost: Decimal | None
    seconds: float
    error: str | None


@dataclass(frozen=True, slots=True)
class ToolSummary:
    """A tool call that has ended, well or not."""

    session_id: str
    turn_id: str
    call_id: str
    name: str
    ok: bool
    seconds: float


class TurnObserver:
    """Told of each turn and tool call as it happens; does nothing by itself. It may not wait or raise."""

    def turn_started(self, session_id: str, turn_id: str) -> None:
        return

    def tool_completed(self, summary: ToolSummary) -> None:
        return

    def turn_completed(self, summary: TurnSummary) -> None:
        return
