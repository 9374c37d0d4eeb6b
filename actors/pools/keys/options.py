"""What can be set about keys that fail."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from llmgine.actors.breaking import BreakerPolicy


class KeysOptions(BaseModel):
    """How long a provider actor leaves a key alone after which failure; times are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    breaker: BreakerPolicy = Field(
        default=BreakerPolicy(
            kind="rate", minimum_calls=20, open_for=5.0, open_cap=60.0, permits=2, successes=2
        ),
        description="When calls with one key, or with one key to one model, are held back because they fail.",
    )
    pause: float = Field(
        default=1.0,
        gt=0,
        description="Seconds that a key rests for a model which it was limited for, where the provider names "
        "no time; doubled each further time in a row.",
    )
    longest_pause: float = Field(default=60.0, gt=0, description="What that grows to, in seconds.")
    aside: float = Field(
        default=300.0,
        gt=0,
        description="Seconds in which other keys go before one that may not use a model or has no money.",
    )
