"""Batches that tell which key they belong to: no other key finds them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence

from llmgine.providers.contracts import BatchStatus, LLMRequest
from llmgine.providers.provider import Batches, BatchResult


class KeyBatches:
    """The batches of `inner` under the key of that name."""

    def __init__(self, inner: Batches, key: str) -> None:
        self.most_requests = inner.most_requests
        self.most_bytes = inner.most_bytes
        self._inner = inner
        self._key = key

    def line(self, custom_id: str, request: LLMRequest) -> bytes:
        return self._inner.line(custom_id, request)

    async def submit(self, tag: str, lines: Sequence[bytes]) -> BatchStatus:
        return self._signed(await self._inner.submit(tag, lines))

    async def find(self, tag: str, since: float, total: int, excluded: Collection[str]) -> BatchStatus | None:
        found = await self._inner.find(tag, since, total, excluded)
        return None if found is None else self._signed(found)

    async def status(self, id: str) -> BatchStatus:
        return self._signed(await self._inner.status(id))

    async def cancel(self, id: str) -> BatchStatus:
        return self._signed(await self._inner.cancel(id))

    def results(self, id: str, like: LLMRequest) -> AsyncIterator[BatchResult]:
        return self._inner.results(id, like)

    def _signed(self, status: BatchStatus) -> BatchStatus:
        return status.model_copy(update={"key": self._key})
