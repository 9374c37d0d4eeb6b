"""Tells a session's observer, and the turn's span, what goes by in a turn's stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmgine.actors.sessions.running.observer import Piece, TurnObserver
from llmgine.actors.sessions.turns.events import (
    ApprovalNeeded,
    ApprovalSettled,
    Steered,
    StepStarted,
    ToolCalled,
    ToolProgress,
    TurnEvent,
)
from llmgine.providers.contracts import ToolCallPart
from llmgine.providers.events import Reset, TextDelta, ThinkingDelta
from llmgine.telemetry import names


class Telling:
    """An `emit` of one turn that its observer hears, too; `note` takes what belongs on the turn's span."""

    def __init__(
        self,
        emit: Callable[[TurnEvent], None],
        observer: TurnObserver,
        session_id: str,
        turn_id: str,
        note: Callable[[str, dict[str, Any]], None] = lambda name, attributes: None,
    ) -> None:
        self._note = note
        self._emit = emit
        self._observer = observer
        self._session_id = session_id
        self._turn_id = turn_id
        self._step = 0
        self._restarted = False
        self._calls: dict[str, ToolCallPart] = {}

    def __call__(self, event: TurnEvent) -> None:
        self._emit(event)
        match event:
            case TextDelta(index, text):
                self._said(Piece(self._step, "text", index, text, self._restarted))
            case ThinkingDelta(index, text):
                self._said(Piece(self._step, "thinking", index, text, self._restarted))
            case StepStarted(step):
                self._step, self._restarted = step, False
            case Reset():
                self._restarted = True
            case ToolCalled(call):
                self._calls[call.id] = call
                self._observer.tool_started(self._session_id, self._turn_id, call)
            case ToolProgress(call_id, data) if call_id in self._calls:
                self._observer.tool_progressed(self._session_id, self._turn_id, self._calls[call_id], data)
            case ApprovalNeeded(id_, call):
                told = {names.LLMGINE_APPROVAL_ID: id_, names.GEN_AI_TOOL_NAME: call.name}
                self._note(names.EVENT_APPROVAL_NEEDED, told)
            case ApprovalSettled(id_, _, state):
                told = {names.LLMGINE_APPROVAL_ID: id_, names.LLMGINE_APPROVAL_STATE: state}
                self._note(names.EVENT_APPROVAL_SETTLED, told)
            case Steered():
                self._note(names.EVENT_STEERED, {})
            case _:
                return

    def _said(self, piece: Piece) -> None:
        self._restarted = False
        self._observer.said(self._session_id, self._turn_id, piece)
