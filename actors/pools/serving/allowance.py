"""What calls may use of each key, as those who make the calls ask for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from llmgine.actors.pools.serving.call import Call, R
from llmgine.providers import Done, EmbeddingResponse, Failed


class Reservation(Protocol):
    """What one try at a call may use of the key of this name; it is settled once."""

    @property
    def key(self) -> str: ...


class Allowance(Protocol):
    """Hands out what may be used of the keys of one actor, by their names."""

    def take(self, keys: Sequence[str], model: str, call: Call[R]) -> Reservation | None:
        """What the call needs, of the first of the keys that has it; None where it must wait."""
        ...

    async def wait(self, keys: Sequence[str], model: str, call: Call[R], until: float) -> Reservation | float:
        """The same once it is the call's turn; after `until`, or where that is in vain, the seconds until
        it may be."""
        ...

    def release(self, reservation: Reservation) -> None:
        """Nothing was sent."""
        ...

    def answered(self, reservation: Reservation) -> None:
        """The answer has begun."""
        ...

    def settle(self, reservation: Reservation, end: Done | EmbeddingResponse | Failed | None) -> None:
        """The try is over, and came to that; None where it was given up."""
        ...


@dataclass(frozen=True, slots=True)
class _Free:
    key: str


class Unlimited:
    """An allowance where nothing is limited."""

    def take(self, keys: Sequence[str], model: str, call: Call[R]) -> Reservation | None:
        return _Free(keys[0])

    async def wait(self, keys: Sequence[str], model: str, call: Call[R], until: float) -> Reservation | float:
        return _Free(keys[0])

    def release(self, reservation: Reservation) -> None:
        pass

    def answered(self, reservation: Reservation) -> None:
        pass

    def settle(self, reservation: Reservation, end: Done | EmbeddingResponse | Failed | None) -> None:
        pass
