"""The calls of one provider actor, each made with a key."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from pydantic import SecretStr

from llmgine.actors.pools.keys import KeysOptions
from llmgine.actors.pools.serving.allowance import Allowance
from llmgine.actors.pools.serving.call import Call, now
from llmgine.actors.pools.serving.key_batches import KeyBatches
from llmgine.actors.pools.serving.keychain import Keychain
from llmgine.actors.pools.serving.trying import Trying
from llmgine.providers import (
    EmbeddingRequest,
    EmbeddingResponse,
    ErrorKind,
    ErrorPhase,
    ErrorScope,
    LlmgineError,
    LLMRequest,
    ProviderError,
    StreamEvent,
)
from llmgine.providers.keys import KeyMask, key_places, missing_key
from llmgine.providers.options import EndpointOptions, ProvidersOptions
from llmgine.providers.provider import Batches, Provider
from llmgine.providers.registry import open_endpoint, open_layers


class KeyedCalls:
    """The actor's providers, one for each key, opened when they are first needed.

    A provider that cannot be opened (no key, weights missing) fails each call with that reason, and is
    tried anew at the next, so that mending it on this node needs no restart.
    """

    def __init__(
        self,
        pool: str,
        options: ProvidersOptions,
        keys: KeysOptions,
        *,
        clock: Callable[[], float] = now,
        allowance: Allowance,
    ) -> None:
        self._pool = pool
        self._options = options
        self._clock = clock
        self._endpoint = options.endpoints.get(pool, EndpointOptions(kind="scripted"))
        self._allowance = allowance
        self._keys = Keychain(key_places(self._endpoint), self._opened, keys, clock, self._allowance)
        self._over: Callable[[Provider], Provider] | None = None

    @property
    def is_open(self) -> bool:
        """Whether there is a key to make calls with."""
        return self._keys.is_open

    async def open(self) -> None:
        """Opens it once for all that ask, whether they go on or not; raises why it cannot be opened."""
        await self._keys.open()
        if self.is_open:
            return
        for holder in self._keys.holders:
            if holder.error is not None:
                raise holder.error
        looked = {holder.name: holder.looked for holder in self._keys.holders}
        raise missing_key(self._pool, self._endpoint, looked)

    def stream(self, call: Call[LLMRequest]) -> AsyncIterator[StreamEvent]:
        """The events of one call, the last exactly one `Done` or `Failed`."""
        return self._layered(call).stream(call.request, session=call.session)

    async def embed(self, call: Call[EmbeddingRequest]) -> EmbeddingResponse:
        """A vector for each input; raises `ProviderError`."""
        return await self._layered(call).embed(call.request, session=call.session)

    @asynccontextmanager
    async def batches(self, model: str, key: str) -> AsyncGenerator[Batches, None]:
        """The model's batches, of the key of that name, or of any with ""."""
        await self.open()
        await self._keys.look_for(key)
        assert self._over is not None, "it is open"
        with self._keys.held(key, model) as (name, provider):
            yield KeyBatches(self._over(provider).batches(model), name)

    async def aclose(self) -> None:
        await self._keys.aclose()

    def statistics(self) -> dict[str, Any]:
        return self._keys.statistics()

    def _layered(self, call: Call[Any]) -> Provider:
        assert self._over is not None, "it is open"
        return self._over(Trying(self._pool, self._endpoint, self._keys, call, self._clock))

    def _opened(self, name: str, secret: SecretStr | None) -> Provider:
        try:
            if self._over is None:
                self._over = open_layers(self._pool, self._options).over
            return open_endpoint(self._pool, self._options, secret, partial(self._allowance.told, name))
        except LlmgineError:
            raise
        except Exception as error:  # of a package, which may tell what it was given
            text = KeyMask(secret).text(f"{type(error).__name__}: {error}")
        raise ProviderError(
            f"the provider cannot be opened on node {socket.gethostname()}: {text}",
            kind=ErrorKind.INTERNAL,
            phase=ErrorPhase.REQUEST,
            scope=ErrorScope.ENDPOINT,
            provider=self._pool,
        )
