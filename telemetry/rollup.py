"""Tokens, money and waiting, added up per provider and model from the attributes of spans.

One span per model call bears a `gen_ai.operation.name` of inference or embeddings; these are counted
when they end. Spans around them (pool, session) bear other operations and count nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from llmgine.telemetry import names
from llmgine.telemetry.metrics import Histogram
from llmgine.telemetry.records import Span

MAX_MODELS = 1000
OTHER = ("other", "other")
_MAX_ERROR_TYPES = 32
_OPERATIONS = names.INFERENCE_OPERATIONS | {names.OPERATION_EMBEDDINGS}


def _seconds() -> Histogram:
    return Histogram(names.METRIC_OPERATION_DURATION, (), names.GEN_AI_SECONDS)


@dataclass(slots=True)
class ModelUsage:
    """What the calls of one model came to. `cost` is in US dollars, over the `priced` calls alone."""

    provider: str
    model: str
    calls: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    unmetered: int = 0  # calls that reported no tokens
    cost: Decimal = Decimal(0)
    priced: int = 0
    seconds: Histogram = field(default_factory=_seconds)
    first_chunk: Histogram = field(default_factory=_seconds)
    queue_wait: Histogram = field(default_factory=_seconds)

    def add(self, span: Span) -> None:
        attributes = span.attributes
        self.calls += 1
        if span.error is not None:
            known = span.error in self.errors or len(self.errors) < _MAX_ERROR_TYPES
            error = span.error if known else "other"
            self.errors[error] = self.errors.get(error, 0) + 1
        if (
            names.GEN_AI_USAGE_INPUT_TOKENS not in attributes
            and names.GEN_AI_USAGE_OUTPUT_TOKENS not in attributes
        ):
            self.unmetered += 1
        self.input_tokens += _count(attributes, names.GEN_AI_USAGE_INPUT_TOKENS)
        self.output_tokens += _count(attributes, names.GEN_AI_USAGE_OUTPUT_TOKENS)
        self.cache_read_tokens += _count(attributes, names.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS)
        self.cache_write_tokens += _count(
            attributes,
            names.GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS,
            names.GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS,
        )
        self.reasoning_tokens += _count(attributes, names.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS)
        if (cost := _cost(attributes)) is not None:
            self.cost += cost
            self.priced += 1
        if span.seconds is not None:
            self.seconds.observe(span.seconds)
        _observe(self.first_chunk, attributes.get(names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK))
        _observe(self.queue_wait, attributes.get(names.LLMGINE_QUEUE_WAIT))

    def to_wire(self) -> dict[str, Any]:
        """Plain values; the cost is exact text, histograms are [sum, counts, bounds]."""
        return {
            "provider": self.provider,
            "model": self.model,
            "calls": self.calls,
            "errors": dict(self.errors),
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cache_read_tokens": self.cache_read_tokens,
            "cache_write_tokens": self.cache_write_tokens,
            "reasoning_tokens": self.reasoning_tokens,
            "unmetered": self.unmetered,
            "cost": str(self.cost) if self.priced else None,
            "priced": self.priced,
            "seconds": self.seconds.read(),
            "first_chunk": self.first_chunk.read(),
            "queue_wait": self.queue_wait.read(),
        }


class Rollup:
    """Usage per provider and model; past MAX_MODELS pairs all further ones share `other`."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, str], ModelUsage] = {}

    def add(self, span: Span) -> None:
        """Count a span that has ended; anything but a model call is passed over."""
        if span.attributes.get(names.GEN_AI_OPERATION_NAME) not in _OPERATIONS:
            return
        key = (_name(span, names.GEN_AI_PROVIDER_NAME), _name(span, names.GEN_AI_REQUEST_MODEL))
        if key not in self._models and len(self._models) >= MAX_MODELS:
            key = OTHER
        usage = self._models.get(key)
        if usage is None:
            usage = self._models[key] = ModelUsage(*key)
        usage.add(span)

    def read(self) -> list[ModelUsage]:
        """All usage, sorted by provider and model."""
        return [self._models[key] for key in sorted(self._models)]


def usage_of(spans: Iterable[Span]) -> list[ModelUsage]:
    """The usage of these spans alone, such as one session's."""
    rollup = Rollup()
    for span in spans:
        if span.end is not None:
            rollup.add(span)
    return rollup.read()


def _name(span: Span, key: str) -> str:
    value = span.attributes.get(key)
    return value if isinstance(value, str) and value else "unknown"


def _count(attributes: dict[str, Any], *keys: str) -> int:
    for key in keys:
        value = attributes.get(key)
        if isinstance(value, int) and value >= 0:
            return value
    return 0


def _cost(attributes: dict[str, Any]) -> Decimal | None:
    value = attributes.get(names.LLMGINE_COST_USD)
    if value is None or isinstance(value, bool):
        return None
    try:
        cost = Decimal(str(value))
    except InvalidOperation:
        return None
    return cost if cost.is_finite() else None


def _observe(histogram: Histogram, value: Any) -> None:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9:
        histogram.observe(value)
