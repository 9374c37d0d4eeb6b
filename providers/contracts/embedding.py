"""Texts to vectors, in the same words for every provider."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal

from pydantic import Field

from llmgine.providers.contracts.base import Contract
from llmgine.providers.contracts.request import Priority
from llmgine.providers.contracts.response import Adjustment, Attempt, RateLimit
from llmgine.providers.contracts.usage import Usage


class EmbeddingRequest(Contract):
    """One vector for each of `inputs`. `model` is `provider/model`; `deadline` is in seconds.

    `dimensions` shortens the vectors where the model can; `purpose` is what they are for, where the model
    asks. `priority`, unsupported settings, `response_cache` and `provider_options` are as in `LLMRequest`.
    """

    model: str
    inputs: tuple[str, ...] = Field(min_length=1)
    dimensions: int | None = Field(default=None, ge=1)
    purpose: Literal["query", "document", "similarity", "classification", "clustering"] | None = None
    deadline: float | None = Field(default=None, gt=0)
    priority: Priority = "interactive"
    on_unsupported: Literal["error", "adjust"] = "error"
    response_cache: bool | None = None
    provider_options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    extra_headers: dict[str, str] = Field(default_factory=dict)


class EmbeddingResponse(Contract):
    """The vectors in the order of the inputs, all of one length; `cached` and `saved` as in `LLMResponse`."""

    vectors: tuple[tuple[float, ...], ...]
    usage: Usage = Usage()
    cost: Decimal | None = None
    cached: bool = False
    saved: Usage | None = None
    model: str
    provider: str
    request_id: str | None = None
    adjustments: tuple[Adjustment, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    rate_limits: tuple[RateLimit, ...] = ()
    provider_data: dict[str, Any] = Field(default_factory=dict)
