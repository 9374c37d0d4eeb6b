"""The lines of a batch while it is being put together. Pure."""

from __future__ import annotations

from llmgine.providers import ErrorKind, ErrorPhase, LLMRequest, ProviderError
from llmgine.providers.provider import Batches


class Draft:
    """Takes requests in their order as long as the batch has room.

    `seen` counts those that were taken, or refused, before the first for which there was no room.
    """

    def __init__(self, batches: Batches) -> None:
        self._batches = batches
        self._bytes = 0
        self._full = False
        self.seen = 0
        self.lines: list[bytes] = []

    def add(self, custom_id: str, request: LLMRequest) -> None:
        """`ProviderError` for a request that no batch can hold."""
        if self._full or len(self.lines) >= self._batches.most_requests:
            self._full = True
            return
        try:
            line = self._batches.line(custom_id, request)
            if len(line) >= self._batches.most_bytes:
                raise _too_large(len(line), self._batches.most_bytes)
        except ProviderError:
            self.seen += 1
            raise
        # Each line is followed by one byte that parts it from the next.
        if self._bytes + len(line) + 1 > self._batches.most_bytes:
            self._full = True
            return
        self.seen += 1
        self.lines.append(line)
        self._bytes += len(line) + 1


def _too_large(size: int, most: int) -> ProviderError:
    return ProviderError(
        f"the request has {size} bytes, and a batch holds {most}",
        kind=ErrorKind.INVALID_REQUEST,
        phase=ErrorPhase.REQUEST,
    )
