"""The caller's end of the pools: one model call becomes a stream from one provider actor."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Protocol, TypeVar

from pydantic_core import PydanticSerializationError

from llmgine.actors.link import EndOfStream, LinkError, Peer, Stream, StreamReset
from llmgine.actors.pools import wire
from llmgine.actors.pools.batches import BatchCalls
from llmgine.actors.pools.routing import Router
from llmgine.providers import (
    Attempt,
    Done,
    EmbeddingRequest,
    EmbeddingResponse,
    ErrorKind,
    ErrorPhase,
    ErrorScope,
    Failed,
    InvalidRequest,
    LLMRequest,
    LLMResponse,
    ProviderError,
    StreamEvent,
)
from llmgine.providers.events import from_wire
from llmgine.providers.names import ModelName, resolve
from llmgine.providers.options import ProvidersOptions
from llmgine.telemetry import TraceContext

# Seconds that an actor is passed over after it said that it is full.
_FULL_PAUSE = 0.05

_Response = TypeVar("_Response", LLMResponse, EmbeddingResponse)


class PoolRegistry(Protocol):
    """Who knows, or starts, the actors of a pool."""

    async def ensure_pool(self, provider: str) -> list[list[str]]: ...


class PoolClient:
    """Calls models through provider actors; one per process.

    The table of pools is pushed to it (`update`), so calls go on while the supervisor is away.
    """

    def __init__(
        self,
        registry: PoolRegistry,
        peer: Callable[[str], Peer],
        providers: ProvidersOptions,
        *,
        chance: random.Random | None = None,
    ) -> None:
        self._registry = registry
        self._peer = peer
        self._providers = providers
        self._chance = chance or random.Random()
        self._routers: dict[str, Router] = {}
        self._members: dict[str, list[list[str]]] = {}

    def update(self, pools: dict[str, list[list[str]]]) -> None:
        """The supervisor's table of pools, whole: the name and the node of each actor."""
        self._members = pools
        for provider, actors in pools.items():
            self._router(provider).update(dict(actors))

    async def stream(
        self, request: LLMRequest, *, session: str = "", trace: TraceContext | None = None
    ) -> AsyncIterator[StreamEvent]:
        """The events of one call, the last exactly one `Done` or `Failed`.

        Raises `UnknownModel`, `MissingKey`, `ModelNotInstalled` or `InvalidRequest` before the first event,
        and `ProviderError` where no actor took the call.
        Closing the iterator cancels the call at the provider.
        """
        model, header = self._header(request, session, trace)
        clock = asyncio.get_running_loop().time
        actor, stream = await self._admit(wire.LLM_STREAM, model, header)
        router, began = self._router(model.provider), clock()
        phase, over = ErrorPhase.PRE_TOKEN, False
        try:
            async for message in stream:
                try:
                    event = from_wire(message)
                except ValueError as error:
                    yield Failed(_unreadable(actor, model, phase, error))
                    return
                if phase is ErrorPhase.PRE_TOKEN:
                    phase = ErrorPhase.MID_STREAM
                    router.first_chunk(actor, clock() - began, clock())
                if isinstance(event, Done | Failed):
                    over = True
                    yield _with_attempt(event, actor, model, clock() - began)
                    return
                yield event
            yield Failed(_lost(actor, model, phase, EndOfStream("it ended the stream without a last event")))
        except LinkError as error:
            router.failed(actor, clock())
            yield Failed(_lost(actor, model, phase, error))
        finally:
            router.finished(actor)
            if not over:
                stream.reset("cancelled", "the caller gave up")

    async def embed(
        self, request: EmbeddingRequest, *, session: str = "", trace: TraceContext | None = None
    ) -> EmbeddingResponse:
        """A vector for each input.

        Raises what `stream` raises, and `ProviderError` where the call failed. Cancelling it cancels the
        call at the provider.
        """
        model, header = self._header(request, session, trace)
        clock = asyncio.get_running_loop().time
        actor, stream = await self._admit(wire.LLM_EMBED, model, header)
        router, began, reader, over = self._router(model.provider), clock(), wire.EmbeddingReader(), False
        try:
            async for message in stream:
                if (response := reader.read(message)) is not None:
                    over = True
                    return _attempted(response, actor, model, clock() - began)
            raise _lost(
                actor, model, ErrorPhase.PRE_TOKEN, EndOfStream("it ended the stream without an answer")
            )
        except LinkError as error:
            router.failed(actor, clock())
            raise _lost(actor, model, ErrorPhase.PRE_TOKEN, error) from None
        except ValueError as error:
            raise _unreadable(actor, model, ErrorPhase.PRE_TOKEN, error) from None
        finally:
            router.finished(actor)
            if not over:
                stream.reset("cancelled", "the caller gave up")

    def batches(self, model: str) -> BatchCalls:
        """The batches of a model; `UnknownModel`."""
        name = resolve(model, self._providers)
        return BatchCalls(name.model, partial(self._opened, name))

    @asynccontextmanager
    async def _opened(self, model: ModelName, kind: str, header: list[Any]) -> AsyncGenerator[Stream, None]:
        actor, stream = await self._admit(kind, model, header)
        router, over = self._router(model.provider), False
        try:
            yield stream
            over = True
        except LinkError as error:
            router.failed(actor, asyncio.get_running_loop().time())
            raise _lost(actor, model, ErrorPhase.PRE_TOKEN, error) from None
        except ValueError as error:
            raise _unreadable(actor, model, ErrorPhase.PRE_TOKEN, error) from None
        finally:
            router.finished(actor)
            if not over:
                stream.reset("cancelled", "the caller gave up")

    def _header(
        self, request: LLMRequest | EmbeddingRequest, session: str, trace: TraceContext | None
    ) -> tuple[ModelName, list[Any]]:
        model = resolve(request.model, self._providers)
        if request.model != str(model):
            request = request.model_copy(update={"model": str(model)})
        try:
            body = request.model_dump_json().encode()
        except PydanticSerializationError as error:
            raise InvalidRequest(f"the request cannot be sent as JSON: {error}") from None
        ask = wire.Ask(request.priority)
        return model, [body, session, trace and trace.to_wire(), ask.to_wire()]

    async def _admit(self, kind: str, model: ModelName, header: list[Any]) -> tuple[str, Stream]:
        """A stream that an actor of the pool has accepted; each actor is asked once."""
        await self._ensure(model.provider)
        router = self._router(model.provider)
        clock = asyncio.get_running_loop().time
        reasons: dict[str, str] = {}
        waits: list[float | None] = []
        while actor := router.choose(clock(), frozenset(reasons)):
            router.started(actor)
            stream = None
            try:
                connection = await self._peer(actor).connection()
                stream = connection.open(kind, header)
                verdict, *rest = await stream.receive()
                if verdict == wire.ACCEPTED:
                    router.accepted(actor, rest[0], clock())
                    return actor, stream
                if verdict == wire.FAILED:
                    raise wire.failure_from_wire(*rest)
                load, retry_after, reason = rest
                router.refused(actor, load, clock(), clock() + _FULL_PAUSE)
                reasons[actor] = f"is {reason}, it carries {load}"
                waits.append(retry_after)
            except LinkError as error:
                router.failed(actor, clock())
                reasons[actor] = error.reason if isinstance(error, StreamReset) else str(error)
            except BaseException:
                if stream is not None:
                    stream.reset("cancelled", "the caller gave up")
                router.finished(actor)
                raise
            router.finished(actor)
        raise _overloaded(model, reasons, min((wait for wait in waits if wait is not None), default=1.0))

    async def _ensure(self, provider: str) -> None:
        if self._members.get(provider):
            return
        actors = await self._registry.ensure_pool(provider)
        # A table that was pushed meanwhile is newer than this answer.
        if not self._members.get(provider):
            self.update({**self._members, provider: actors})

    def _router(self, provider: str) -> Router:
        if provider not in self._routers:
            self._routers[provider] = Router(self._chance)
        return self._routers[provider]


def _with_attempt(event: Done | Failed, actor: str, model: ModelName, seconds: float) -> Done | Failed:
    if isinstance(event, Failed):
        outcome = event.error.kind.value
        event.attempts = _attempts(event.attempts, actor, model, outcome, seconds)
        return event
    return Done(_attempted(event.response, actor, model, seconds))


def _attempted(response: _Response, actor: str, model: ModelName, seconds: float) -> _Response:
    attempts = _attempts(response.attempts, actor, model, "done", seconds)
    return response.model_copy(update={"attempts": attempts})


def _attempts(
    made: tuple[Attempt, ...], actor: str, model: ModelName, outcome: str, seconds: float
) -> tuple[Attempt, ...]:
    """The tries that the actor tells of, as its own; the whole call as one where it tells of none."""
    if made:
        return tuple(one.model_copy(update={"actor": one.actor or actor}) for one in made)
    return (Attempt(actor=actor, model=str(model), outcome=outcome, seconds=seconds),)


def _lost(actor: str, model: ModelName, phase: ErrorPhase, error: LinkError) -> ProviderError:
    """The call's end where the actor did not say one: it is gone, or what it runs has a mistake."""
    mistake = isinstance(error, EndOfStream) or (isinstance(error, StreamReset) and error.code == "error")
    what = "failed" if mistake else "was lost"
    return ProviderError(
        f"the provider actor {actor} {what} during the call: {error}",
        kind=ErrorKind.INTERNAL if mistake else ErrorKind.CONNECTION,
        phase=phase,
        scope=ErrorScope.ENDPOINT,
        provider=model.provider,
        model=model.model,
    )


def _unreadable(actor: str, model: ModelName, phase: ErrorPhase, error: ValueError) -> ProviderError:
    why = str(error).partition("[type=")[0].strip()  # what stands behind it is a piece of the answer
    return ProviderError(
        f"what the provider actor {actor} sent cannot be read ({why}); is one version of llmgine installed "
        "on every node?",
        kind=ErrorKind.MALFORMED,
        phase=phase,
        scope=ErrorScope.ENDPOINT,
        provider=model.provider,
        model=model.model,
    )


def _overloaded(model: ModelName, reasons: dict[str, str], retry_after: float) -> ProviderError:
    details = "; ".join(f"{actor}: {reason}" for actor, reason in sorted(reasons.items()))
    return ProviderError(
        f"no actor of the pool {model.provider!r} took the call ({details or 'it has no actors'})",
        kind=ErrorKind.OVERLOADED,
        phase=ErrorPhase.CONNECT,
        scope=ErrorScope.ENDPOINT,
        provider=model.provider,
        model=model.model,
        retry_after=retry_after,
        hint=f"scale it with runtime.pools[{model.provider!r}].scale(n), or raise "
        "pools.default.max_in_flight or pools.default.admission.waiting",
    )
