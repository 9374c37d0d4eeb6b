"""What a session tells of its turns to whoever watches, beside the stream of each turn."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from llmgine.actors.store.rows import ApprovalRow
from llmgine.providers.contracts import ToolCallPart, Usage


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


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of what a model is saying; `restarted` says that what the step had said before is void."""

    step: int
    kind: Literal["text", "thinking"]
    index: int
    text: str
    restarted: bool = False


class TurnObserver:
    """Told of each turn and tool call as it happens; does nothing by itself. It may not wait or raise."""

    def turn_started(self, session_id: str, turn_id: str) -> None:
        return

    def turn_suspended(self, session_id: str, turn_id: str) -> None:
        return

    def said(self, session_id: str, turn_id: str, piece: Piece) -> None:
        return

    def approval_requested(self, row: ApprovalRow) -> None:
        return

    def approval_answered(self, row: ApprovalRow) -> None:
        return

    def tool_started(self, session_id: str, turn_id: str, call: ToolCallPart) -> None:
        return

    def tool_progressed(self, session_id: str, turn_id: str, call: ToolCallPart, data: Any) -> None:
        return

    def tool_completed(self, summary: ToolSummary) -> None:
        return

    def turn_completed(self, summary: TurnSummary) -> None:
        return
