"""The calls of one provider actor, each made with a key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from llmgine.actors.pools.serving.call import Call
from llmgine.providers import EmbeddingRequest, EmbeddingResponse, LLMRequest, StreamEvent
from llmgine.providers.options import ProvidersOptions
from llmgine.providers.provider import Batches, Provider
from llmgine.providers.registry import open_provider


class KeyedCalls:
    """The actor's provider, opened by the first call.

    A provider that cannot be opened (no key, weights missing) fails each call with that reason, and is
    tried anew at the next, so that mending it on this node needs no restart.
    """

    def __init__(self, pool: str, options: ProvidersOptions) -> None:
        self._pool = pool
        self._options = options
        self._provider: Provider | None = None
        self._opening: asyncio.Task[Provider] | None = None

    @property
    def is_open(self) -> bool:
        return self._provider is not None

    async def open(self) -> None:
        """Opens it once for all that ask, whether they go on or not; raises why it cannot be opened."""
        if self._opening is None or _has_failed(self._opening):
            # In a thread: loading an SDK takes a second or two, in which other links must not fall silent.
            opening = asyncio.to_thread(open_provider, self._pool, self._options)
            self._opening = asyncio.create_task(opening, name=f"open {self._pool}")
        self._provider = await asyncio.shield(self._opening)

    def stream(self, call: Call[LLMRequest]) -> AsyncIterator[StreamEvent]:
        """The events of one call, the last exactly one `Done` or `Failed`."""
        assert self._provider is not None
        return self._provider.stream(call.request, session=call.session)

    async def embed(self, call: Call[EmbeddingRequest]) -> EmbeddingResponse:
        """A vector for each input; raises `ProviderError`."""
        assert self._provider is not None
        return await self._provider.embed(call.request, session=call.session)

    async def batches(self, model: str, key: str) -> Batches:
        """The model's batches, of the key of that name."""
        await self.open()
        assert self._provider is not None
        return self._provider.batches(model)

    async def aclose(self) -> None:
        opening, self._opening = self._opening, None
        if opening is not None and not opening.done():
            opening.cancel()
        elif opening is not None and not _has_failed(opening):
            await opening.result().aclose()

    def statistics(self) -> dict[str, Any]:
        return {}


def _has_failed(opening: asyncio.Task[Provider]) -> bool:
    return opening.done() and (opening.cancelled() or opening.exception() is not None)
