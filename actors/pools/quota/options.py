"""What can be set about how limits are shared out."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class QuotaOptions(BaseModel):
    """How the limits of a provider's keys are leased to its actors; times are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lease: float = Field(
        default=8.0,
        ge=1,
        le=60,
        description="How long an actor may use what it was leased of a limit; what it leaves is free again "
        "after it. So long calls may go on while the supervisor is away, as far as the lease goes.",
    )
    trial: int = Field(
        default=8,
        ge=1,
        description="Calls of a key to a model that may be unanswered at once while nothing is known of the "
        "provider's limits; one more for each that was answered well.",
    )
