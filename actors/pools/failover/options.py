"""What can be set about calls that fail: how often they are tried, for how long, and what is left alone."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from llmgine.actors.breaking import BreakerPolicy


class BudgetOptions(BaseModel):
    """How many calls of one process may be made once more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ratio: float = Field(default=0.1, ge=0, description="Further tries per call, in the long run.")
    minimum: int = Field(
        default=10, ge=0, description="Further tries that are free of that ratio, in each ten seconds."
    )


class HedgeBudgetOptions(BudgetOptions):
    """How many calls of one process may be made at two actors at once."""

    ratio: float = Field(default=0.05, ge=0, description="Second tries per call, in the long run.")
    minimum: int = Field(
        default=1, ge=0, description="Second tries that are free of that ratio, in each ten seconds."
    )


class ModelBreakerPolicy(BreakerPolicy):
    """When a model that fails is left alone for a while; times are seconds."""

    kind: Literal["window", "rate"] = Field(
        "rate", description="What is counted: failures in time, or a share."
    )
    minimum_calls: int = Field(20, ge=1, description="Attempts before any share is looked at.")
    open_for: float = Field(5.0, gt=0, description="How long it stays open the first time.")
    open_cap: float = Field(60.0, gt=0, description="The longest that it stays open.")


class HedgeOptions(BaseModel):
    """Calls that a second actor is asked for too, where the first is slow to begin."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(default=False, description="Whether slow calls are made a second time.")
    after: float | None = Field(
        default=None,
        gt=0,
        description="Seconds without a first token after which they are; None: longer than 95 of the "
        "model's latest 100 calls took to it.",
    )
    budget: HedgeBudgetOptions = Field(
        default_factory=HedgeBudgetOptions, description="How many calls may be."
    )


class FailoverOptions(BaseModel):
    """What becomes of calls that fail; times are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tries: int = Field(
        default=2, ge=1, description="How often a call tries one model, before the next of its chain."
    )
    base: float = Field(default=0.1, gt=0, description="The longest wait before a second try.")
    cap: float = Field(default=5.0, gt=0, description="The longest wait before any further try.")
    patience: float = Field(
        default=30.0,
        ge=0,
        description="How long a call waits for a provider that says when it will be ready again, or for "
        "actors that are away, if no other model may take over.",
    )
    budget: BudgetOptions = Field(
        default_factory=BudgetOptions, description="Further tries of the same model, of all calls together."
    )
    wait: float = Field(
        default=1.0,
        ge=0,
        description="How long a call waits in an actor for a place, a key or quota while another model may "
        "take over; without one until its deadline.",
    )
    breaker: ModelBreakerPolicy = Field(
        default_factory=ModelBreakerPolicy,
        description="When a model is passed over, for the next of a chain or a failure at once: its "
        "provider fails, takes too long or cannot be reached.",
    )
    hedge: HedgeOptions = Field(
        default_factory=HedgeOptions, description="A second try while the first has not begun to answer."
    )
