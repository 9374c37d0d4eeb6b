"""The span and the figures of one call of a model, as its caller sees it, over all tries."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from llmgine.actors.pools.client.content import definitions, inputs, instructions, output
from llmgine.providers import (
    Done,
    EmbeddingRequest,
    EmbeddingResponse,
    Failed,
    LLMRequest,
    LLMResponse,
    PartDone,
    Reset,
    StreamEvent,
)
from llmgine.providers.contracts import Usage
from llmgine.telemetry import Histogram, OpenSpan, SpanRecorder, TraceContext, error_type, names
from llmgine.telemetry.spans import error_text

Servers = Callable[[str], tuple[str, int] | None]
"""Host and port of a provider's server, by the provider's name; None where no server is asked."""

_PARAMETERS = {
    "seed": names.GEN_AI_REQUEST_SEED,
    "max_output_tokens": names.GEN_AI_REQUEST_MAX_TOKENS,
    "temperature": names.GEN_AI_REQUEST_TEMPERATURE,
    "top_k": names.GEN_AI_REQUEST_TOP_K,
    "top_p": names.GEN_AI_REQUEST_TOP_P,
    "frequency_penalty": names.GEN_AI_REQUEST_FREQUENCY_PENALTY,
    "presence_penalty": names.GEN_AI_REQUEST_PRESENCE_PENALTY,
}


def unknown_server(provider: str) -> tuple[str, int] | None:
    """Where nobody knows."""
    return None


class ModelSpan:
    """One call under way. What it came to is told before it is left."""

    def __init__(
        self, span: OpenSpan, asked: str, servers: Servers, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._span = span
        self._asked = asked
        self._servers = servers
        self._clock = clock
        self._began = clock()
        self._first = self._last = 0.0
        self._chunks = self._parts = 0
        self._gaps = Histogram(names.METRIC_TIME_PER_OUTPUT_CHUNK, (), names.CHUNK_SECONDS)

    @property
    def context(self) -> TraceContext:
        return self._span.context

    def chunk(self) -> None:
        """Something of the answer has come."""
        now = self._clock()
        self._chunks += 1
        if self._chunks == 1:
            self._first = now
            self._span.set({names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: now - self._began})
        else:
            self._gaps.observe(now - self._last)
        self._last = now

    def heard(self, event: StreamEvent) -> None:
        """The next event of the call; after the last one it has ended."""
        match event:
            case Done(response):
                self.answered(response)
                self._span.end()
            case Failed(error, _, usage):
                self.used(usage)
                self._span.end(error=error_type(error), message=str(error))
            case Reset():
                self.restarted()
            case PartDone():
                self.part()
            case _:
                self.chunk()

    def part(self) -> None:
        """A part of the answer is whole."""
        self._parts += 1

    def restarted(self) -> None:
        """What had come is void, and the answer begins anew."""
        self._span.event(names.EVENT_RESET)
        self._chunks = self._parts = 0

    def used(self, usage: Usage | None) -> None:
        """The call failed, and has used as much all the same; None where that is unknown."""
        if usage is not None:
            self._span.set(usage_attributes(usage))

    def answered(self, response: LLMResponse | EmbeddingResponse) -> None:
        """The call went well."""
        span = self._span
        told: dict[str, Any] = {
            names.GEN_AI_PROVIDER_NAME: names.provider_name(response.provider),
            names.GEN_AI_REQUEST_MODEL: self._asked.removeprefix(f"{response.provider}/"),
            names.GEN_AI_RESPONSE_MODEL: response.model,
            **usage_attributes(response.usage),
            **_server(self._servers(response.provider)),
        }
        if response.cost is not None:
            told[names.LLMGINE_COST_USD] = str(response.cost)
        if response.cached:
            told[names.LLMGINE_CACHED] = True
        if self._chunks:
            told[names.LLMGINE_RESPONSE_CHUNKS] = self._chunks
        if self._parts:
            told[names.LLMGINE_RESPONSE_PARTS] = self._parts
        if self._chunks > 1:
            told[names.LLMGINE_RESPONSE_TIME_PER_CHUNK] = (self._last - self._first) / (self._chunks - 1)
        if isinstance(response, LLMResponse):
            told[names.GEN_AI_RESPONSE_FINISH_REASONS] = [response.finish_reason.value]
            if response.response_id is not None:
                told[names.GEN_AI_RESPONSE_ID] = response.response_id
            if span.recorder.content:
                told[names.GEN_AI_OUTPUT_MESSAGES] = output(response)
        span.set(told)
        self._attempts(response)

    def measured(self) -> None:
        """The figures that its span has no room for, once it has ended."""
        if self._gaps.count:
            labels = _labels(self._span.attributes or {})
            metrics = self._span.recorder.metrics
            metrics.histogram(names.METRIC_TIME_PER_OUTPUT_CHUNK, **labels).take_in(*self._gaps.read())

    def _attempts(self, response: LLMResponse | EmbeddingResponse) -> None:
        attempts = response.attempts
        if attempts and attempts[-1].key:
            self._span.set({names.LLMGINE_KEY: attempts[-1].key})
        for number, attempt in enumerate(attempts[:-1], 1):
            self._span.event(
                names.EVENT_ATTEMPT,
                {
                    names.LLMGINE_ATTEMPT: number,
                    names.ERROR_TYPE: attempt.outcome,
                    names.GEN_AI_REQUEST_MODEL: attempt.model,
                    names.LLMGINE_PROVIDER_ACTOR: attempt.actor,
                    names.LLMGINE_KEY: attempt.key,
                },
            )


@contextmanager
def model_call(
    recorder: SpanRecorder,
    request: LLMRequest | EmbeddingRequest,
    *,
    parent: TraceContext | None,
    session: str = "",
    servers: Servers = unknown_server,
    step: int | None = None,
    batch: str = "",
) -> Iterator[ModelSpan]:
    """The call of this request; it ends with the block, as an error with the kind of what is raised.

    Of an answer that stood in a `batch` it is not known how long the model took.
    """
    embeds = isinstance(request, EmbeddingRequest)
    # Until the answer says who served, the name tells; one without a provider stands as it is.
    provider, slash, model = request.model.partition("/")
    operation = names.OPERATION_EMBEDDINGS if embeds else names.inference_operation(provider if slash else "")
    asked = model if slash else request.model
    attributes: dict[str, Any] = {
        names.GEN_AI_OPERATION_NAME: operation,
        names.GEN_AI_REQUEST_MODEL: asked,
    }
    if slash:
        attributes[names.GEN_AI_PROVIDER_NAME] = names.provider_name(provider)
        attributes |= _server(servers(provider))
    if session:
        attributes[names.GEN_AI_CONVERSATION_ID] = session
    if step is not None:
        attributes[names.LLMGINE_TURN_STEP] = step
    attributes |= _embedding(request) if isinstance(request, EmbeddingRequest) else _parameters(request)
    if batch:
        attributes |= {names.LLMGINE_BATCH_ID: batch, names.GEN_AI_REQUEST_STREAM: False}
    if recorder.content and isinstance(request, LLMRequest):
        attributes |= _content(request)
    span = recorder.start(
        names.inference_span(operation, asked),
        kind="client",
        parent=parent,
        session=session,
        attributes=attributes,
    )
    call = ModelSpan(span, request.model, servers)
    try:
        with ended(span):
            yield call
    finally:
        call.measured()


@contextmanager
def ended(span: OpenSpan) -> Iterator[None]:
    """Ends the span with the block, with the kind of what was raised, and measures a model's call."""
    try:
        yield
    except BaseException as error:
        content = span.recorder.content
        span.end(error=error_type(error), message=error_text(error) if content else "")
        raise
    finally:
        span.end()
        _measured(span)


def usage_attributes(usage: Usage) -> dict[str, int]:
    """The tokens that are known; what was written to a cache bears its old and its new name."""
    found = {
        names.GEN_AI_USAGE_INPUT_TOKENS: usage.input_tokens,
        names.GEN_AI_USAGE_OUTPUT_TOKENS: usage.output_tokens,
        names.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: usage.cache_read_tokens,
        names.GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS: usage.cache_write_tokens,
        names.GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS: usage.cache_write_tokens,
        names.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: usage.reasoning_tokens,
    }
    return {name: value for name, value in found.items() if value is not None}


def _server(server: tuple[str, int] | None) -> dict[str, Any]:
    return {} if server is None else {names.SERVER_ADDRESS: server[0], names.SERVER_PORT: server[1]}


def _parameters(request: LLMRequest) -> dict[str, Any]:
    found: dict[str, Any] = {names.GEN_AI_REQUEST_STREAM: True}
    for field, name in _PARAMETERS.items():
        value = getattr(request, field)
        if value is not None:
            found[name] = value
    if request.stop:
        found[names.GEN_AI_REQUEST_STOP_SEQUENCES] = list(request.stop)
    found[names.GEN_AI_OUTPUT_TYPE] = "text" if request.output is None else "json"
    return found


def _embedding(request: EmbeddingRequest) -> dict[str, Any]:
    if request.dimensions is None:
        return {}
    return {names.GEN_AI_EMBEDDINGS_DIMENSION_COUNT: request.dimensions}


def _content(request: LLMRequest) -> dict[str, Any]:
    found: dict[str, Any] = {names.GEN_AI_INPUT_MESSAGES: inputs(request.messages)}
    if request.system:
        found[names.GEN_AI_SYSTEM_INSTRUCTIONS] = instructions(request.system)
    if request.tools:
        found[names.GEN_AI_TOOL_DEFINITIONS] = definitions(request.tools)
    return found


def _measured(span: OpenSpan) -> None:
    """The conventions' figures of one call, from its span."""
    told = span.attributes or {}
    if told.get(names.GEN_AI_OPERATION_NAME) not in _OPERATIONS:
        return
    labels = _labels(told)
    failed = {} if span.error is None else {names.ERROR_TYPE: span.error}
    metrics = span.recorder.metrics
    if names.LLMGINE_BATCH_ID not in told:
        seconds = (span.finish - span.start) / 1e9
        metrics.histogram(names.METRIC_OPERATION_DURATION, **labels, **failed).observe(seconds)
    first = told.get(names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK)
    if first is not None:
        metrics.histogram(names.METRIC_TIME_TO_FIRST_CHUNK, **labels).observe(first)
    for name, kind in _TOKENS.items():
        if name in told:
            typed = {**labels, names.GEN_AI_TOKEN_TYPE: kind}
            metrics.histogram(names.METRIC_TOKEN_USAGE, **typed).observe(told[name])
    for name, metric in _COUNTED.items():
        if name in told:
            metrics.counter(metric, **labels).add(float(told[name]))


def _labels(told: Mapping[str, Any]) -> dict[str, str]:
    """Whose figures they are."""
    return {name: str(told[name]) for name in _OF_MODEL if name in told}


_OPERATIONS = names.INFERENCE_OPERATIONS | {names.OPERATION_EMBEDDINGS}
_OF_MODEL = (names.GEN_AI_OPERATION_NAME, names.GEN_AI_PROVIDER_NAME, names.GEN_AI_REQUEST_MODEL)
_TOKENS = {names.GEN_AI_USAGE_INPUT_TOKENS: "input", names.GEN_AI_USAGE_OUTPUT_TOKENS: "output"}
_COUNTED = {
    names.LLMGINE_COST_USD: names.METRIC_COST,
    names.LLMGINE_RESPONSE_CHUNKS: names.METRIC_CHUNKS,
    names.LLMGINE_RESPONSE_PARTS: names.METRIC_PARTS,
}
