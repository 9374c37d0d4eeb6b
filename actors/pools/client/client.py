"""The caller's end of the pools: one model call becomes a stream from one provider actor, or from several
in turn."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Callable
from functools import partial

from llmgine.actors.link import EndOfStream, LinkError, Peer
from llmgine.actors.pools import wire
from llmgine.actors.pools.batches import BatchCalls
from llmgine.actors.pools.client.batches import opened
from llmgine.actors.pools.client.call import Call
from llmgine.actors.pools.client.embedding import embedded
from llmgine.actors.pools.client.places import Places, PoolRegistry
from llmgine.actors.pools.client.shared import Shared
from llmgine.actors.pools.client.streaming import Streaming
from llmgine.actors.pools.failover.options import FailoverOptions
from llmgine.providers import (
    EmbeddingRequest,
    EmbeddingResponse,
    InvalidRequest,
    LLMRequest,
    StreamEvent,
)
from llmgine.providers.options import ProvidersOptions
from llmgine.telemetry import TraceContext


class PoolClient:
    """Calls models through provider actors; one per process.

    The table of pools is pushed to it (`update`), so calls go on while the supervisor is away. `node` is
    where this process lives; `shares` says of each pool whether its settings let answers be given again.
    """

    def __init__(
        self,
        registry: PoolRegistry,
        peer: Callable[[str], Peer],
        providers: ProvidersOptions,
        failover: FailoverOptions | None = None,
        *,
        node: str = "",
        chance: random.Random | None = None,
        shares: Callable[[str], bool] = lambda pool: False,
    ) -> None:
        chance = chance or random.Random()
        self._places = Places(registry, chance, node)
        self._shared = Shared(self._places, peer, providers, failover or FailoverOptions(), chance, shares)

    def update(self, pools: dict[str, list[list[str]]]) -> None:
        """The supervisor's table of pools, whole: the name and the node of each actor."""
        self._places.update(pools)

    async def stream(
        self, request: LLMRequest, *, session: str = "", trace: TraceContext | None = None
    ) -> AsyncGenerator[StreamEvent, None]:
        """The events of one call, the last exactly one `Done` or `Failed`.

        Raises `UnknownModel`, `MissingKey`, `ModelNotInstalled` or `InvalidRequest` before the first event,
        and `ProviderError` where no actor took the call.
        Closing the iterator cancels the call at the provider.
        """
        call = Streaming(self._shared, request, session, trace)
        try:
            while (messages := await call.begin()) is not None:
                for event in call.told():
                    yield event
                try:
                    async for message in messages:
                        for event in call.take(message):
                            yield event
                        if call.is_over:
                            break
                    else:
                        call.lost(EndOfStream("it ended the stream without a last event"))
                except LinkError as error:
                    call.lost(error)
            for event in call.told():
                yield event
        finally:
            call.close()

    def batches(self, model: str) -> BatchCalls:
        """The batches of a model, the first where it names several; `UnknownModel`."""
        name = self._shared.chain(model)[0].name
        return BatchCalls(name.model, partial(opened, self._shared, name))

    async def embed(
        self, request: EmbeddingRequest, *, session: str = "", trace: TraceContext | None = None
    ) -> EmbeddingResponse:
        """A vector for each input.

        Raises what `stream` raises, and `ProviderError` where the call failed. Cancelling it cancels the
        call at the provider.
        """
        if len(self._shared.chain(request.model)) > 1:
            raise InvalidRequest(
                f"{request.model!r} stands for several models, whose vectors cannot be compared; name one"
            )
        return await embedded(Call(self._shared, wire.LLM_EMBED, request, session, trace))
