"""What a provider is, whatever stands behind it: a server, a model in this process, or a script."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from llmgine.providers.contracts import (
    BatchStatus,
    EmbeddingRequest,
    EmbeddingResponse,
    LLMRequest,
    LLMResponse,
    RateLimit,
)
from llmgine.providers.errors import ProviderError
from llmgine.providers.events import StreamEvent

LimitsTold = Callable[[str, tuple[RateLimit, ...]], None]
"""Hears of which model a key's limits are told, and what is told of them."""


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of one request of a batch, told by the id that it was submitted under."""

    custom_id: str
    outcome: LLMResponse | ProviderError


class Batches(Protocol):
    """Batches of one model: many requests that are answered within a day, for less.

    All raise `ProviderError`. A batch holds up to `most_requests` lines, together up to `most_bytes`. They
    belong to the `key` of that name, "" where there is but one: no other key finds them.
    """

    key: str
    most_requests: int
    most_bytes: int

    def line(self, custom_id: str, request: LLMRequest) -> bytes:
        """The request as a batch holds it; nothing is sent."""
        ...

    async def submit(self, tag: str, lines: Sequence[bytes]) -> BatchStatus:
        """A new batch. Where this fails after it was sent, `find` tells whether there is one."""
        ...

    async def find(self, tag: str, since: float, total: int, excluded: Collection[str]) -> BatchStatus | None:
        """The batch of `total` lines that was submitted under `tag`, no earlier than `since`.

        A provider that keeps no tags gives one that may be it, none of those `excluded`: its status has no
        tag, and the ids of its results tell.
        """
        ...

    async def status(self, id: str) -> BatchStatus: ...

    async def cancel(self, id: str) -> BatchStatus:
        """Asks the provider to stop it; what is done by then stays."""
        ...

    def results(self, id: str, like: LLMRequest) -> AsyncIterator[BatchResult]:
        """The results of a batch that is over, in any order; `like` is one of its requests.

        A download that breaks, or is not whole, raises after the results that had come.
        """
        ...


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

    def batches(self, model: str) -> Batches:
        """Its batches, of the model of that name; `ProviderError` of kind unsupported where it takes none."""
        ...

    async def aclose(self) -> None:
        """Let go of everything: connections, clients, a model in memory."""
        ...
