"""Metrics that follow from spans, in the conventions' names: what ended is counted once. Pure.

They are taken before anything is sampled away, so they are of all calls, turns and tools, whatever traces
are kept. Labels are names of models, providers, tools, pools and kinds of error, nothing of sessions.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

from llmgine.telemetry import names
from llmgine.telemetry.metrics import Metrics
from llmgine.telemetry.records import Span

_CALLS = names.INFERENCE_OPERATIONS | {names.OPERATION_EMBEDDINGS}
_TOKENS = (("input", names.GEN_AI_USAGE_INPUT_TOKENS), ("output", names.GEN_AI_USAGE_OUTPUT_TOKENS))


_GIVEN_UP: Final = frozenset({names.ACTOR_DIED, names.UNFINISHED})
_REMEMBERED: Final = 10_000


class SpanMeasures:
    """Puts each span that ends into the instruments it belongs to.

    One that was closed for its process, and then ends by itself after all, has been counted already.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._closed: OrderedDict[tuple[int, int], None] = OrderedDict()

    def add(self, span: Span) -> None:
        """Count a span that has ended; one of no interest is passed over."""
        key = (span.trace_id, span.span_id)
        if key in self._closed:
            return
        if span.error in _GIVEN_UP:
            self._closed[key] = None
            if len(self._closed) > _REMEMBERED:
                self._closed.popitem(last=False)
        self._measure(span)

    def _measure(self, span: Span) -> None:
        told = span.attributes
        operation = told.get(names.GEN_AI_OPERATION_NAME)
        if operation in _CALLS:
            self._call(span, told)
        elif operation == names.OPERATION_EXECUTE_TOOL and names.GEN_AI_TOOL_CALL_ID in told:
            tool = {names.GEN_AI_TOOL_NAME: _text(told, names.GEN_AI_TOOL_NAME)}
            self._duration(names.METRIC_TOOL_SECONDS, span, tool)
        elif operation == names.OPERATION_INVOKE_AGENT and names.LLMGINE_TURN_ID in told:
            self._duration(names.METRIC_TURN_SECONDS, span, {})
        wait = _number(told.get(names.LLMGINE_QUEUE_WAIT))
        if wait is not None and names.LLMGINE_POOL in told:
            pool = {names.LLMGINE_POOL: _text(told, names.LLMGINE_POOL)}
            self._metrics.histogram(names.METRIC_QUEUE_WAIT, **pool).observe(wait)

    def _call(self, span: Span, told: dict[str, Any]) -> None:
        labels = {
            names.GEN_AI_OPERATION_NAME: str(told[names.GEN_AI_OPERATION_NAME]),
            names.GEN_AI_PROVIDER_NAME: _text(told, names.GEN_AI_PROVIDER_NAME),
            names.GEN_AI_REQUEST_MODEL: _text(told, names.GEN_AI_REQUEST_MODEL),
        }
        self._duration(names.METRIC_OPERATION_DURATION, span, labels)
        for kind, attribute in _TOKENS:
            tokens = _number(told.get(attribute))
            if tokens is not None:
                typed = {**labels, names.GEN_AI_TOKEN_TYPE: kind}
                self._metrics.histogram(names.METRIC_TOKEN_USAGE, **typed).observe(tokens)
        first = _number(told.get(names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK))
        if first is None:
            return
        self._metrics.histogram(names.METRIC_TIME_TO_FIRST_CHUNK, **labels).observe(first)
        chunks = _number(told.get(names.LLMGINE_RESPONSE_CHUNKS))
        if chunks is not None and chunks > 1 and span.seconds is not None and span.seconds >= first:
            each = (span.seconds - first) / (chunks - 1)
            self._metrics.histogram(names.METRIC_TIME_PER_OUTPUT_CHUNK, **labels).observe(each)

    def _duration(self, name: str, span: Span, labels: dict[str, str]) -> None:
        failed = {} if span.error is None else {names.ERROR_TYPE: span.error}
        self._metrics.histogram(name, **labels, **failed).observe(span.seconds or 0.0)


def _text(told: dict[str, Any], key: str) -> str:
    value = told.get(key)
    return value if isinstance(value, str) and value else "unknown"


def _number(value: Any) -> float | None:
    sane = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12
    return value if sane else None
