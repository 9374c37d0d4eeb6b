"""What one provider actor does with its calls: lets them in, makes them, and sends on what is said."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from functools import partial
from typing import Any, cast

from llmgine.actors.link import LinkError, Stream, StreamHandler
from llmgine.actors.pools import wire
from llmgine.actors.pools.admission import Refused, Ticket
from llmgine.actors.pools.batches import BatchDesk
from llmgine.actors.pools.caching.hashing import RequestHash
from llmgine.actors.pools.options import PoolOptions
from llmgine.actors.pools.pieces import RequestReader
from llmgine.actors.pools.serving.call import Call, R, is_overload, now, parsed
from llmgine.actors.pools.serving.door import Door
from llmgine.actors.pools.serving.kept import KeptAnswers
from llmgine.actors.pools.serving.keyed import KeyedCalls
from llmgine.actors.pools.serving.leasing import Leasing
from llmgine.actors.pools.serving.sharing import Sharing
from llmgine.actors.pools.serving.tally import CANCELLED, DONE, Tally
from llmgine.actors.store import StoreClient
from llmgine.providers import (
    Done,
    EmbeddingRequest,
    ErrorKind,
    ErrorPhase,
    ErrorScope,
    Failed,
    LlmgineError,
    LLMRequest,
    ProviderError,
    StreamEvent,
)
from llmgine.providers.calls.hints import hint_for
from llmgine.providers.clients.routes import server_of
from llmgine.providers.events import to_wire
from llmgine.providers.options import EndpointOptions, ProvidersOptions
from llmgine.telemetry import OpenSpan, SpanRecorder, TraceContext, error_type
from llmgine.telemetry import names as spans

logger = logging.getLogger(__name__)

_TRACEPARENT = "traceparent"
_Answer = Callable[[Call[R], Stream], Coroutine[Any, Any, None]]


class Serving:
    """The calls of one actor. Closed, it takes none and lets those that run end."""

    def __init__(
        self,
        actor: str,
        pool: str,
        providers: ProvidersOptions,
        options: PoolOptions,
        recorder: SpanRecorder,
        leasing: Leasing,
        store: Callable[[], StoreClient],
    ) -> None:
        self._actor = actor
        self._pool = pool
        self._endpoint = providers.endpoints.get(pool, EndpointOptions(kind="scripted"))
        self._server = server_of(providers, pool)
        self._recorder = recorder
        self._in_flight = recorder.metrics.gauge(spans.METRIC_IN_FLIGHT, pool=pool)
        self._leasing = leasing
        self._keyed = KeyedCalls(pool, providers, options.keys, allowance=leasing)
        self._door = Door(pool, options)
        self._tally = Tally()
        kept = KeptAnswers(pool, options.cache, store)
        self._sharing = Sharing(
            pool, RequestHash(providers), options.cache, kept, lambda: self._door.load, self._span
        )
        self._batches = BatchDesk(self._keyed.batches, lambda: self._door.load)
        self._idle = asyncio.Event()
        self._idle.set()

    def handlers(self) -> Mapping[str, StreamHandler]:
        read = RequestReader().read
        return {
            wire.LLM_STREAM: self._sharing.around(read, partial(self._serve, read, self._stream)),
            wire.LLM_EMBED: self._sharing.around(parsed, partial(self._serve, parsed, self._embed)),
            **self._batches.handlers(),
        }

    def close(self) -> None:
        """Takes no more calls; those that wait fail, so that their callers take them elsewhere."""
        self._sharing.close()
        self._door.close()
        self._batches.close()

    async def open(self) -> None:
        """Opens the provider before the first call; raises why it cannot be opened."""
        await self._keyed.open()

    async def ended(self) -> None:
        """Waits until no call is left."""
        await self._idle.wait()
        await self._sharing.ended()
        await self._batches.ended()

    async def clear_cache(self) -> None:
        """No answer that was given until now is given again from here; what the store keeps stays there."""
        await self._sharing.clear()

    async def aclose(self) -> None:
        """Lets go of the provider."""
        await self._sharing.aclose()
        await self._keyed.aclose()
        await self._leasing.aclose()

    def statistics(self) -> dict[str, dict[str, Any]]:
        """How each part stands, as plain values."""
        return {
            "admission": self._door.statistics(),
            "calls": self._tally.statistics(),
            "keys": self._keyed.statistics(),
            "cache": self._sharing.statistics(),
            "quota": self._leasing.statistics(),
        }

    async def _serve(self, read: Callable[[Any], R], answer: _Answer[R], stream: Stream) -> None:
        _, session, _, ask = stream.header
        ticket = self._door.enter(session or stream.peer.name, wire.Ask.from_wire(ask))
        if isinstance(ticket, Refused):
            await stream.send([wire.REFUSED, self._door.load, ticket.retry_after, ticket.reason])
            stream.finish()
            return
        self._idle.clear()
        self._tally.begun()
        outcome = CANCELLED
        giving_up = asyncio.create_task(_end_with(stream, asyncio.current_task()))
        try:
            outcome = await self._call(read, answer, stream, ticket)
        except LinkError:
            pass  # The caller is gone or gave up.
        finally:
            giving_up.cancel()
            self._tally.ended(outcome)
            self._door.leave(ticket)
            if not self._door.load:
                self._idle.set()

    async def _call(
        self, read: Callable[[Any], R], answer: _Answer[R], stream: Stream, ticket: Ticket
    ) -> str:
        """What became of it."""
        body, session, trace, _ = stream.header
        began = now()
        try:
            request = read(body)
            if not self._keyed.is_open:
                await self._keyed.open()
        except LlmgineError as error:
            await stream.send(wire.failure_to_wire(error))
            stream.finish()
            return error_type(error)
        await stream.send([wire.ACCEPTED, self._door.load])
        ends = began + (request.deadline or self._endpoint.timeouts.total)
        until, span = min(ends, ticket.expires), self._span(session, trace)
        request = self._told(request, span)
        call = Call(request, session, ends, until, ticket, span, self._delayed)
        self._in_flight.add(1)
        try:
            await answer(call, stream)
        except LinkError:
            raise
        except Exception as error:
            logger.exception("a call of %s failed", self._actor)
            mistake = self._mistake(call, error)
            call.outcome = mistake.kind.value
            await stream.send(_failure(request, mistake))
        finally:
            span.end(error=None if call.outcome == DONE else call.outcome)
            self._in_flight.add(-1)
        stream.finish()
        return call.outcome

    async def _stream(self, call: Call[LLMRequest], stream: Stream) -> None:
        said = cast("AsyncGenerator[StreamEvent, None]", await self._events(call))
        async with contextlib.aclosing(said) as events:
            async for event in events:
                if isinstance(event, Failed):
                    self._failed(call, event.error)
                elif not call.begun:
                    call.begun = True
                    self._door.answered(call.ticket)
                message = to_wire(event)
                if not stream.try_send(message):
                    await stream.send(message)
                if isinstance(event, Done):
                    stream.flush()
                    call.outcome = DONE

    async def _embed(self, call: Call[EmbeddingRequest], stream: Stream) -> None:
        try:
            await self._turn(call)
            response = await self._keyed.embed(call)
        except ProviderError as error:
            self._failed(call, error)
            await stream.send(wire.failure_to_wire(error))
            return
        self._door.answered(call.ticket)
        for message in wire.embedding_to_wire(response):
            await stream.send(message)
        call.outcome = DONE

    async def _events(self, call: Call[LLMRequest]) -> AsyncIterator[StreamEvent]:
        """What the provider says once it is the call's turn, or why its turn never came."""
        try:
            await self._turn(call)
        except ProviderError as error:
            return _only(Failed(error))
        return self._keyed.stream(call)

    async def _turn(self, call: Call[R]) -> None:
        if call.ticket.tried is not None:
            return
        began = now()
        await self._door.turn(call.ticket, call.ends)
        waited = now() - began
        call.span.set(
            {
                spans.LLMGINE_QUEUE_WAIT: waited,
                spans.GEN_AI_PROVIDER_NAME: spans.provider_name(self._pool),
                spans.GEN_AI_REQUEST_MODEL: call.request.model.removeprefix(f"{self._pool}/"),
            }
        )
        self._recorder.observe(spans.METRIC_QUEUE_WAIT, waited, pool=self._pool)
        left = max(call.ends - now(), 0.001)
        call.request = call.request.model_copy(update={"deadline": left})

    def _failed(self, call: Call[R], error: ProviderError) -> None:
        """The call's last try has failed."""
        call.outcome = error.kind.value
        error.hint = error.hint or hint_for(error, self._pool, self._endpoint)
        if is_overload(error) and error is not call.delayed_by and now() < call.ends:
            self._door.overloaded(call.ticket)

    def _delayed(self, call: Call[R], error: ProviderError) -> None:
        """A try has failed so that another can only follow later."""
        if is_overload(error):
            self._door.overloaded(call.ticket)

    def _mistake(self, call: Call[R], error: Exception) -> ProviderError:
        return ProviderError(
            f"the provider actor {self._actor} failed during the call: {type(error).__name__}: {error}",
            kind=ErrorKind.INTERNAL,
            phase=ErrorPhase.MID_STREAM if call.begun else ErrorPhase.PRE_TOKEN,
            scope=ErrorScope.ENDPOINT,
            provider=self._pool,
        )

    def _told(self, request: R, span: OpenSpan) -> R:
        """The request as the provider's server gets it: it says where it stands in the trace."""
        names = {name.lower() for name in request.extra_headers}
        if self._server is None or _TRACEPARENT in names or not self._endpoint.traceparent:
            return request
        headers = {**request.extra_headers, _TRACEPARENT: span.context.traceparent}
        return request.model_copy(update={"extra_headers": headers})

    def _span(self, session: str, trace: bytes | None) -> OpenSpan:
        attributes: dict[str, Any] = {
            spans.LLMGINE_POOL: self._pool,
            spans.LLMGINE_PROVIDER_ACTOR: self._actor,
        }
        if self._server is not None:
            attributes[spans.SERVER_ADDRESS], attributes[spans.SERVER_PORT] = self._server
        return self._recorder.start(
            spans.SPAN_POOL_CALL,
            kind="client",
            parent=None if trace is None else TraceContext.from_wire(trace),
            session=session,
            attributes=attributes,
        )


def _failure(request: LLMRequest | EmbeddingRequest, error: ProviderError) -> list[Any]:
    return to_wire(Failed(error)) if isinstance(request, LLMRequest) else wire.failure_to_wire(error)


async def _end_with(stream: Stream, serving: asyncio.Task[Any] | None) -> None:
    """Cancels a call whose caller is gone or has given it up."""
    await stream.wait_closed()
    if serving is not None:
        serving.cancel()


async def _only(event: StreamEvent) -> AsyncGenerator[StreamEvent, None]:
    yield event
