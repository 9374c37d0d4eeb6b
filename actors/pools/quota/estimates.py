"""What a call will use, before it is made: by a rule of thumb, and by what such calls used lately."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from llmgine.actors.pools.quota.meters import Need, Used
from llmgine.providers.catalogue.tokens import estimate
from llmgine.providers.contracts import EmbeddingRequest, LLMRequest, Usage

# Dollars of so many tokens of prompt and answer; None where no price is known.
Price = Callable[[str, int, int], Decimal | None]

_REMEMBERED = 32
_MOST_MODELS = 512
# Before anything was seen: by how much a prompt may be longer than the rule says, and an answer's length.
_UNSEEN, _UNSEEN_OUTPUT = 1.25, 1024.0
# What was seen may be exceeded by so much.
_MARGIN = 1.1


@dataclass(slots=True)
class _Seen:
    """What calls of one model used lately: input by what was estimated, output, dollars."""

    ratios: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    outputs: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    dollars: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))


@dataclass(frozen=True, slots=True)
class Guess:
    """An estimated need, and the prompt's tokens by the rule alone."""

    need: Need
    ruled: float


class Estimates:
    """Errs to the side of too much: what a call did not use is given back when it ends.

    With `cached_is_free`, what was read from a cache does not count as input.
    """

    def __init__(self, price: Price | None = None, *, cached_is_free: bool = False) -> None:
        self._price = price
        self._cached_is_free = cached_is_free
        self._models: OrderedDict[str, _Seen] = OrderedDict()

    def guess(self, model: str, request: LLMRequest | EmbeddingRequest) -> Guess:
        seen = self._models.get(model) or _Seen()
        ruled = float(estimate(request).input_tokens or 0)
        input = ruled * (max(seen.ratios) * _MARGIN if seen.ratios else _UNSEEN)
        output = 0.0
        if isinstance(request, LLMRequest):
            most = request.max_output_tokens
            output = max(seen.outputs) * _MARGIN if seen.outputs else float(most or _UNSEEN_OUTPUT)
            output = output if most is None else min(output, float(most))
        return Guess(Need(input, output, self._dollars(model, seen, input, output)), ruled)

    def learn(self, model: str, guess: Guess, usage: Usage | None, cost: Decimal | None) -> Used:
        """What the call has used; the next guess goes by it."""
        if usage is None:
            return Used()
        seen = self._models.setdefault(model, _Seen())
        self._models.move_to_end(model)
        if len(self._models) > _MOST_MODELS:
            self._models.popitem(last=False)
        input = usage.input_tokens
        if input is not None and self._cached_is_free:
            input -= usage.cache_read_tokens or 0
        if input is not None and guess.ruled:
            seen.ratios.append(input / guess.ruled)
        if usage.output_tokens is not None:
            seen.outputs.append(float(usage.output_tokens))
        if cost is not None:
            seen.dollars.append(float(cost))
        return Used(
            None if input is None else float(input),
            None if usage.output_tokens is None else float(usage.output_tokens),
            None if cost is None else float(cost),
        )

    def _dollars(self, model: str, seen: _Seen, input: float, output: float) -> float:
        if self._price is None:
            return 0.0
        price = self._price(model, round(input), round(output))
        if price is not None:
            return float(price)
        return max(seen.dollars) * _MARGIN if seen.dollars else 0.0
