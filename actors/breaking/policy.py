"""When a breaker opens, for how long, and what closes it: plain values."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class BreakerPolicy(BaseModel):
    """When what fails is left alone for a while; times are seconds.

    `kind="window"` opens after `failures` failed attempts within `window` seconds. `kind="rate"` opens
    when, of the last `calls` attempts and once there are `minimum_calls`, at least the share
    `failure_rate` has failed. Either kind also opens where at least the share `slow_rate` of the last
    `calls` attempts took longer than `slow_after`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(True, description="Whether there is a breaker at all.")
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

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.minimum_calls > self.calls:
            raise ValueError(
                f"minimum_calls {self.minimum_calls} can never be reached: calls is {self.calls}"
            )
        if self.open_cap < self.open_for:
            raise ValueError(f"open_cap {self.open_cap:g} lies below open_for {self.open_for:g}")
        return self
