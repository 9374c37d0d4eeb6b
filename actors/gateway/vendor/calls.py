"""Answers as they come from the runtime: of a model alone, or of a session's turn."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from llmgine.actors.gateway.port import GatewayPort, TurnAsk
from llmgine.actors.gateway.vendor.ordering import PartEvent
from llmgine.actors.gateway.vendor.sessions import TurnAnswer, taken_back
from llmgine.providers.contracts import LLMRequest, LLMResponse
from llmgine.providers.errors import ErrorKind, ProviderError
from llmgine.providers.events import Done, Failed, Reset
from llmgine.telemetry import TraceContext

Answer = AsyncGenerator[PartEvent | Done]


async def model_answer(port: GatewayPort, request: LLMRequest, trace: TraceContext | None) -> Answer:
    """What a model says to this request alone, the last event `Done`; raises what the call failed with.

    Closing it cancels the call at the provider.
    """
    told = False
    async with aclosing(port.complete(request, trace)) as events:
        async for event in events:
            if isinstance(event, Failed):
                raise event.error
            if isinstance(event, Reset):
                if told:
                    raise taken_back()
                continue
            told = True
            yield event


async def session_answer(port: GatewayPort, ask: TurnAsk) -> Answer:
    """What a turn of the session says, the last event `Done`; closing it cancels the turn."""
    answer = TurnAnswer()
    async with aclosing(port.turn(ask)) as events:
        async for event in events:
            for one in answer.take(event):
                yield one


async def whole(answer: Answer) -> LLMResponse:
    """All of an answer."""
    async with aclosing(answer):
        async for event in answer:
            if isinstance(event, Done):
                return event.response
    raise ProviderError("the answer ended without its last event", kind=ErrorKind.INTERNAL)
