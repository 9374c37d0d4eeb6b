"""What operators look at and change: the whole, the bus, dead letters, approvals, pools, schedules."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from llmgine.actors.gateway.shapes.base import Shape, whole
from llmgine.actors.gateway.shapes.traces import Tokens
from llmgine.actors.store.rows import ApprovalState


class ActorRow(Shape):
    """One actor of the runtime."""

    name: str
    kind: str
    pid: int


class PoolActorRow(Shape):
    """One provider actor as it stood `age` seconds ago; null where it has told nothing yet."""

    name: str
    state: Literal["starting", "ready", "draining"]
    node: str
    age: float | None
    in_flight: int
    waiting: int
    limit: int
    done: int
    failed: int
    loop_lag: float
    cpu: float


class PoolRow(Shape):
    """One pool; `size` actors are wanted. One that nobody has used yet has none."""

    provider: str
    size: int = 0
    ready: int = 0
    starting: int = 0
    draining: int = 0
    in_flight: int = 0
    waiting: int = 0
    max_in_flight: int = 0
    done: int = 0
    failed: int = 0
    usable: float | None = None
    """How many calls at once the keys' quotas have room for; null where that is not known."""
    scaling: list[int] | None = None
    """The bounds between which its size follows the load; null where it does not."""
    quota: dict[str, Any] = Field(default_factory=dict)
    changes: dict[str, Any] = Field(default_factory=dict)
    failure: str | None = None
    actors: list[PoolActorRow] = Field(default_factory=list)


class Overview(Shape):
    """The runtime at a glance; counts without a time span are since their actors began."""

    runtime: str
    started: datetime
    now: datetime
    actors: list[ActorRow]
    drivers: int
    sessions: int | None
    """Those that are open, sleeping ones included; null while the store is away, as the next three."""
    turns_pending: int | None
    """Sessions with turns that have not ended."""
    approvals_pending: int | None
    """Up to 100 are counted."""
    dead_letters: int | None
    breakers_open: int
    queue_size: int
    bus: dict[str, int | float]
    """The bus's counters by name."""
    pools: list[PoolRow]
    tokens: Tokens
    cost: Decimal | None


class HandlerRow(Shape):
    """One handler: its mailbox, its breaker and what became of its messages."""

    name: str
    kind: str
    type: str
    session: str
    queue_size: int
    in_flight: int
    breaker: str
    counts: dict[str, int | float]


class BusState(Shape):
    """The bus: its counters over all routers, and every handler."""

    counters: dict[str, int | float]
    handlers: list[HandlerRow]


class LetterRow(Shape):
    """One dead letter in a list."""

    id: str
    message: str
    type: str
    session: str
    handler: str
    command: bool
    reason: str
    attempts: int
    time: datetime
    published: datetime
    error: str = ""
    """What the last attempt failed with."""


class LetterError(Shape):
    """How one attempt failed."""

    kind: str
    text: str
    time: datetime


class LetterDetail(LetterRow):
    """One dead letter with all that is known of it."""

    errors: list[LetterError]
    metadata: dict[str, Any]
    fields: dict[str, Any]
    undecodable: str = ""


class Replayed(Shape):
    """What came of a replay: `handled`, and the letter is gone; or `text` says why it is still there."""

    id: str
    handled: bool
    attempts: int
    text: str


class ApprovalRow(Shape):
    """One tool call that waits, or waited, for somebody's leave."""

    id: str
    session: str
    turn: str
    tool: str
    arguments: dict[str, Any]
    reason: str
    state: ApprovalState
    created: datetime
    expires: datetime | None
    answered: datetime | None
    by: str
    note: str


class AnswerBody(Shape):
    """The answer to an approval."""

    approve: bool
    note: str = Field(default="", max_length=2000)


class ScaleBody(Shape):
    """How many actors a pool shall have."""

    size: Annotated[int, Field(ge=0, le=1000), BeforeValidator(whole)]


class ScheduleRow(Shape):
    """One event that is kept for later."""

    id: str
    type: str
    session: str
    next_at: datetime
    fired: int
    every: float | None
    cron: str | None
    zone: str
    until: datetime | None
    misfire: str


class Done(Shape):
    """It was done; `message` says what."""

    message: str


class SettingsTree(Shape):
    """The runtime's settings, secrets masked."""

    settings: dict[str, Any]


class ModelRow(Shape):
    """One model that can be asked for by its name."""

    id: str
    provider: str
