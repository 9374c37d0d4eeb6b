"""How pools stand, as their supervisor knows it; at most about a second old."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

ActorState = Literal["starting", "ready", "draining"]


@dataclass(frozen=True, slots=True)
class PoolActor:
    """One provider actor as it stood `age` seconds ago; without an age it has told nothing yet.

    `in_flight` calls run, at most `limit` at once, which adapts; `waiting` ones queue in the actor. `done`
    and `failed` count calls since the actor started. `loop_lag` is by how many seconds its loop comes late,
    `cpu` the share of one CPU that its process uses. `parts` is what each part of it says of itself.
    """

    name: str
    state: ActorState
    node: str
    age: float | None
    in_flight: int
    waiting: int
    limit: int
    done: int
    failed: int
    loop_lag: float
    cpu: float
    parts: Mapping[str, Any]

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        parts = {name: part for name, part in told.items() if isinstance(part, Mapping)}
        door, calls = parts.get("admission", {}), parts.get("calls", {})
        return cls(
            name=told["name"],
            state=told["state"],
            node=told["node"],
            age=told["age"],
            in_flight=door.get("in_flight", 0),
            waiting=sum(door.get("waiting", {}).values()),
            limit=door.get("limit", 0),
            done=calls.get("done", 0),
            failed=sum(calls.get("failed", {}).values()),
            loop_lag=parts.get("loop", {}).get("lag", 0.0),
            cpu=parts.get("process", {}).get("cpu", 0.0),
            parts=parts,
        )


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """One pool: `size` actors are wanted, of which `ready` take calls and `starting` are on their way.

    `max_in_flight` is the bound of one actor. `usable` is how many calls at once the pool's quotas have
    room for, None where nothing limits them or it is not known. `scaling` holds the bounds between which
    the size follows the load, None where it does not. `quota` is each limit of each key, and what is used
    of it. `changes` are settings that were changed since the
    launch; `failure` says why an actor could not be started the last time.
    """

    provider: str
    size: int
    ready: int
    starting: int
    draining: int
    in_flight: int
    waiting: int
    max_in_flight: int
    loop_lag: float
    usable: float | None
    scaling: tuple[int, int] | None
    quota: Mapping[str, Any]
    changes: Mapping[str, Any]
    failure: str | None
    actors: tuple[PoolActor, ...]

    @classmethod
    def of(cls, provider: str, told: Mapping[str, Any]) -> Self:
        lowest_highest = told["scaling"]
        return cls(
            **{
                **told,
                "provider": provider,
                "scaling": lowest_highest and (lowest_highest[0], lowest_highest[1]),
                "actors": tuple(PoolActor.of(actor) for actor in told["actors"]),
            }
        )

    @property
    def done(self) -> int:
        """Calls that were answered by the actors that there are."""
        return sum(actor.done for actor in self.actors)

    @property
    def failed(self) -> int:
        """Calls that failed in the actors that there are."""
        return sum(actor.failed for actor in self.actors)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)
