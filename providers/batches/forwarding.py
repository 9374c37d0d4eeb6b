"""Batches that stand before others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence

from llmgine.providers.contracts import BatchStatus, LLMRequest
from llmgine.providers.provider import Batches, BatchResult


class ForwardingBatches:
    """Hands every call to `inner`; what is to be otherwise, a subclass says."""

    def __init__(self, inner: Batches) -> None:
        self.key = inner.key
        self.most_requests = inner.most_requests
        self.most_bytes = inner.most_bytes
        self.inner = inner

    def line(self, custom_id: str, request: LLMRequest) -> bytes:
        return self.inner.line(custom_id, request)

    async def submit(self, tag: str, lines: Sequence[bytes]) -> BatchStatus:
        return await self.inner.submit(tag, lines)

    async def find(self, tag: str, since: float, total: int, excluded: Collection[str]) -> BatchStatus | None:
        return await self.inner.find(tag, since, total, excluded)

    async def status(self, id: str) -> BatchStatus:
        return await self.inner.status(id)

    async def cancel(self, id: str) -> BatchStatus:
        return await self.inner.cancel(id)

    def results(self, id: str, like: LLMRequest) -> AsyncIterator[BatchResult]:
        return self.inner.results(id, like)
