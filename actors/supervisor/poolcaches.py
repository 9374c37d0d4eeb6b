"""Forgets the answers that a pool has kept, wherever they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from llmgine.actors.control import ActorAway, ActorGone
from llmgine.actors.pools.errors import PoolNotReady
from llmgine.actors.store import StoreClient
from llmgine.actors.store.operations import DropResponses
from llmgine.actors.supervisor.children import Children


class PoolCaches:
    """Answers are in the memory of a pool's actors and in the store, from which actors take them again."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._store: StoreClient | None = None

    def keep_in(self, store: StoreClient) -> None:
        self._store = store

    async def clear(self, pool: str, actors: Callable[[], Sequence[str]]) -> None:
        """Raises `PoolNotReady` where an actor, and `StoreUnavailable` where the store does not answer."""
        await self._clear(actors())
        if self._store is not None:
            await self._store.write([DropResponses(pool)])
        # What an actor had read from the store before it was cleared there is in its memory by now.
        await self._clear(actors())

    async def _clear(self, actors: Sequence[str]) -> None:
        await asyncio.gather(*map(self._clear_one, actors))

    async def _clear_one(self, actor: str) -> None:
        try:
            await self._children.clear_cache(actor)
        except (ActorAway, ActorGone):
            pass  # So has its memory.
        except TimeoutError:
            raise PoolNotReady(f"{actor} has not forgotten its answers in time; ask for it again") from None
