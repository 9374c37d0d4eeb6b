"""What happens to sessions and their turns, as events on the bus.

The supervisor publishes the start and the end of each opening, the session what happens in between.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, TypeVar

from llmgine.actors.bus import Event, Message
from llmgine.actors.bus.messages import BUS
from llmgine.providers.errors import InvalidRequest

M = TypeVar("M", bound=Message)


class SessionStarted(Event):
    """An opening of the session began; openings count up."""

    opening: int


class SessionPassivated(Event):
    """An idle session gave back its place; it sleeps, and wakes for whatever comes."""

    opening: int


class SessionWoken(Event):
    """A session is in a process again, after it slept or its process died; `reason` says for what."""

    opening: int
    reason: str = ""


class SessionEnded(Event):
    """The opening is over; `error` says what ended it where that was an error."""

    opening: int
    error: str | None = None


class TurnStarted(Event):
    """A turn has begun to run."""

    turn_id: str


class TurnSuspended(Event):
    """A turn does nothing but wait for approvals; its deadline stands still, and the session may sleep."""

    turn_id: str


class TurnCompleted(Event):
    """A turn has ended; `error` is the kind of its failure, None where it went well.

    Tokens are those that the providers reported over all model calls of the turn; None where none did.
    """

    turn_id: str
    model: str
    steps: int
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: Decimal | None = None
    seconds: float
    error: str | None = None


class ToolStarted(Event):
    """A tool is about to be called."""

    turn_id: str
    call_id: str
    name: str


class ToolCompleted(Event):
    """A tool call has ended."""

    turn_id: str
    call_id: str
    name: str
    ok: bool
    seconds: float


class ApprovalRequested(Event):
    """A tool call waits for somebody's leave; it may be told again where its session has woken meanwhile.

    `runtime.approvals.get(approval_id)` has its arguments; `expires` is when it counts as denied.
    """

    approval_id: str
    turn_id: str
    call_id: str
    tool: str
    reason: str
    expires: datetime | None = None


class ApprovalAnswered(Event):
    """An approval was given or refused, or its time is over; `by` and `note` are empty where nobody did."""

    approval_id: str
    turn_id: str
    call_id: str
    tool: str
    state: Literal["approved", "denied", "expired"]
    by: str = ""
    note: str = ""


class ToolProgressed(Event):
    """What a tool at work told of its progress; published only while somebody subscribes to this class."""

    turn_id: str
    call_id: str
    name: str
    data: Any = None


class StreamDelta(Event):
    """A piece of what a model is saying; published only while somebody subscribes to this class.

    Pieces that come faster than the bus takes them arrive as one. Those of one turn, `step`, `kind` and
    `index` concatenate in their order; `restarted` says that what the step had said before is void.
    """

    turn_id: str
    step: int
    kind: Literal["text", "thinking"]
    index: int
    text: str
    restarted: bool = False


def in_scope(message: M, session_id: str) -> M:
    """The message in the session's scope; `InvalidRequest` for one of another session."""
    if message.session_id == session_id:
        return message
    if message.session_id == BUS:
        return message.model_copy(update={"session_id": session_id})
    raise InvalidRequest(
        f"this {type(message).__name__} belongs to session {message.session_id!r}, not to {session_id!r}; "
        f"publish it through its own session or through runtime.bus"
    )
