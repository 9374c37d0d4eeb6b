"""What a key may use: limits that its owner sets, in force beside those that the provider tells of."""

from __future__ import annotations

from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Learning = Literal["model", "key", "off"]


class Limits(BaseModel):
    """Limits of one key, or of some of its models; what is not set is not limited here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    requests_per_minute: int | None = Field(default=None, ge=1, description="calls in any 60 seconds")
    tokens_per_minute: int | None = Field(
        default=None, ge=1, description="tokens of prompts and answers together, in any 60 seconds"
    )
    input_tokens_per_minute: int | None = Field(
        default=None, ge=1, description="tokens of prompts, in any 60 seconds"
    )
    output_tokens_per_minute: int | None = Field(
        default=None, ge=1, description="tokens of answers, in any 60 seconds"
    )
    concurrency: int | None = Field(default=None, ge=1, description="calls at once, over all provider actors")
    dollars_per_day: Decimal | None = Field(
        default=None, gt=0, description="US dollars from midnight to midnight UTC; counts what has a price"
    )


class KeyLimits(Limits):
    """Limits of a key over all its models, and of some models beside."""

    burst: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="share of a minute's limit that may be used at once; less for a provider that enforces "
        "its limits over shorter spans than it says",
    )
    learn: Learning = Field(
        default="model",
        description="whether limits that the provider tells of hold for each model alone (model) or for all "
        "models of the key together (key), or are left aside (off)",
    )
    models: dict[str, Limits] = Field(
        default_factory=dict,
        description="limits of models by name, or by a pattern such as gpt-4o*, whose models share them",
    )

    def patterns_of(self, model: str) -> list[str]:
        """The patterns of `models` that a model answers to."""
        return [pattern for pattern in self.models if fnmatchcase(model, pattern)]
