"""How much one turn may use, and when that is used up."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Self

from pydantic import Field, ModelWrapValidatorHandler, ValidationError, model_validator

from llmgine.actors.sessions.errors import CostLimit, LimitReached, StepLimit, TokenLimit
from llmgine.providers.contracts import Contract, Usage
from llmgine.providers.errors import InvalidRequest
from llmgine.providers.mistakes import mistakes


class Limits(Contract):
    """What one turn may use; None sets no bound.

    Steps, tokens and cost are looked at before each model call, so the last call made may go beyond them.
    A turn whose answer is there is done, whatever it came to. What is no limit raises
    InvalidRequest.
    """

    steps: int | None = Field(default=None, ge=1, description="model calls")
    tokens: int | None = Field(default=None, ge=1, description="tokens read and written, over all its calls")
    cost: Decimal | None = Field(default=None, gt=0, description="US dollars")
    seconds: float | None = Field(default=None, gt=0, description="from when it begins to run")

    @model_validator(mode="wrap")
    @classmethod
    def _told(cls, given: Any, make: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return make(given)
        except ValidationError as error:
            raise InvalidRequest(
                f"these limits are none: {mistakes(error)}; "
                "Limits takes steps, tokens, cost in US dollars, and seconds"
            ) from None

    def over(self, under: Limits | None) -> Limits:
        """These limits, and those of `under` where these set none."""
        if under is None:
            return self
        return under.model_copy(update=self.model_dump(exclude_none=True))

    def reached(self, steps: int, usage: Usage | None, cost: Decimal | None) -> LimitReached | None:
        """Why no model call may follow `steps` of them that used this much; None where one may.

        What is not known cannot be kept to, so a call of unknown usage or price is the last one.
        """
        if self.steps is not None and steps >= self.steps:
            return StepLimit(
                f"the model has not answered within {self.steps} model calls; raise limits=Limits(steps=...) "
                "or sessions.max_steps, or simplify the task"
            )
        if steps == 0:
            return None
        return self._tokens_reached(usage) or self._cost_reached(cost)

    def _tokens_reached(self, usage: Usage | None) -> TokenLimit | None:
        if self.tokens is None:
            return None
        if usage is None or usage.input_tokens is None or usage.output_tokens is None:
            return TokenLimit(
                f"the provider does not tell what its calls use, so limits.tokens={self.tokens} cannot be "
                "kept; set limits.steps or limits.seconds instead"
            )
        used = usage.input_tokens + usage.output_tokens
        if used < self.tokens:
            return None
        return TokenLimit(
            f"the turn has used {used} of its {self.tokens} tokens; raise limits=Limits(tokens=...)"
        )

    def _cost_reached(self, cost: Decimal | None) -> CostLimit | None:
        if self.cost is None:
            return None
        if cost is None:
            return CostLimit(
                f"the price of a model call is unknown, so limits.cost={self.cost} cannot be kept; set the "
                "model's price under providers.prices"
            )
        if cost < self.cost:
            return None
        return CostLimit(
            f"the turn has cost {cost} of its {self.cost} US dollars; raise limits=Limits(cost=...)"
        )
