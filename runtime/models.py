"""Models without a conversation: one call, its answer; through the same pools as sessions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractContextManager, aclosing
from decimal import Decimal
from functools import partial, reduce
from operator import add
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from llmgine.actors.control import ControlClient
from llmgine.actors.link import Peer
from llmgine.actors.pools import PoolClient, PoolsOptions
from llmgine.actors.pools.batches import BatchCalls
from llmgine.actors.pools.client.spans import ModelSpan, model_call
from llmgine.providers import (
    Done,
    EmbeddingRequest,
    EmbeddingResponse,
    Failed,
    InvalidRequest,
    LLMRequest,
    LLMResponse,
    Message,
    ModelChain,
    OutputInvalid,
    OutputSchema,
    StreamEvent,
)
from llmgine.providers.clients.routes import server_of
from llmgine.providers.layers.output_type import OutputType
from llmgine.providers.layers.structured import asked_again
from llmgine.providers.mistakes import mistakes
from llmgine.providers.options import ProvidersOptions
from llmgine.telemetry import SpanRecorder, TraceContext, current_trace

Prompt = str | Message | Sequence[Message]
_Request = TypeVar("_Request", bound=BaseModel)


class Models:
    """`runtime.models`: calls of any model by its name, each on its own.

    Each verb takes a whole request, or a model's name with what the request's fields are:
    `complete("openai/gpt-5", "Hi", temperature=0)`. In place of one name there may be a list, of which
    each model takes over from the one before it; the response says which one answered. All raise
    `UnknownModel`, `MissingKey`, `ModelNotInstalled` or `InvalidRequest` where nothing could be sent, and
    `ProviderError` where no actor of the pool took the call.
    """

    def __init__(
        self,
        control: ControlClient,
        peer: Callable[[str], Peer],
        providers: ProvidersOptions,
        pools: PoolsOptions,
        node: str,
        recorder: SpanRecorder,
    ) -> None:
        self._recorder = recorder
        self._servers = partial(server_of, providers)
        self._pools = PoolClient(control, peer, providers, pools.failover, node=node, shares=pools.shares)

    def update(self, pools: dict[str, list[list[str]]]) -> None:
        """The supervisor's table of pools, whole, which is pushed to each driver."""
        self._pools.update(pools)

    async def complete(
        self,
        request: LLMRequest | ModelChain,
        prompt: Prompt | None = None,
        *,
        output: Any = None,
        trace: TraceContext | str | None = None,
        **fields: Any,
    ) -> LLMResponse:
        """The whole answer; raises the `ProviderError` of a call that failed.

        `output` is a type, such as a pydantic model, that the answer shall have: it is then the response's
        `output`. An answer that the type refuses is shown to the model with the reason, as often as the
        output schema's `repairs` say; after that `OutputInvalid` is raised. A refusal, or calls of tools,
        have no output. An `OutputSchema` is taken as well. `trace` is the span that the call stands below,
        or a `traceparent`; by default the current span.
        """
        asked, kind = _asked(request, prompt, output, fields)
        clock = asyncio.get_running_loop().time
        ends = None if asked.deadline is None else clock() + asked.deadline
        answers: list[LLMResponse] = []
        while True:
            if answers and ends is not None:
                asked = asked.model_copy(update={"deadline": max(ends - clock(), 0.001)})
            answers.append(await self._answer(asked, trace))
            response = _summed(answers)
            if kind is None or response.output is None:
                return response
            try:
                return response.model_copy(update={"output": kind.value(response.output)})
            except OutputInvalid as error:
                if asked.output is None or len(answers) > asked.output.repairs:
                    raise
                asked = asked_again(asked, response.message, str(error))

    def stream(
        self,
        request: LLMRequest | ModelChain,
        prompt: Prompt | None = None,
        *,
        trace: TraceContext | str | None = None,
        **fields: Any,
    ) -> AsyncGenerator[StreamEvent, None]:
        """The events of the answer as they come, the last exactly one `Done` or `Failed`.

        Closing the iterator cancels the call at the provider.
        """
        asked, _ = _asked(request, prompt, fields.pop("output", None), fields)
        return self._stream(asked, current_trace(trace))

    async def embed(
        self,
        request: EmbeddingRequest | str,
        inputs: str | Sequence[str] = (),
        *,
        trace: TraceContext | str | None = None,
        **fields: Any,
    ) -> EmbeddingResponse:
        """A vector for each input, in their order; raises the `ProviderError` of a call that failed."""
        if isinstance(request, str):
            texts = (inputs,) if isinstance(inputs, str) else tuple(inputs)
            asked = made(EmbeddingRequest, {"model": request, "inputs": texts, **fields})
        elif inputs or fields:
            raise _twice("EmbeddingRequest", "inputs")
        else:
            asked = request
        with self._spanned(asked, current_trace(trace)) as span:
            response = await self._pools.embed(asked, trace=span.context)
            span.answered(response)
            return response

    def batches(self, model: str) -> BatchCalls:
        """The batches of a model, which `Runtime.map(..., batch=True)` is made of."""
        return self._pools.batches(model)

    def _spanned(
        self, request: LLMRequest | EmbeddingRequest, parent: TraceContext | None
    ) -> AbstractContextManager[ModelSpan]:
        return model_call(self._recorder, request, parent=parent, servers=self._servers)

    async def _stream(
        self, request: LLMRequest, parent: TraceContext | None
    ) -> AsyncGenerator[StreamEvent, None]:
        with self._spanned(request, parent) as span:
            async with aclosing(self._pools.stream(request, trace=span.context)) as events:
                async for event in events:
                    span.heard(event)
                    yield event

    async def _answer(self, request: LLMRequest, trace: TraceContext | str | None) -> LLMResponse:
        async with aclosing(self._stream(request, current_trace(trace))) as events:
            async for event in events:
                if isinstance(event, Done):
                    return event.response
                if isinstance(event, Failed):
                    raise event.error
        raise AssertionError("a stream ended without Done or Failed")


def _asked(
    request: LLMRequest | ModelChain, prompt: Prompt | None, output: Any, fields: dict[str, Any]
) -> tuple[LLMRequest, OutputType | None]:
    """The request, and the type that its answer shall have."""
    if not isinstance(request, LLMRequest):
        if prompt is None:
            raise InvalidRequest(f"nothing is asked of {request}; give a prompt, or an LLMRequest")
        asked = made(LLMRequest, {"model": request, "messages": _messages(prompt), **fields})
    elif prompt is not None or fields:
        raise _twice("LLMRequest", "a prompt")
    else:
        asked = request
    if output is None:
        return asked, None
    kind = None if isinstance(output, OutputSchema) else OutputType(output)
    schema = output if kind is None else kind.schema
    return asked.model_copy(update={"output": schema}), kind


def _messages(prompt: Prompt) -> tuple[Message, ...]:
    if isinstance(prompt, str | Message):
        return (Message.user(prompt) if isinstance(prompt, str) else prompt,)
    if isinstance(prompt, Sequence):
        return tuple(cast("Sequence[Message]", prompt))
    raise InvalidRequest(f"a prompt is a str, a Message or several, not {type(prompt).__name__}")


def made(kind: type[_Request], fields: dict[str, Any]) -> _Request:
    """A request with these fields; `InvalidRequest` that says which of them are none."""
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise InvalidRequest(f"the call cannot be made: {mistakes(error)}") from None


def _twice(kind: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"give an {kind}, or a model's name with {what} and fields, not both")


def _summed(answers: Sequence[LLMResponse]) -> LLMResponse:
    """The last answer with what all of them used."""
    if len(answers) == 1:
        return answers[0]
    costs = [one.cost for one in answers if one.cost is not None]
    fields = {
        "usage": reduce(add, [one.usage for one in answers]),
        "cost": sum(costs, Decimal(0)) if len(costs) == len(answers) else None,
        "attempts": tuple(attempt for one in answers for attempt in one.attempts),
    }
    return answers[-1].model_copy(update=fields)
