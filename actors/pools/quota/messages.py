"""What an actor tells the owner of the quotas, and what it is told.

An ask holds all that the owner must know of the actor, not what has changed: one that is lost, comes twice
or late does no harm, and after the owner's restart the next is as good as any before. Clocks differ, so
that times are told as ages.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final, Self

from llmgine.actors.pools.quota.meters import Limit, Meter, Source

# What both say to each other on the stream between an actor and the supervisor.
QUOTA: Final = "quota"


@dataclass(frozen=True, slots=True)
class _Message:
    def to_wire(self) -> list[Any]:
        return [getattr(self, one.name) for one in fields(self)]

    @classmethod
    def from_wire(cls, wire: list[Any]) -> Self:
        return cls(*wire)


@dataclass(frozen=True, slots=True)
class State(_Message):
    """What an actor has of one meter.

    `used` holds how long ago what amount was counted, `open` is what running calls may yet use, `spare` what
    the actor keeps of its lease. It `wants` more, of which it can use no less than `least`, for a call that
    waits since `waited` seconds. `answered` counts the calls that were answered well.
    """

    meter: Meter
    used: tuple[tuple[float, float], ...] = ()
    open: float = 0.0
    spare: float = 0.0
    wants: float = 0.0
    least: float = 0.0
    waited: float = 0.0
    answered: int = 0

    @classmethod
    def from_wire(cls, wire: list[Any]) -> Self:
        meter, used, *rest = wire
        return cls(Meter(*meter), tuple((age, amount) for age, amount in used), *rest)


@dataclass(frozen=True, slots=True)
class Told(_Message):
    """What a provider told of one of its limits, `age` seconds ago."""

    meter: Meter
    amount: float
    window: float
    age: float
    remaining: float | None = None
    resets_in: float | None = None

    @classmethod
    def from_wire(cls, wire: list[Any]) -> Self:
        meter, *rest = wire
        return cls(Meter(*meter), *rest)


@dataclass(frozen=True, slots=True)
class Refused(_Message):
    """A provider refused a call of this key and group, `age` seconds ago; refusals are numbered."""

    number: int
    key: str
    group: str
    age: float
    retry_after: float | None


@dataclass(frozen=True, slots=True)
class Ask(_Message):
    """All that the owner must know of one life of an actor; asks of one life are numbered.

    `spent` holds day, key, group and dollars. `others` is what the last grant said of other actors, `running`
    how many calls are under way.
    """

    actor: str
    life: int
    number: int
    states: tuple[State, ...] = ()
    told: tuple[Told, ...] = ()
    refused: tuple[Refused, ...] = ()
    spent: tuple[tuple[int, str, str, float], ...] = ()
    others: tuple[Share, ...] = ()
    running: int = 0

    def to_wire(self) -> list[Any]:
        return [
            self.actor,
            self.life,
            self.number,
            [one.to_wire() for one in self.states],
            [one.to_wire() for one in self.told],
            [one.to_wire() for one in self.refused],
            [list(one) for one in self.spent],
            [one.to_wire() for one in self.others],
            self.running,
        ]

    @classmethod
    def from_wire(cls, wire: list[Any]) -> Self:
        actor, life, number, states, told, refused, spent, others, running = wire
        return cls(
            actor,
            life,
            number,
            tuple(State.from_wire(one) for one in states),
            tuple(Told.from_wire(one) for one in told),
            tuple(Refused.from_wire(one) for one in refused),
            tuple((day, key, group, dollars) for day, key, group, dollars in spent),
            tuple(Share.from_wire(one) for one in others),
            running,
        )


@dataclass(frozen=True, slots=True)
class Share(_Message):
    """What one life of an actor had of a meter, `age` seconds ago; all is free `after` seconds from then."""

    meter: Meter
    actor: str
    life: int
    amount: float
    after: float
    age: float = 0.0

    @classmethod
    def from_wire(cls, wire: list[Any]) -> Self:
        meter, *rest = wire
        return cls(Meter(*meter), *rest)


@dataclass(frozen=True, slots=True)
class Granted(_Message):
    """The limit of one meter, and what the actor may use of it beyond what it told that it keeps.

    `free` is what nobody has by now, and `scarce` says that some actor waits for it.
    """

    meter: Meter
    amount: float
    limit: Limit
    free: float = 0.0
    scarce: bool = False

    def to_wire(self) -> list[Any]:
        limit = self.limit
        return [
            self.meter,
            self.amount,
            [limit.amount, limit.window, limit.burst, limit.source],
            self.free,
            self.scarce,
        ]

    @classmethod
    def from_wire(cls, wire: list[Any]) -> Self:
        meter, amount, limit, free, scarce = wire
        return cls(Meter(*meter), amount, _limit(limit), free, scarce)


@dataclass(frozen=True, slots=True)
class Grant(_Message):
    """The answer to the ask of that number; it holds for `lease` seconds from when that was made.

    `pauses` holds key, group and seconds for which nothing shall be sent; `again` is when it is worth to ask
    again for what was not granted. Meters that were asked for and do not stand here have no limit.
    """

    number: int
    lease: float
    again: float
    granted: tuple[Granted, ...] = ()
    pauses: tuple[tuple[str, str, float], ...] = ()
    others: tuple[Share, ...] = ()

    def to_wire(self) -> list[Any]:
        return [
            self.number,
            self.lease,
            self.again,
            [one.to_wire() for one in self.granted],
            [list(one) for one in self.pauses],
            [one.to_wire() for one in self.others],
        ]

    @classmethod
    def from_wire(cls, wire: list[Any]) -> Self:
        number, lease, again, granted, pauses, others = wire
        return cls(
            number,
            lease,
            again,
            tuple(Granted.from_wire(one) for one in granted),
            tuple((key, group, seconds) for key, group, seconds in pauses),
            tuple(Share.from_wire(one) for one in others),
        )


def _limit(wire: list[Any]) -> Limit:
    amount, window, burst, source = wire
    told: Source = source
    return Limit(amount, window, burst, told)
