"""What can be set about a pool's response cache."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class CacheOptions(BaseModel):
    """Whether equal requests get the same answer, for how long, and how much is kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = Field(
        default=False,
        description="Whether each request may be answered with the kept answer to an equal one; a request's "
        "own `response_cache` goes before.",
    )
    ttl: float = Field(
        default=3600.0, gt=0, description="Seconds for which an answer is given again after it was made."
    )
    share: bool = Field(
        default=True,
        description="Whether equal requests that come while one of them is under way share its call.",
    )
    max_entries: int = Field(
        default=1_000, ge=0, description="Answers that one provider actor holds in memory."
    )
    max_bytes: int = Field(
        default=64 << 20, ge=0, description="Bytes of answers that one provider actor holds in memory."
    )
    max_answer_bytes: int = Field(
        default=4 << 20,
        ge=1 << 10,
        description="A larger answer is not kept, and who comes after so much of it was said does not share "
        "it; a reader of a shared call that falls so far behind is cut off.",
    )
    store: bool = Field(
        default=True,
        description="Whether answers are kept in the runtime's store too, for its other actors and for "
        "after a restart; store.kept_responses and store.kept_response_bytes bound them.",
    )
    store_timeout: float = Field(
        default=0.5, gt=0, description="Seconds that a call waits at most for what the store has kept."
    )
