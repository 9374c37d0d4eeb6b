"""Where a turn writes what it is about to do and what came of it.

`append` only hands a record over; `flush` returns when all that was handed over is durable. A turn
flushes before a tool runs that may not run twice, and before its end is told to anybody. Without a
store the journal keeps nothing, and a session lives as long as its process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from llmgine.actors.sessions.context.store import ContextEntry
from llmgine.actors.sessions.turns.turn import TurnRequest
from llmgine.providers.contracts import LLMRequest, ToolCallPart, ToolResultPart


@dataclass(frozen=True, slots=True)
class TurnBegan:
    request: TurnRequest


@dataclass(frozen=True, slots=True)
class ContextChanged:
    turn_id: str
    entry: ContextEntry


@dataclass(frozen=True, slots=True)
class ModelCalled:
    """Written beside the call, so it may be missing where the process died in that moment."""

    turn_id: str
    step: int
    request: LLMRequest


@dataclass(frozen=True, slots=True)
class ToolBegan:
    turn_id: str
    call: ToolCallPart


@dataclass(frozen=True, slots=True)
class ToolEnded:
    turn_id: str
    result: ToolResultPart


@dataclass(frozen=True, slots=True)
class TurnEnded:
    turn_id: str
    outcome: Literal["done", "failed", "cancelled"]


JournalRecord = TurnBegan | ContextChanged | ModelCalled | ToolBegan | ToolEnded | TurnEnded


class Journal(Protocol):
    """The session's own record of what it does."""

    def append(self, record: JournalRecord) -> None: ...

    async def flush(self) -> None: ...


class NoJournal:
    """Keeps nothing."""

    def append(self, record: JournalRecord) -> None:
        return

    async def flush(self) -> None:
        return
