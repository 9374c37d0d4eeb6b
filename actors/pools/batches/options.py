"""What can be set about batches."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class BatchOptions(BaseModel):
    """How a map with `batch=True` waits for its batches."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    first_pause: float = Field(
        default=5.0, gt=0, description="Seconds until a new batch is asked about for the first time."
    )
    longest_pause: float = Field(
        default=300.0, gt=0, description="Seconds between two questions about a batch at most."
    )
    patience: float = Field(
        default=3600.0,
        ge=0,
        description="Seconds for which a provider that fails, or cannot be reached, is asked again.",
    )
