"""Where an exchange shows its bytes to whoever records them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from llmgine.providers.errors import ProviderError


class Tap(Protocol):
    """Sees one exchange as it passes. Nothing here waits, and nothing here raises."""

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """The head of the answer is there."""
        ...

    def chunk(self, data: bytes) -> None:
        """A piece of the body came."""
        ...

    def ended(self, error: ProviderError | None) -> None:
        """The exchange is over: `error` is what ended it, None where it ended well."""
        ...
