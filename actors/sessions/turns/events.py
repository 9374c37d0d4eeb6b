"""What a turn says while it runs, what it comes to, and how each travels.

A turn is steps; `StepStarted` begins each. Within a step the deltas of one part share its `index` and
concatenate to that part; `Reset` takes back what the step has streamed so far. Then come the calls of
tools and their results, and the next step. The last event is exactly one `TurnDone` or `TurnFailed`.
`TurnReset` takes back the whole turn: the session went on in another process, and what is known of the
turn there follows from its start.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, ClassVar, Literal

from pydantic_core import from_json, to_json

from llmgine.actors.sessions.errors import error_from_wire, error_to_wire, sendable
from llmgine.providers import events as provider_events
from llmgine.providers.contracts import (
    Adjustment,
    AnyPart,
    Contract,
    FinishReason,
    Message,
    ToolCallPart,
    ToolResultPart,
    Usage,
)
from llmgine.providers.errors import LlmgineError
from llmgine.providers.events import Reset, TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStart


class ToolCall(Contract):
    """One call of a tool in a turn, and what came of it.

    `result` is None where the call was never run, and in a reply whose results together are larger than
    4 MiB; each result is in its `ToolReturned` all the same.
    """

    id: str
    name: str
    arguments: dict[str, Any] | None
    result: ToolResultPart | None = None


class Reply(Contract):
    """What a turn came to.

    `model` is the one that served, as `provider/model`. `text` and `parts` are those of the last message,
    `output` the value that `output=` asked for. `tool_calls` and `usage` are of the whole turn, so is
    `cost`: US dollars, or None where the price of one of its model calls is unknown. `open_calls` are those
    of tools that whoever asked runs itself: their results are the next turn's prompt. `stop_sequence` is
    the one of `stop` that ended the last message, where its provider says which.
    """

    text: str
    parts: tuple[AnyPart, ...]
    output: Any = None
    tool_calls: tuple[ToolCall, ...] = ()
    open_calls: tuple[ToolCallPart, ...] = ()
    usage: Usage = Usage()
    cost: Decimal | None = None
    model: str
    finish_reason: FinishReason
    stop_sequence: str | None = None
    adjustments: tuple[Adjustment, ...] = ()
    steps: int = 1
    turn_id: str
    trace_id: str
    session_id: str

    def to_wire(self) -> bytes:
        return self.model_dump_json().encode()

    @classmethod
    def from_wire(cls, wire: bytes) -> Reply:
        return cls.model_validate_json(wire)


@dataclass(slots=True)
class StepStarted:
    """A model call begins; steps count from 1."""

    type: ClassVar[Literal["step_started"]] = "step_started"
    step: int
    model: str


@dataclass(slots=True)
class ApprovalNeeded:
    """A call waits until somebody approves or denies it, at the latest until `expires`."""

    type: ClassVar[Literal["approval_needed"]] = "approval_needed"
    approval_id: str
    call: ToolCallPart
    reason: str
    expires: datetime | None


@dataclass(slots=True)
class ApprovalSettled:
    """The answer is there: an approved call is run, of any other the model is told why it was not."""

    type: ClassVar[Literal["approval_settled"]] = "approval_settled"
    approval_id: str
    call_id: str
    state: Literal["approved", "denied", "expired"]
    by: str
    note: str


@dataclass(slots=True)
class ToolCalled:
    """The model's call is whole and its tool is about to run."""

    type: ClassVar[Literal["tool_called"]] = "tool_called"
    call: ToolCallPart


@dataclass(slots=True)
class ToolProgress:
    """How far a tool says that its call is: what a generator yields, or `ToolContext.progress` reports."""

    type: ClassVar[Literal["tool_progress"]] = "tool_progress"
    call_id: str
    data: Any


@dataclass(slots=True)
class ToolReturned:
    """What the model will be told of the call; errors, timeouts and cancels included."""

    type: ClassVar[Literal["tool_returned"]] = "tool_returned"
    result: ToolResultPart


@dataclass(slots=True)
class Steered:
    """What was said to the running turn has entered the conversation; the next model call reads it."""

    type: ClassVar[Literal["steered"]] = "steered"
    message: Message


@dataclass(slots=True)
class TurnReset:
    """What was told of this turn is void; it is told again from its start."""

    type: ClassVar[Literal["turn_reset"]] = "turn_reset"
    reason: str


@dataclass(slots=True)
class TurnDone:
    """The turn ended well."""

    type: ClassVar[Literal["done"]] = "done"
    reply: Reply


@dataclass(slots=True)
class TurnFailed:
    """The turn ended without an answer; `partial` is what the unfinished model call had said."""

    type: ClassVar[Literal["error"]] = "error"
    error: LlmgineError
    partial: Message | None = None


TurnEvent = (
    TextDelta
    | ThinkingDelta
    | ToolCallStart
    | ToolCallDelta
    | Reset
    | StepStarted
    | ApprovalNeeded
    | ApprovalSettled
    | ToolCalled
    | ToolProgress
    | ToolReturned
    | Steered
    | TurnReset
    | TurnDone
    | TurnFailed
)

# Codes below 16 are those of the model's own events.
_STEP_STARTED, _TOOL_CALLED, _TOOL_RETURNED, _DONE, _FAILED = 16, 17, 18, 19, 20
_STEERED, _TOOL_PROGRESS, _TURN_RESET = 21, 22, 25

_APPROVAL_NEEDED, _APPROVAL_SETTLED = 30, 31


def is_terminal(event: TurnEvent) -> bool:
    """Whether nothing follows it."""
    return isinstance(event, TurnDone | TurnFailed)


def to_wire(event: TurnEvent) -> list[Any]:
    """A msgpack-ready list; `from_wire` gives back an equal event."""
    match event:
        case StepStarted(step, model):
            return [_STEP_STARTED, step, model]
        case ApprovalNeeded(id_, call, reason, expires):
            at = expires and expires.timestamp()
            return [_APPROVAL_NEEDED, id_, call.model_dump_json().encode(), sendable(reason), at]
        case ApprovalSettled(id_, call_id, state, by, note):
            return [_APPROVAL_SETTLED, id_, call_id, state, by, note]
        case ToolCalled(call):
            return [_TOOL_CALLED, call.model_dump_json().encode()]
        case ToolProgress(call_id, data):
            return [_TOOL_PROGRESS, call_id, to_json(data)]
        case ToolReturned(result):
            return [_TOOL_RETURNED, result.model_dump_json().encode()]
        case Steered(message):
            return [_STEERED, message.model_dump_json().encode()]
        case TurnReset(reason):
            return [_TURN_RESET, reason]
        case TurnDone(reply):
            return [_DONE, reply.to_wire()]
        case TurnFailed(error, partial):
            return [_FAILED, error_to_wire(error), partial and partial.model_dump_json().encode()]
        case _:
            return provider_events.to_wire(event)


def from_wire(wire: list[Any]) -> TurnEvent:
    """The event that `to_wire` wrote; ValueError for a code that this version does not know."""
    code = wire[0]
    if code == _STEP_STARTED:
        return StepStarted(wire[1], wire[2])
    if code == _APPROVAL_NEEDED:
        expires = None if wire[4] is None else datetime.fromtimestamp(wire[4], UTC)
        return ApprovalNeeded(wire[1], ToolCallPart.model_validate_json(wire[2]), wire[3], expires)
    if code == _APPROVAL_SETTLED:
        return ApprovalSettled(*wire[1:])
    if code == _TOOL_CALLED:
        return ToolCalled(ToolCallPart.model_validate_json(wire[1]))
    if code == _TOOL_PROGRESS:
        return ToolProgress(wire[1], from_json(wire[2]))
    if code == _TOOL_RETURNED:
        return ToolReturned(ToolResultPart.model_validate_json(wire[1]))
    if code == _STEERED:
        return Steered(Message.model_validate_json(wire[1]))
    if code == _TURN_RESET:
        return TurnReset(wire[1])
    if code == _DONE:
        return TurnDone(Reply.from_wire(wire[1]))
    if code == _FAILED:
        partial = None if wire[2] is None else Message.model_validate_json(wire[2])
        return TurnFailed(error_from_wire(wire[1]), partial)
    event = provider_events.from_wire(wire)
    if isinstance(event, provider_events.PartDone | provider_events.Done | provider_events.Failed):
        raise ValueError(f"{type(event).__name__} is an event of a model call, not of a turn")
    return event
