"""What can be set about keys that fail."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from llmgine.actors.breaking import BreakerPolicy


class KeyBreakerPolicy(BreakerPolicy):
    """When a key, or a key with a model, is left alone for a while; times are seconds."""

    kind: Literal["window", "rate"] = Field(
        "rate", description="What is counted: failures in time, or a share."
    )
    minimum_calls: int = Field(20, ge=1, description="Calls before any share is looked at.")
    open_for: float = Field(5.0, gt=0, description="How long it stays open the first time.")
    open_cap: float = Field(60.0, gt=0, description="The longest that it stays open.")


class KeysOptions(BaseModel):
    """How long a provider actor leaves a key alone after which failure; times are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    breaker: KeyBreakerPolicy = Field(
        default_factory=KeyBreakerPolicy,
        description="When calls with one key, or with one key to one model, are held back because they fail.",
    )
    pause: float = Field(
        default=1.0,
        gt=0,
        description="Seconds in which other keys go before one that was limited for a model, where the "
        "provider names no time; doubled each further time in a row.",
    )
    longest_pause: float = Field(default=60.0, gt=0, description="What that grows to, in seconds.")
    aside: float = Field(
        default=300.0,
        gt=0,
        description="Seconds in which other keys go before one that may not use a model or has no money.",
    )
