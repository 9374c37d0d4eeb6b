"""Batches that tell which key they belong to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence

from llmgine.providers.contracts import BatchStatus, LLMRequest
from llmgine.providers.provider import Batches, BatchResult


class KeyBatches:
    """The batches of `inner` under the key of that name."""

    def __init__(self, inner: Batches, key: str) -> None:
        self.key = key
        self.most_requests = inner.most_requests
        self.most_bytes = inner.most_bytes
        self._inner = inner

    def line(self, custom_id: str, request: LLMRequest) -> bytes:
        return self._inner.line(custom_id, request)

    async def submit(self, tag: str, lines: Sequence[bytes]) -> BatchStatus:
        return await self._inner.submit(tag, lines)

    async def find(self, tag: str, since: float, total: int, excluded: Collection[str]) -> BatchStatus | None:
        return await self._inner.find(tag, since, total, excluded)

    async def status(self, id: str) -> BatchStatus:
        return await self._inner.status(id)

    async def cancel(self, id: str) -> BatchStatus:
        return await self._inner.cancel(id)

    def results(self, id: str, like: LLMRequest) -> AsyncIterator[BatchResult]:
        return self._inner.results(id, like)
