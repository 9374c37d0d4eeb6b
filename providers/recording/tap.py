"""Where an exchange shows its bytes to whoever records them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Tap(Protocol):
    """Sees one exchange as it passes. Nothing here waits, and nothing here raises."""

    def answered(self, status: int, headers: Mapping[str, str]) -> None:
        """The head of the answer is there."""
        ...

    def chunk(self, data: bytes) -> None:
        """A piece of the body came."""
        ...

    def ended(self, error: str | None) -> None:
        """The exchange is over: `error` is the kind of its failure, None where it ended well."""
        ...
