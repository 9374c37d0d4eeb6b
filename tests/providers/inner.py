"""A provider for tests of layers: each call plays the next list of events, and keeps its request."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from decimal import Decimal
from typing import Any

from llmgine.providers.calls.exchange import as_events
from llmgine.providers.contracts import (
    AnyPart,
    EmbeddingRequest,
    EmbeddingResponse,
    FinishReason,
    LLMRequest,
    LLMResponse,
    Message,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    Usage,
    UsageSource,
)
from llmgine.providers.errors import ErrorKind, ErrorPhase, ProviderError
from llmgine.providers.events import Done, Failed, StreamEvent
from llmgine.providers.provider import Batches

USAGE = Usage(input_tokens=10, output_tokens=5, source=UsageSource.REPORTED)
COST = Decimal("0.5")


class Inner:
    """Plays one list of events for each call; `closed` counts the streams that have come to their end."""

    name = "p"

    def __init__(self, *calls: list[StreamEvent]) -> None:
        self._calls = list(calls)
        self.requests: list[LLMRequest] = []
        self.sessions: list[str] = []
        self.streams: list[AsyncIterator[StreamEvent]] = []
        self.closed = 0

    def stream(self, request: LLMRequest, *, session: str = "") -> AsyncIterator[StreamEvent]:
        self.requests.append(request)
        self.sessions.append(session)
        self.streams.append(self._play(self._calls.pop(0)))
        return self.streams[-1]

    async def _play(self, events: list[StreamEvent]) -> AsyncGenerator[StreamEvent, None]:
        try:
            for event in events:
                yield event
        finally:
            self.closed += 1

    async def embed(self, request: EmbeddingRequest, *, session: str = "") -> EmbeddingResponse:
        self.sessions.append(session)
        return EmbeddingResponse(vectors=((1.0,),) * len(request.inputs), model="m", provider="p")

    def batches(self, model: str) -> Batches:
        raise NotImplementedError

    async def aclose(self) -> None:
        """Nothing is held."""


class Clock:
    """Time that passes by `sleep` alone."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def call(name: str, arguments: dict[str, Any] | None = None, raw: str = "", id_: str = "c1") -> ToolCallPart:
    return ToolCallPart(id=id_, name=name, arguments=arguments, raw_arguments=raw)


def answer(*parts: str | AnyPart, **fields: Any) -> list[StreamEvent]:
    """The events of a whole answer; a string is a text part."""
    made = tuple(TextPart(text=part) if isinstance(part, str) else part for part in parts)
    calls = any(isinstance(part, ToolCallPart) for part in made)
    told: dict[str, Any] = {
        "message": Message(role="assistant", parts=made),
        "finish_reason": FinishReason.TOOL_CALLS if calls else FinishReason.STOP,
        "usage": USAGE,
        "cost": COST,
        "model": "m",
        "provider": "p",
    }
    return as_events(LLMResponse(**{**told, **fields}))


def broken(
    *parts: str | ThinkingPart | RefusalPart,
    kind: ErrorKind = ErrorKind.CONNECTION,
    phase: ErrorPhase | None = None,
    **fields: Any,
) -> list[StreamEvent]:
    """The events of an answer that breaks off within its last part."""
    made = tuple(TextPart(text=part) if isinstance(part, str) else part for part in parts)
    events = answer(*made)[:-2] if made else []
    reached = phase or (ErrorPhase.MID_STREAM if made else ErrorPhase.PRE_TOKEN)
    error = ProviderError("it broke", kind=kind, phase=reached, **fields)
    partial = Message(role="assistant", parts=made) if made else None
    usage = Usage(input_tokens=10, source=UsageSource.PARTIAL) if made else None
    return [*events, Failed(error, partial, usage)]


async def drained(source: AsyncIterator[StreamEvent]) -> list[StreamEvent]:
    return [event async for event in source]


def done(events: list[StreamEvent]) -> LLMResponse:
    last = events[-1]
    assert isinstance(last, Done), last
    return last.response


def failed(events: list[StreamEvent]) -> Failed:
    last = events[-1]
    assert isinstance(last, Failed), last
    return last
