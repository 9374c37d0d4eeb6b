"""What can be set about a pool that finds its size by itself."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ScalingOptions(BaseModel):
    """Between which sizes a pool follows its load, and how fast; times are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(default=False, description="Whether the pool's size follows its load.")
    min_size: int = Field(default=1, ge=1, description="Actors that the pool keeps without any load.")
    max_size: int = Field(default=8, ge=1, description="Actors that the pool has at most.")
    target: float = Field(
        default=0.7,
        gt=0,
        le=1,
        description="The share of max_in_flight that the calls of an actor shall take up; above it the "
        "pool grows.",
    )
    loop_lag: float = Field(
        default=0.1,
        gt=0,
        description="How late an actor's loop may come to what is due before the pool grows, however few "
        "its calls.",
    )
    up_delay: float = Field(
        default=2.0, ge=0, description="How long more actors must be needed before the pool grows."
    )
    down_delay: float = Field(
        default=60.0,
        ge=0,
        description="How long fewer actors must be enough before the pool shrinks; where that turns out "
        "too early, longer.",
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_size > self.max_size:
            raise ValueError(f"min_size {self.min_size} is above max_size {self.max_size}")
        return self
