"""One provider actor: the only process that imports the provider's SDK and holds its key."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from functools import partial
from typing import Any, TypeVar, cast

from pydantic import ValidationError

from llmgine.actors.control import Boot, names
from llmgine.actors.link import LinkError, Stream, StreamHandler
from llmgine.actors.pools import wire
from llmgine.actors.pools.options import PoolsOptions
from llmgine.actors.telemetry import ObservedActor
from llmgine.providers import (
    Done,
    EmbeddingRequest,
    Failed,
    InvalidRequest,
    LlmgineError,
    LLMRequest,
    ProviderError,
    StreamEvent,
)
from llmgine.providers.calls.hints import hint_for
from llmgine.providers.events import to_wire
from llmgine.providers.options import EndpointOptions, ProvidersOptions
from llmgine.providers.provider import Provider
from llmgine.providers.registry import open_provider
from llmgine.telemetry import OpenSpan, TraceContext
from llmgine.telemetry import names as spans

_R = TypeVar("_R", LLMRequest, EmbeddingRequest)
_Answer = Callable[[Provider, _R, str, Stream, OpenSpan], Coroutine[Any, Any, None]]


class ProviderActor(ObservedActor):
    """Serves model calls of one provider, up to `max_in_flight` at once; more are refused at once.

    A provider that cannot be opened (no key, weights missing) fails each call with that reason, and
    is tried anew at the next, so that mending it on this node needs no restart.
    """

    kind = "provider"

    def __init__(self, boot: Boot) -> None:
        super().__init__(boot)
        self._pool, _ = names.parse_provider(boot.name)
        self._options = ProvidersOptions.model_validate(boot.settings["providers"])
        self._serves = self._options.endpoints.get(self._pool, EndpointOptions(kind="scripted"))
        self._limit = PoolsOptions.model_validate(boot.settings["pools"]).of(self._pool).max_in_flight
        self._provider: asyncio.Task[Provider] | None = None
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    def handlers(self) -> Mapping[str, StreamHandler]:
        return {
            wire.LLM_STREAM: partial(self._serve, LLMRequest, self._stream),
            wire.LLM_EMBED: partial(self._serve, EmbeddingRequest, self._embed),
        }

    def report(self) -> dict[str, Any]:
        return {"pool": self._pool, "node": self.cluster.node}

    async def drain(self, grace: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._idle.wait()

    async def abandon(self) -> None:
        await super().abandon()
        opening, self._provider = self._provider, None
        if opening is not None and not opening.done():
            opening.cancel()
        elif opening is not None and not _has_failed(opening):
            await opening.result().aclose()

    async def _serve(self, kind: type[_R], answer: _Answer[_R], stream: Stream) -> None:
        if self._in_flight >= self._limit or self.stopped:
            await stream.send([wire.REFUSED, self._in_flight])
            stream.finish()
            return
        self._in_flight += 1
        self._idle.clear()
        try:
            await self._call(kind, answer, stream)
        except LinkError:
            pass  # The caller is gone or gave up; the call was cancelled on the way here.
        finally:
            self._in_flight -= 1
            if not self._in_flight:
                self._idle.set()

    async def _call(self, kind: type[_R], answer: _Answer[_R], stream: Stream) -> None:
        body, session, trace = stream.header
        try:
            request = _parsed(kind, body)
            provider = await self._opened_provider()
        except LlmgineError as error:
            await stream.send(wire.failure_to_wire(error))
            stream.finish()
            return
        await stream.send([wire.ACCEPTED, self._in_flight])
        span = self._span(session, trace)
        answering = asyncio.create_task(answer(provider, request, session, stream, span))
        given_up = asyncio.create_task(stream.wait_closed())
        try:
            await asyncio.wait({answering, given_up}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            answering.cancel()
            given_up.cancel()
            outcome, _ = await asyncio.gather(answering, given_up, return_exceptions=True)
            span.end(error="cancelled")
        if isinstance(outcome, Exception):
            raise outcome

    def _span(self, session: str, trace: bytes | None) -> OpenSpan:
        return self.recorder.start(
            spans.SPAN_POOL_CALL,
            kind="client",
            parent=None if trace is None else TraceContext.from_wire(trace),
            session=session,
            attributes={spans.LLMGINE_POOL: self._pool, spans.LLMGINE_PROVIDER_ACTOR: self.name},
        )

    async def _stream(
        self, provider: Provider, request: LLMRequest, session: str, stream: Stream, span: OpenSpan
    ) -> None:
        said = cast("AsyncGenerator[StreamEvent, None]", provider.stream(request, session=session))
        async with contextlib.aclosing(said) as events:
            async for event in events:
                if isinstance(event, Failed):
                    event.error.hint = hint_for(event.error, self._pool, self._serves)
                message = to_wire(event)
                if not stream.try_send(message):
                    await stream.send(message)
                if isinstance(event, Failed):
                    span.end(error=event.error.kind.value)
                elif isinstance(event, Done):
                    span.end()
        stream.finish()

    async def _embed(
        self, provider: Provider, request: EmbeddingRequest, session: str, stream: Stream, span: OpenSpan
    ) -> None:
        try:
            response = await provider.embed(request, session=session)
        except ProviderError as error:
            error.hint = hint_for(error, self._pool, self._serves)
            span.end(error=error.kind.value)
            await stream.send(wire.failure_to_wire(error))
        else:
            for message in wire.embedding_to_wire(response):
                await stream.send(message)
            span.end()
        stream.finish()

    async def _opened_provider(self) -> Provider:
        """The provider, opened once by the first call that needs it, whether that call goes on or not."""
        if self._provider is None or _has_failed(self._provider):
            # In a thread: loading an SDK takes a second or two, in which other links must not fall silent.
            opening = asyncio.to_thread(open_provider, self._pool, self._options)
            self._provider = asyncio.create_task(opening, name=f"open {self._pool}")
        return await asyncio.shield(self._provider)


def _has_failed(opening: asyncio.Task[Provider]) -> bool:
    return opening.done() and (opening.cancelled() or opening.exception() is not None)


def _parsed(kind: type[_R], body: bytes) -> _R:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise InvalidRequest(
            f"the provider actor cannot read this request ({_fields(error)}); is one version of llmgine "
            f"installed on every node?"
        ) from None


def _fields(error: ValidationError) -> str:
    """What is wrong with which field, without what stands in it."""
    found = error.errors(include_input=False, include_url=False, include_context=False)
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in found[:3])
