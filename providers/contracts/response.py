"""What came back, in the same shape from every provider."""

from __future__ import annotations

import enum
from decimal import Decimal
from typing import Any, Literal

from pydantic import Field

from llmgine.providers.contracts.base import Contract
from llmgine.providers.contracts.parts import Message, ToolCallPart
from llmgine.providers.contracts.request import OutputMode
from llmgine.providers.contracts.usage import Usage


class FinishReason(enum.StrEnum):
    """Why the model stopped. A reason that we do not know is UNKNOWN, never STOP."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    REFUSAL = "refusal"
    PAUSE = "pause"
    ERROR = "error"  # the provider ended it as failed, and what it had said came along
    UNKNOWN = "unknown"


class Adjustment(Contract):
    """One difference between what was asked and what was sent."""

    field: str
    action: Literal["dropped", "changed", "emulated"]
    reason: str


class Attempt(Contract):
    """One try at the call: where, with the key of which name, and what came of it.

    `outcome` is "done" or the kind of the error.
    """

    actor: str = ""
    key: str = ""
    model: str
    outcome: str
    seconds: float


class RateLimit(Contract):
    """What the provider said is left of one of its limits.

    `of` is what it limits ("requests", "tokens", "input_tokens", "output_tokens", or the provider's own
    word); `resets_in` is in seconds from the answer on. The limit counts in any `window` seconds, None where
    the provider does not say.
    """

    of: str
    limit: int | None = None
    remaining: int | None = None
    resets_in: float | None = None
    window: float | None = None


class LLMResponse(Contract):
    """What came back, the same shape from every provider.

    `output` is the value that the request's output schema asked for, checked against it, and
    `output_mode` how the model was brought to it. `cost` is in US dollars, exact, or None where a price is
    unknown. `finish_reason_raw` is the provider's own word, `model` the one that answered.

    `cached` says that this is the answer to another, equal request: it cost and used nothing, and `saved` is
    what the other had used.
    """

    message: Message
    finish_reason: FinishReason
    finish_reason_raw: str | None = None
    output: Any = None
    output_mode: OutputMode | None = None
    usage: Usage = Usage()
    cost: Decimal | None = None
    cached: bool = False
    saved: Usage | None = None
    model: str
    provider: str
    response_id: str | None = None
    request_id: str | None = None
    adjustments: tuple[Adjustment, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    rate_limits: tuple[RateLimit, ...] = ()
    provider_data: dict[str, Any] = Field(default_factory=dict)

    @property
    def text(self) -> str:
        return self.message.text

    @property
    def tool_calls(self) -> tuple[ToolCallPart, ...]:
        return self.message.tool_calls
