"""What can be set about the actors' lives and the network that they use."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ControlOptions(BaseModel):
    """Leases, deadlines and placement; times are seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tcp: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="Whether actors listen on TCP; auto does so where the cluster has several nodes.",
    )
    owner_grace: float = Field(
        default=10.0,
        ge=0,
        description="A runtime lives this long after the link of the driver that launched it broke.",
    )
    driver_grace: float = Field(
        default=30.0, ge=0, description="A session keeps a driver this long after that driver's link broke."
    )
    child_silence: float = Field(
        default=60.0,
        gt=0,
        description="An actor that has heard nothing of its supervisor for this long ends itself.",
    )
    stop_grace: float = Field(
        default=10.0,
        ge=0,
        description="How long a stop waits for what is admitted before it reports what is left.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO",
        description="How grave a thing is at least that actors log; `llmgine logs` reads it on all nodes.",
    )
    actor_cpus: float = Field(
        default=0.05, ge=0, description="CPUs that Ray holds back for each of our actors but the providers'."
    )
