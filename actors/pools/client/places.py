"""Where the actors of each pool are, as this process was told, and how busy each seems from here."""

from __future__ import annotations

import random
from typing import Protocol

from llmgine.actors.pools.routing import Router
from llmgine.providers import LlmgineError


class PoolRegistry(Protocol):
    """Who knows, or starts, the actors of a pool."""

    async def ensure_pool(self, provider: str) -> list[list[str]]: ...


class Places:
    """The table of pools, which is pushed here, with a router for each pool."""

    def __init__(self, registry: PoolRegistry, chance: random.Random, node: str) -> None:
        self._registry = registry
        self._chance = chance
        self._node = node
        self._routers: dict[str, Router] = {}
        self._members: dict[str, list[list[str]]] = {}

    def update(self, pools: dict[str, list[list[str]]]) -> None:
        """The supervisor's table of pools, whole: the name and the node of each actor."""
        self._members = pools
        for provider, actors in pools.items():
            self._router(provider).update(dict(actors))

    async def router(self, provider: str) -> Router:
        """The pool's router; a pool that nobody has told of is asked for, and started where there is none."""
        if not self._members.get(provider):
            actors = await self._registry.ensure_pool(provider)
            # A table that was pushed meanwhile is newer than this answer.
            if not self._members.get(provider):
                self.update({**self._members, provider: actors})
        return self._router(provider)

    async def is_stale(self, provider: str) -> bool:
        """Whether the pool has other actors than was known, which then are; asks who knows."""
        before = self._members.get(provider)
        try:
            actors = await self._registry.ensure_pool(provider)
        except LlmgineError:
            return False
        if self._members.get(provider) == before:
            self.update({**self._members, provider: actors})
        return self._members.get(provider) != before

    def _router(self, provider: str) -> Router:
        if provider not in self._routers:
            self._routers[provider] = Router(self._chance, self._node)
        return self._routers[provider]
