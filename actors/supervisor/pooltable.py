"""Which provider actors there are and should be; the supervisor's decisions on pools, without its hands."""

from __future__ import annotations

from dataclasses import dataclass, field

from llmgine.actors.control import names


@dataclass(slots=True)
class Pool:
    """Actors of one provider. `ready` ones are told to callers; others are on their way in or out."""

    provider: str
    ready: list[str] = field(default_factory=list)
    next_number: int = 0


@dataclass(frozen=True, slots=True)
class Scale:
    """What brings a pool to its size: actors to start, and actors to drain and end."""

    start: tuple[str, ...]
    drain: tuple[str, ...]


class PoolTable:
    """The pools of one runtime."""

    def __init__(self) -> None:
        self.pools: dict[str, Pool] = {}
        self._nodes: dict[str, str] = {}

    def resize(self, provider: str, size: int) -> Scale:
        """Surplus actors leave the table at once; started ones enter it by `joined`."""
        if size < 0:
            raise ValueError(f"a pool has 0 or more actors, not {size}")
        pool = self.pools.setdefault(provider, Pool(provider))
        start = []
        for _ in range(size - len(pool.ready)):
            start.append(names.provider(provider, pool.next_number))
            pool.next_number += 1
        drain = tuple(pool.ready[size:])
        del pool.ready[size:]
        return Scale(tuple(start), drain)

    def joined(self, actor: str) -> bool:
        """An actor is up and takes calls; False where it is known already."""
        provider, number = names.parse_provider(actor)
        pool = self.pools.setdefault(provider, Pool(provider))
        pool.next_number = max(pool.next_number, number + 1)
        if actor in pool.ready:
            return False
        pool.ready.append(actor)
        return True

    def gone(self, actor: str) -> bool:
        """An actor will not come back; True where callers must be told."""
        provider, _ = names.parse_provider(actor)
        pool = self.pools.get(provider)
        if pool is None or actor not in pool.ready:
            return False
        pool.ready.remove(actor)
        self._nodes.pop(actor, None)
        return True

    def placed(self, actor: str, node: str) -> bool:
        """An actor says on which node it lives; True where callers must be told."""
        known, self._nodes[actor] = self._nodes.get(actor), node
        return known not in (None, node) and actor in self.members(names.parse_provider(actor)[0])

    def members(self, provider: str) -> list[str]:
        pool = self.pools.get(provider)
        return list(pool.ready) if pool else []

    def places(self, provider: str) -> list[list[str]]:
        """What callers are told of a pool: each actor and its node."""
        return [[actor, self._nodes.get(actor, "")] for actor in self.members(provider)]

    def snapshot(self) -> dict[str, list[list[str]]]:
        """What callers are told: the places of each pool."""
        return {provider: self.places(provider) for provider in self.pools}
