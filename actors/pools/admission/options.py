"""What can be set about the admission of calls to a provider actor."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class AdmissionOptions(BaseModel):
    """How many calls one provider actor lets through, and what becomes of the others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    adaptive: bool = Field(
        default=True,
        description="whether fewer calls than max_in_flight run at once while the provider says that it is "
        "overloaded",
    )
    backoff: float = Field(
        default=0.7, gt=0, lt=1, description="what is left of the limit after the provider was overloaded"
    )
    waiting: int = Field(
        default=1_000, ge=0, description="calls that wait in one actor for a place before more are refused"
    )
    batch_every: int = Field(
        default=10,
        ge=1,
        description="calls of priority interactive that go before a waiting one of priority batch, at most",
    )
