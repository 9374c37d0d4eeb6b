"""What happens around one handler when it fails, is slow, or cannot keep up: plain values, set per handler.

Whoever registers a handler may give these; what is not given comes from the settings of the bus.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

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


class BreakerPolicy(BaseModel):
    """When a failing handler is left alone for a while; times are seconds.

    `kind="window"` opens after `failures` failed attempts within `window` seconds. `kind="rate"` opens
    when, of the last `calls` attempts and once there are `minimum_calls`, at least the share
    `failure_rate` has failed. Either kind also opens where at least the share `slow_rate` of the last
    `calls` attempts took longer than `slow_after`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(True, description="Whether the handler has a breaker at all.")
    kind: Literal["window", "rate"] = Field(
        "window", description="What is counted: failures in time, or a share."
    )
    failures: int = Field(5, ge=1, description="Failures within the window that open it.")
    window: float = Field(60.0, gt=0, description="How long a failure counts.")
    calls: int = Field(100, ge=1, description="How many of the latest attempts a share is taken of.")
    minimum_calls: int = Field(100, ge=1, description="Attempts before any share is looked at.")
    failure_rate: float = Field(0.5, gt=0, le=1, description="The share of failures that opens it.")
    slow_rate: float = Field(1.0, gt=0, le=1, description="The share of slow attempts that opens it.")
    slow_after: float | None = Field(
        None, gt=0, description="How long an attempt may take before it counts as slow; None: none ever does."
    )
    open_for: float = Field(60.0, gt=0, description="How long it stays open the first time.")
    growth: float = Field(2.0, ge=1, description="How much longer it stays open each further time in a row.")
    open_cap: float = Field(600.0, gt=0, description="The longest that it stays open.")
    jitter: float = Field(0.1, ge=0, le=1, description="The share of the open time that is left to chance.")
    permits: int = Field(3, ge=1, description="Attempts that may run at a time while it is half-open.")
    successes: int = Field(3, ge=1, description="Successes in a row that close it.")
    park_for: float = Field(
        600.0, gt=0, description="How long an event waits for an open breaker before it is a dead letter."
    )

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.minimum_calls > self.calls:
            raise ValueError(
                f"minimum_calls {self.minimum_calls} can never be reached: calls is {self.calls}"
            )
        if self.open_cap < self.open_for:
            raise ValueError(f"open_cap {self.open_cap:g} lies below open_for {self.open_for:g}")
        return self


class BatchPolicy(BaseModel):
    """How many events a batch handler gets at a time, and how long the first of them waits, in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: int = Field(100, ge=1, le=10_000, description="Events in one batch, at most.")
    wait: float = Field(0.01, ge=0, description="How long the first event of a batch waits for more.")
