"""What a provider is, whatever stands behind it: a server, a model in this process, or a script."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from llmgine.providers.contracts import EmbeddingRequest, EmbeddingResponse, LLMRequest
from llmgine.providers.events import StreamEvent


class Provider(Protocol):
    """Answers the model calls of one endpoint."""

    name: str

    def stream(self, request: LLMRequest, *, session: str = "") -> AsyncIterator[StreamEvent]:
        """The events of one call; the last is exactly one `Done` or `Failed`.

        `session` is on whose behalf it is made; recordings are told apart by it.
        Nothing of a vendor's SDK is ever raised. Closing the iterator, or cancelling the task that
        waits on it, ends the exchange with the server at once.
        """
        ...

    async def embed(self, request: EmbeddingRequest, *, session: str = "") -> EmbeddingResponse:
        """One vector for each input, in their order; raises `ProviderError`."""
        ...

    async def aclose(self) -> None:
        """Let go of everything: connections, clients, a model in memory."""
        ...
