"""The spans of a turn: itself, its model calls, its tools; names from one table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from llmgine.actors.pools.client.content import inputs
from llmgine.actors.pools.client.spans import (
    ModelSpan,
    Servers,
    ended,
    model_call,
    unknown_server,
)
from llmgine.actors.sessions.turns.turn import TurnRequest, TurnTally
from llmgine.providers.contracts import LLMRequest, ToolCallPart, ToolResultPart, ToolSpec
from llmgine.telemetry import OpenSpan, SpanRecorder, TraceContext, names
from llmgine.telemetry.current import standing_in

__all__ = ["ModelSpan", "ToolSpan", "TurnSpans"]

_TOOL_ERROR = "tool_error"


class TurnSpans:
    """The span of one turn and those below it."""

    def __init__(
        self,
        recorder: SpanRecorder,
        session_id: str,
        request: TurnRequest,
        *,
        servers: Servers = unknown_server,
    ) -> None:
        self._recorder = recorder
        self._session = session_id
        self._servers = servers
        self._turn = recorder.start(
            names.turn_span(),
            parent=request.trace,
            session=session_id,
            attributes={
                names.GEN_AI_OPERATION_NAME: names.OPERATION_INVOKE_AGENT,
                names.GEN_AI_CONVERSATION_ID: session_id,
                names.LLMGINE_TURN_ID: request.turn_id,
            },
        )
        if recorder.content:
            self._turn.set({names.GEN_AI_INPUT_MESSAGES: inputs([request.prompt])})

    @property
    def trace_id(self) -> str:
        """32 hexadecimal digits."""
        return f"{self._turn.trace_id:032x}"

    @property
    def context(self) -> TraceContext:
        """What is told of the turn stands below this."""
        return self._turn.context

    def standing(self) -> AbstractContextManager[None]:
        """What is done in here stands below the turn."""
        return standing_in(self._turn)

    def event(self, name: str, attributes: dict[str, Any] | None = None) -> None:
        """Something happens to the turn now."""
        self._turn.event(name, attributes)

    def suspended(self, suspended: bool) -> None:
        """The turn does nothing any more but wait for approvals, or goes on."""
        self.event(names.EVENT_TURN_SUSPENDED if suspended else names.EVENT_TURN_WENT_ON)

    def model_call(self, request: LLMRequest, step: int) -> AbstractContextManager[ModelSpan]:
        return model_call(
            self._recorder,
            request,
            parent=self._turn.context,
            session=self._session,
            servers=self._servers,
            step=step,
        )

    @contextmanager
    def tool_call(self, call: ToolCallPart, spec: ToolSpec | None = None) -> Iterator[ToolSpan]:
        """The tool runs in here, and what it does stands below its span."""
        attributes: dict[str, Any] = {
            names.GEN_AI_OPERATION_NAME: names.OPERATION_EXECUTE_TOOL,
            names.GEN_AI_CONVERSATION_ID: self._session,
            names.GEN_AI_TOOL_NAME: call.name,
            names.GEN_AI_TOOL_CALL_ID: call.id,
            names.GEN_AI_TOOL_TYPE: "function",
        }
        if spec is not None and spec.description:
            attributes[names.GEN_AI_TOOL_DESCRIPTION] = spec.description
        if self._recorder.content:
            given = call.raw_arguments if call.arguments is None else call.arguments
            attributes[names.GEN_AI_TOOL_CALL_ARGUMENTS] = given
        span = self._recorder.start(
            names.tool_span(call.name),
            parent=self._turn.context,
            session=self._session,
            attributes=attributes,
        )
        try:
            with ended(span), standing_in(span):
                yield ToolSpan(span)
        finally:
            labels = {names.GEN_AI_TOOL_NAME: call.name}
            self._count(span, names.METRIC_TOOL_CALLS, names.METRIC_TOOL_SECONDS, labels)

    def end(self, tally: TurnTally, error: str | None) -> None:
        """The turn is over; `error` is the kind of its failure. Only the first call counts."""
        if self._turn.ended:
            return
        attributes: dict[str, Any] = {names.LLMGINE_TURN_STEPS: tally.steps}
        if self._recorder.content and tally.last is not None:
            attributes[names.GEN_AI_OUTPUT_MESSAGES] = inputs([tally.last.message])
        self._turn.end(error=error, attributes=attributes)
        self._count(self._turn, names.METRIC_TURNS, names.METRIC_TURN_SECONDS, {})

    def _count(self, span: OpenSpan, number: str, duration: str, labels: dict[str, str]) -> None:
        """What has ended is one more, and took so long."""
        if span.error is not None:
            labels = {**labels, names.ERROR_TYPE: span.error}
        metrics = self._recorder.metrics
        metrics.counter(number, **labels).add()
        metrics.histogram(duration, **labels).observe((span.finish - span.start) / 1e9)


class ToolSpan:
    """One run of a tool."""

    def __init__(self, span: OpenSpan) -> None:
        self._span = span

    @property
    def context(self) -> TraceContext:
        return self._span.context

    def progress(self) -> None:
        """The tool tells how far it is."""
        self._span.event(names.EVENT_TOOL_PROGRESS)

    def returned(self, result: ToolResultPart) -> None:
        attributes: dict[str, Any] = {names.LLMGINE_TOOL_OK: not result.is_error}
        if self._span.recorder.content:
            attributes[names.GEN_AI_TOOL_CALL_RESULT] = result.text
        error = _TOOL_ERROR if result.is_error else None
        message = result.text if result.is_error else ""
        self._span.end(error=error, message=message, attributes=attributes)
