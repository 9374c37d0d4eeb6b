"""What calls may use of each key, as those who make the calls ask for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from llmgine.actors.pools.serving.call import Call, R
from llmgine.providers import Done, EmbeddingResponse, Failed, RateLimit


class Reservation(Protocol):
    """What one try at a call may use of the key of this name. It is released or settled, once."""

    key: str


class Allowance(Protocol):
    """Hands out what may be used of the keys of one actor, by their names."""

    def take(self, keys: Sequence[str], model: str, call: Call[R]) -> Any | None:
        """A `Reservation` of what the call needs, of the first key that has it; None where it must wait."""
        ...

    async def wait(self, keys: Sequence[str], model: str, call: Call[R], until: float) -> Any:
        """As `take`, when it is the call's turn.

        Raises `ProviderError` at `until`, and at once where waiting so long, or at all, is in vain.
        """
        ...

    def release(self, reservation: Any) -> None:
        """Nothing was sent."""
        ...

    def told(self, key: str, model: str, limits: Sequence[RateLimit]) -> None:
        """An answer has begun, and said this of the key's limits."""
        ...

    def answered(self, reservation: Any) -> None:
        """The answer has begun."""
        ...

    def settle(self, reservation: Any, end: Done | EmbeddingResponse | Failed | None) -> None:
        """The try is over, and came to that; None where it was given up."""
        ...
