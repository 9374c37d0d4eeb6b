"""Sessions, their messages, turns and spans."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from pydantic import Field

from llmgine.actors.gateway.shapes.base import Shape
from llmgine.actors.gateway.shapes.traces import Tokens


class SessionRow(Shape):
    """One session in a list; what telemetry adds is null where it has forgotten the session."""

    id: str
    state: Literal["opening", "open", "passive", "ending", "closed"]
    model: str
    host: str | None
    stay: bool
    parent: str | None
    turns: int
    pending: int
    messages: int
    created: datetime
    active: datetime
    spans: int | None = None
    running: int | None = None
    """Spans that run now."""
    errors: int | None = None
    tokens: Tokens | None = None
    cost: Decimal | None = None


class TurnRow(Shape):
    """One turn of a session; `trace` is the id of its trace."""

    id: str
    state: str
    trace: str
    created: datetime
    ended: datetime | None


class ModelUsage(Shape):
    """What a session has used of one model; `cost` is null where no call was priced."""

    model: str
    calls: int
    tokens: Tokens
    cost: Decimal | None
    unpriced: int = 0
    """Calls whose price is not known, which the cost leaves out."""


class SessionDetail(SessionRow):
    """One session with its newest turns and what it has used."""

    newest_turns: list[TurnRow] = Field(default_factory=list)
    usage: list[ModelUsage] = Field(default_factory=list)


class MessageRow(Shape):
    """One message of the conversation, by its number from 0.

    Parts are as llmgine's contracts have them, but without the bytes of media.
    """

    number: int
    role: str
    turn: str | None = None
    """The turn that it began, of the newest twenty."""
    parts: list[dict[str, Any]]


class TurnBody(Shape):
    """A turn to run; `model` answers this turn only."""

    prompt: str = Field(min_length=1)
    model: str | None = Field(default=None, min_length=1)


class ReplayBody(Shape):
    """Which turn to ask again, and of which model."""

    turn_id: str = Field(min_length=1)
    model: str = Field(min_length=1)
