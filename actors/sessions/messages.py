"""What happens to sessions and their turns, as events on the bus.

The supervisor publishes the start and the end of each opening, the session what happens in between.
"""

from __future__ import annotations

from decimal import Decimal

from llmgine.actors.bus import Event


class SessionStarted(Event):
    """An opening of the session began; openings count up."""

    opening: int


class SessionEnded(Event):
    """The opening is over; `error` says what ended it where that was an error."""

    opening: int
    error: str | None = None


class TurnStarted(Event):
    """A turn has begun to run."""

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


class ToolCompleted(Event):
    """A tool call has ended."""

    turn_id: str
    call_id: str
    name: str
    ok: bool
    seconds: float
