"""The spans of a turn: itself, its model calls, its tools; names from one table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llmgine.actors.sessions.turns.turn import TurnTally
from llmgine.providers.contracts import LLMRequest, LLMResponse, ToolCallPart, ToolResultPart, Usage
from llmgine.providers.errors import ErrorKind, ProviderError
from llmgine.telemetry import OpenSpan, SpanRecorder, TraceContext, names


class TurnSpans:
    """The span of one turn and those below it."""

    def __init__(
        self, recorder: SpanRecorder, session_id: str, turn_id: str, *, parent: TraceContext | None = None
    ) -> None:
        self._recorder = recorder
        self._session = session_id
        self._turn = recorder.start(
            names.turn_span(),
            kind="server",
            parent=parent,
            session=session_id,
            attributes={
                names.GEN_AI_OPERATION_NAME: names.OPERATION_INVOKE_AGENT,
                names.GEN_AI_CONVERSATION_ID: session_id,
                names.LLMGINE_TURN_ID: turn_id,
            },
        )

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits."""
        return f"{self._turn.context.trace_id:032x}"

    @contextmanager
    def model_call(self, request: LLMRequest, step: int) -> Iterator[ModelSpan]:
        # Until the answer says who served, the name tells; one without a provider stands as it is.
        provider, slash, model = request.model.partition("/")
        asked = model if slash else request.model
        attributes: dict[str, Any] = {
            names.GEN_AI_OPERATION_NAME: names.OPERATION_CHAT,
            names.GEN_AI_REQUEST_MODEL: asked,
            names.GEN_AI_REQUEST_STREAM: True,
            names.LLMGINE_TURN_STEP: step,
        }
        if slash:
            attributes[names.GEN_AI_PROVIDER_NAME] = names.provider_name(provider)
        span = self._start(names.inference_span(names.OPERATION_CHAT, asked), "client", attributes)
        with _ended(span):
            yield ModelSpan(span, request.model)

    @contextmanager
    def tool_call(self, call: ToolCallPart) -> Iterator[ToolSpan]:
        attributes: dict[str, Any] = {
            names.GEN_AI_OPERATION_NAME: names.OPERATION_EXECUTE_TOOL,
            names.GEN_AI_TOOL_NAME: call.name,
            names.GEN_AI_TOOL_CALL_ID: call.id,
        }
        if self._recorder.content:
            attributes[names.GEN_AI_TOOL_CALL_ARGUMENTS] = call.raw_arguments or str(call.arguments)
        span = self._start(names.tool_span(call.name), "internal", attributes)
        with _ended(span):
            yield ToolSpan(span, self._recorder)

    def end(self, tally: TurnTally, error: str | None) -> None:
        """The turn is over; `error` is the kind of its failure."""
        attributes: dict[str, Any] = {names.LLMGINE_TURN_STEPS: tally.steps}
        self._turn.end(error=error, attributes=attributes)
        labels = {} if error is None else {names.ERROR_TYPE: error}
        self._recorder.metrics.counter(names.METRIC_TURNS, **labels).add()

    def _start(self, name: str, kind: names.SpanKind, attributes: dict[str, Any]) -> OpenSpan:
        return self._recorder.start(
            name, kind=kind, parent=self._turn.context, session=self._session, attributes=attributes
        )


class ModelSpan:
    """One model call as the session sees it."""

    def __init__(self, span: OpenSpan, asked: str) -> None:
        self._span = span
        self._asked = asked

    @property
    def context(self) -> TraceContext:
        return self._span.context

    def first_chunk(self, seconds: float) -> None:
        self._span.set({names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: seconds})

    def answered(self, response: LLMResponse) -> None:
        self._span.set(
            {
                names.GEN_AI_PROVIDER_NAME: names.provider_name(response.provider),
                names.GEN_AI_REQUEST_MODEL: self._asked.removeprefix(f"{response.provider}/"),
                names.GEN_AI_RESPONSE_MODEL: response.model,
                names.GEN_AI_RESPONSE_FINISH_REASONS: [response.finish_reason.value],
                **_usage(response.usage),
            }
        )
        if response.response_id is not None:
            self._span.set({names.GEN_AI_RESPONSE_ID: response.response_id})
        if response.cost is not None:
            self._span.set({names.LLMGINE_COST_USD: str(response.cost)})


class ToolSpan:
    """One run of a tool."""

    def __init__(self, span: OpenSpan, recorder: SpanRecorder) -> None:
        self._span = span
        self._recorder = recorder

    @property
    def context(self) -> TraceContext:
        return self._span.context

    def returned(self, result: ToolResultPart) -> None:
        attributes: dict[str, Any] = {names.LLMGINE_TOOL_OK: not result.is_error}
        if self._recorder.content:
            attributes[names.GEN_AI_TOOL_CALL_RESULT] = result.text
        self._span.end(error="tool_error" if result.is_error else None, attributes=attributes)
        labels = {names.GEN_AI_TOOL_NAME: result.name}
        if result.is_error:
            labels[names.ERROR_TYPE] = "tool_error"
        self._recorder.metrics.counter(names.METRIC_TOOL_CALLS, **labels).add()


@contextmanager
def _ended(span: OpenSpan) -> Iterator[None]:
    """Ends the span with the kind of what was raised."""
    try:
        yield
    except BaseException as error:
        span.end(error=error_kind(error))
        raise
    span.end()


def error_kind(error: BaseException) -> str:
    """A short word of low cardinality for an error."""
    if isinstance(error, ProviderError):
        return error.kind.value
    if type(error).__name__ in ("CancelledError", "TurnCancelled"):
        return ErrorKind.CANCELLED.value
    return type(error).__name__


def _usage(usage: Usage) -> dict[str, int]:
    found = {
        names.GEN_AI_USAGE_INPUT_TOKENS: usage.input_tokens,
        names.GEN_AI_USAGE_OUTPUT_TOKENS: usage.output_tokens,
        names.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: usage.cache_read_tokens,
        names.GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS: usage.cache_write_tokens,
        names.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: usage.reasoning_tokens,
    }
    return {name: value for name, value in found.items() if value is not None}
