"""The caller's end of the pools: one model call becomes a stream from one provider actor."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from llmgine.actors.link import EndOfStream, LinkError, Peer, Stream, StreamReset
from llmgine.actors.pools import wire
from llmgine.actors.pools.routing import Router
from llmgine.providers import (
    Attempt,
    Done,
    ErrorKind,
    ErrorPhase,
    ErrorScope,
    Failed,
    LLMRequest,
    ProviderError,
    StreamEvent,
)
from llmgine.providers.catalogue import ModelName, resolve
from llmgine.providers.events import from_wire
from llmgine.providers.options import ProvidersOptions
from llmgine.telemetry import TraceContext

# Seconds that an actor is passed over: after it said that it is full, and after its link broke.
_FULL_PAUSE = 0.05
_BROKEN_PAUSE = 1.0


class PoolRegistry(Protocol):
    """Who knows, or starts, the actors of a pool."""

    async def ensure_pool(self, provider: str) -> list[str]: ...


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
        self._members: dict[str, list[str]] = {}

    def update(self, pools: dict[str, list[str]]) -> None:
        """The supervisor's table of pools, whole."""
        self._members = pools
        for provider, actors in pools.items():
            self._router(provider).update(actors)

    async def stream(
        self, request: LLMRequest, *, session: str = "", trace: TraceContext | None = None
    ) -> AsyncIterator[StreamEvent]:
        """The events of one call, the last exactly one `Done` or `Failed`.

        Raises `UnknownModel`, `MissingKey`, `ModelNotInstalled` or `InvalidRequest` before the first event.
        Closing the iterator cancels the call at the provider.
        """
        model = resolve(request.model, self._providers)
        request = request.model_copy(update={"model": str(model)})
        header = [request.model_dump_json().encode(), session, trace and trace.to_wire()]
        clock = asyncio.get_running_loop().time
        actor, stream = await self._admit(model, header)
        router, began = self._router(model.provider), clock()
        phase, over = ErrorPhase.PRE_TOKEN, False
        try:
            async for message in stream:
                event = from_wire(message)
                if phase is ErrorPhase.PRE_TOKEN:
                    phase = ErrorPhase.MID_STREAM
                    router.first_chunk(actor, clock() - began)
                if isinstance(event, Done | Failed):
                    over = True
                    yield _with_attempt(event, actor, model, clock() - began)
                    return
                yield event
            yield _lost(actor, model, phase, EndOfStream("it ended the stream without a last event"))
        except LinkError as error:
            router.refused(actor, 0, clock() + _BROKEN_PAUSE)
            yield _lost(actor, model, phase, error)
        finally:
            router.finished(actor)
            if not over:
                stream.reset("cancelled", "the caller gave up")

    async def _admit(self, model: ModelName, header: list[Any]) -> tuple[str, Stream]:
        """A stream that an actor of the pool has accepted; each actor is asked once."""
        await self._ensure(model.provider)
        router = self._router(model.provider)
        clock = asyncio.get_running_loop().time
        reasons: dict[str, str] = {}
        while actor := router.choose(clock(), frozenset(reasons)):
            router.started(actor)
            stream = None
            try:
                connection = await self._peer(actor).connection()
                stream = connection.open(wire.LLM_STREAM, header)
                verdict, *rest = await stream.receive()
                if verdict == wire.ACCEPTED:
                    router.accepted(actor, rest[0])
                    return actor, stream
                if verdict == wire.FAILED:
                    raise wire.failure_from_wire(*rest)
                router.refused(actor, rest[0], clock() + _FULL_PAUSE)
                reasons[actor] = f"carries {rest[0]} calls already"
            except LinkError as error:
                router.refused(actor, 0, clock() + _BROKEN_PAUSE)
                reasons[actor] = error.reason if isinstance(error, StreamReset) else str(error)
            except BaseException:
                if stream is not None:
                    stream.reset("cancelled", "the caller gave up")
                router.finished(actor)
                raise
            router.finished(actor)
        raise _overloaded(model, reasons)

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
        return event
    attempt = Attempt(actor=actor, model=str(model), outcome="done", seconds=seconds)
    attempts = (*event.response.attempts, attempt)
    return Done(event.response.model_copy(update={"attempts": attempts}))


def _lost(actor: str, model: ModelName, phase: ErrorPhase, error: LinkError) -> Failed:
    """The call's end where the actor did not say one: it is gone, or what it runs has a mistake."""
    mistake = isinstance(error, EndOfStream) or (isinstance(error, StreamReset) and error.code == "error")
    what = "failed" if mistake else "was lost"
    return Failed(
        ProviderError(
            f"the provider actor {actor} {what} during the call: {error}",
            kind=ErrorKind.INTERNAL if mistake else ErrorKind.CONNECTION,
            phase=phase,
            scope=ErrorScope.ENDPOINT,
            provider=model.provider,
            model=model.model,
        )
    )


def _overloaded(model: ModelName, reasons: dict[str, str]) -> ProviderError:
    details = "; ".join(f"{actor}: {reason}" for actor, reason in sorted(reasons.items()))
    return ProviderError(
        f"no actor of the pool {model.provider!r} took the call ({details or 'it has no actors'}); "
        f"scale it with runtime.pools[{model.provider!r}].scale(n) or raise pools.default.max_in_flight",
        kind=ErrorKind.OVERLOADED,
        phase=ErrorPhase.CONNECT,
        scope=ErrorScope.ENDPOINT,
        provider=model.provider,
        model=model.model,
        retry_after=1.0,
    )
