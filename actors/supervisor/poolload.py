"""What the pools carry, as their actors tell of themselves each second, and the sizes that follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llmgine.actors.pools import PoolOptions
from llmgine.actors.pools.scaling import Autoscaler, Load, ScalingOptions
from llmgine.actors.supervisor.pooltable import Actor, Pool

# Figures older than this say nothing of now, in seconds.
_STALE = 5.0


class PoolLoads:
    """The latest figures of each actor; `usable` tells how many calls at once a pool's quotas allow."""

    def __init__(
        self, clock: Callable[[], float], usable: Callable[[str], float | None] = lambda provider: None
    ) -> None:
        self._clock = clock
        self._usable = usable
        self._figures: dict[str, tuple[float, dict[str, Any]]] = {}
        self._scalers: dict[str, tuple[ScalingOptions, Autoscaler]] = {}

    def told(self, actor: str, figures: dict[str, Any]) -> None:
        """An actor says how it stands."""
        self._figures[actor] = (self._clock(), figures)

    def forget(self, actor: str) -> None:
        self._figures.pop(actor, None)

    def size(self, pool: Pool, options: PoolOptions) -> int:
        """How many actors the pool shall have, by its load where its settings say so."""
        if not options.scaling.enabled or not pool.plan.size:
            self._scalers.pop(pool.provider, None)
            return pool.plan.size
        scaling, scaler = self._scalers.get(pool.provider, (None, None))
        if scaler is None or scaling != options.scaling:
            scaler = Autoscaler(options.scaling)
            self._scalers[pool.provider] = options.scaling, scaler
        return scaler.decide(self._clock(), self._load(pool, options))

    def statistics(self, pool: Pool, options: PoolOptions) -> dict[str, Any]:
        """How the pool stands, as plain values; of each actor what it has told last."""
        load, scaling = self._load(pool, options), options.scaling
        return {
            "size": pool.plan.size,
            "ready": load.ready,
            "starting": len(pool.starting),
            "draining": sum(actor.state == "draining" for actor in pool.actors.values()),
            "in_flight": load.in_flight,
            "waiting": load.waiting,
            "max_in_flight": load.capacity,
            "loop_lag": load.loop_lag,
            "usable": load.usable,
            "scaling": [scaling.min_size, scaling.max_size] if scaling.enabled else None,
            "changes": pool.plan.changes,
            "failure": str(pool.failure) if pool.failure else None,
            "actors": [self._told(actor) for actor in pool.actors.values()],
        }

    def _told(self, actor: Actor) -> dict[str, Any]:
        at, figures = self._figures.get(actor.name, (None, {}))
        return {
            "name": actor.name,
            "state": actor.state,
            "node": actor.node,
            "age": None if at is None else self._clock() - at,
            **figures,
        }

    def _load(self, pool: Pool, options: PoolOptions) -> Load:
        fresh = self._clock() - _STALE
        told = [self._figures.get(actor.name, (fresh, {})) for actor in pool.ready]
        figures = [each for at, each in told if at > fresh]
        doors = [each["admission"] for each in figures]
        pressed = bool(doors) and all(door["limit"] < door["max_in_flight"] for door in doors)
        rooms = [self._usable(pool.provider), sum(door["limit"] for door in doors) if pressed else None]
        return Load(
            size=pool.plan.size,
            ready=len(pool.ready),
            in_flight=sum(door["in_flight"] for door in doors),
            waiting=sum(sum(door["waiting"].values()) for door in doors),
            capacity=options.max_in_flight,
            loop_lag=sum(each["loop"]["lag"] for each in figures) / max(1, len(figures)),
            usable=min((room for room in rooms if room is not None), default=None),
            complete=len(figures) == len(pool.ready),
        )
