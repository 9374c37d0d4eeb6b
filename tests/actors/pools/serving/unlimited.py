"""Keys of which anything may be used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llmgine.actors.pools.serving.call import Call, R
from llmgine.providers import Done, EmbeddingResponse, Failed, RateLimit


@dataclass(slots=True)
class _Free:
    key: str


class Unlimited:
    """An allowance where nothing is limited."""

    def take(self, keys: Sequence[str], model: str, call: Call[R]) -> _Free:
        return _Free(keys[0])

    async def wait(self, keys: Sequence[str], model: str, call: Call[R], until: float) -> _Free:
        return _Free(keys[0])

    def release(self, reservation: _Free) -> None:
        pass

    def told(self, key: str, model: str, limits: Sequence[RateLimit]) -> None:
        pass

    def answered(self, reservation: _Free) -> None:
        pass

    def settle(self, reservation: _Free, end: Done | EmbeddingResponse | Failed | None) -> None:
        pass
