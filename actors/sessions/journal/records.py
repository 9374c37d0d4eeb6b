"""What a session writes down: each thing that a turn is about to do, and what came of it.

The records of a session, in their order, are all that it takes to go on elsewhere: `state` makes of
them what the session was, `recovery` how its unfinished turn goes on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llmgine.actors.sessions.context.entries import ContextEntry
from llmgine.actors.sessions.options import RecoveryPolicy
from llmgine.actors.sessions.turns.turn import TurnRequest
from llmgine.providers.contracts import LLMResponse, Message, ToolCallPart, ToolResultPart


@dataclass(frozen=True, slots=True)
class TurnQueued:
    """A turn was taken on; `deadline` is when its time is up. Both times are nanoseconds since 1970."""

    request: TurnRequest
    accepted: int
    deadline: int


@dataclass(frozen=True, slots=True)
class TurnBegan:
    """A turn began to run; `mark` is the length of the conversation before it."""

    turn_id: str
    mark: int
    recovery: RecoveryPolicy = "retry"
    trace_id: str = ""


@dataclass(frozen=True, slots=True)
class CancelAsked:
    """Somebody cancelled the turn; it never goes on after that, wherever the session wakes."""

    turn_id: str


@dataclass(frozen=True, slots=True)
class SteerAsked:
    """Something was said to the turn, for its next model call to read."""

    turn_id: str
    steer: str
    message: Message


@dataclass(frozen=True, slots=True)
class SteerRead:
    """What was said to the turn is the entry `sequence` of the conversation."""

    turn_id: str
    steer: str
    message: Message
    sequence: int


@dataclass(frozen=True, slots=True)
class ContextChanged:
    """The conversation changed otherwise; `turn_id` is empty where no turn did it."""

    turn_id: str
    entry: ContextEntry


@dataclass(frozen=True, slots=True)
class ModelCalled:
    """Written beside the call, so it may be missing where the process died in that moment."""

    turn_id: str
    step: int
    model: str


@dataclass(frozen=True, slots=True)
class Streamed:
    """What the model call has said since the last such record: pieces of text by part."""

    turn_id: str
    step: int
    pieces: tuple[tuple[int, str], ...]
    restarted: bool = False  # the call began anew: what it had said before is void


@dataclass(frozen=True, slots=True)
class ModelAnswered:
    """A step's answer; its message is the entry `sequence` of the conversation, None where it is empty."""

    turn_id: str
    step: int
    response: LLMResponse
    sequence: int | None


@dataclass(frozen=True, slots=True)
class ToolBegan:
    turn_id: str
    call: ToolCallPart
    idempotent: bool


@dataclass(frozen=True, slots=True)
class ToolEnded:
    turn_id: str
    result: ToolResultPart


@dataclass(frozen=True, slots=True)
class ToolsAnswered:
    """The results of these calls are the entry `sequence` of the conversation, in this order."""

    turn_id: str
    calls: tuple[str, ...]
    sequence: int


@dataclass(frozen=True, slots=True)
class ApprovalAsked:
    """A call waits for somebody's word."""

    turn_id: str
    approval: str
    call_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class ApprovalAnswered:
    turn_id: str
    approval: str
    call_id: str
    decision: Literal["approved", "denied", "expired"]
    note: str = ""


@dataclass(frozen=True, slots=True)
class WaitBegan:
    """From `at` on, in nanoseconds since 1970, the turn does nothing but wait for approvals."""

    turn_id: str
    at: int


@dataclass(frozen=True, slots=True)
class WaitEnded:
    """At `at` the turn went on; the time in between is none of its own."""

    turn_id: str
    at: int


@dataclass(frozen=True, slots=True)
class TurnEnded:
    turn_id: str
    outcome: Literal["done", "failed", "cancelled"]


JournalRecord = (
    TurnQueued
    | TurnBegan
    | CancelAsked
    | SteerAsked
    | SteerRead
    | ContextChanged
    | ModelCalled
    | Streamed
    | ModelAnswered
    | ToolBegan
    | ToolEnded
    | ToolsAnswered
    | ApprovalAsked
    | ApprovalAnswered
    | WaitBegan
    | WaitEnded
    | TurnEnded
)
