"""What happens around one handler when it fails, is slow, or cannot keep up: plain values, set per handler.

Whoever registers a handler may give these; what is not given comes from the settings of the bus.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from llmgine.actors import breaking

Overflow = Literal["block", "drop_oldest", "reject_new", "adaptive", "coalesce"]
"""What a full mailbox does; `coalesce` keeps the latest per key at any fill, and blocks beyond."""

Order = Literal["session", "strict"]
"""`session`: the events of each session one after another, those of the bus scope side by side;
`strict`: those of the bus scope one after another as well, retries included."""


class RetryPolicy(BaseModel):
    """How often and when a failed attempt is made again; times are seconds.

    The wait before retry n lies anywhere between 0 and `min(cap, base * 2 ** (n - 1))`: full jitter.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    retries: int = Field(3, ge=0, description="Attempts after the first one.")
    base: float = Field(0.1, gt=0, description="The longest wait before the first retry.")
    cap: float = Field(10.0, gt=0, description="The longest wait before any retry.")
    budget_ratio: float = Field(
        0.2, ge=0, description="Retries of one handler per first attempt, in the long run."
    )
    budget_reserve: int = Field(
        100,
        ge=0,
        description="Retries of one handler that are free of that ratio, earned back at 10 a second.",
    )


class BreakerPolicy(breaking.BreakerPolicy):
    """When a failing handler is left alone for a while, and how long its events wait meanwhile."""

    park_for: float = Field(
        600.0, gt=0, description="How long an event waits for an open breaker before it is a dead letter."
    )


class BatchPolicy(BaseModel):
    """How many events a batch handler gets at a time, and how long the first of them waits, in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(100, ge=1, le=10_000, description="Events in one batch, at most.")
    wait: float = Field(0.01, ge=0, description="How long the first event of a batch waits for more.")
