"""Answers as they come from the runtime: of a model alone, or of a session's turn."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from llmgine.actors.gateway.port import GatewayPort, TurnAsk
from llmgine.actors.gateway.vendor.ordering import PartEvent
from llmgine.actors.gateway.vendor.sessions import TurnAnswer, taken_back
from llmgine.providers.contracts import FinishReason, LLMRequest, LLMResponse, Usage
from llmgine.providers.errors import ErrorKind, ProviderError
from llmgine.providers.events import Done, Failed, Reset
from llmgine.telemetry import TraceContext

Answer = AsyncGenerator[PartEvent | Done]


async def model_answer(
    port: GatewayPort, request: LLMRequest, trace: TraceContext | None, *, streamed: bool
) -> Answer:
    """What a model says to this request alone, the last event `Done`; raises what the call failed with.

    Closing it cancels the call at the provider. One that is `streamed` cannot begin anew.
    """
    told = False
    async with aclosing(port.complete(request, trace)) as events:
        async for event in events:
            if isinstance(event, Failed):
                yield _cut_off(event)
                return
            if isinstance(event, Reset):
                if told and streamed:
                    raise taken_back()
                continue
            told = True
            yield event


def _cut_off(failed: Failed) -> Done:
    """The end of an answer that was too long to fit its schema, as vendors tell it; raises other failures."""
    error = failed.error
    if error.kind is not ErrorKind.BAD_OUTPUT or error.retryable or failed.partial is None:
        raise error
    return Done(
        LLMResponse(
            message=failed.partial,
            finish_reason=FinishReason.LENGTH,
            usage=failed.usage or Usage(),
            model=error.model,
            provider=error.provider,
        )
    )


async def session_answer(port: GatewayPort, ask: TurnAsk, *, streamed: bool) -> Answer:
    """What a turn of the session says, the last event `Done`; closing it cancels one that does not go on."""
    answer = TurnAnswer(streamed=streamed)
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
