"""What befalls the simulated pools, and the figures that come of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from benchmarks.figures import percentile
from benchmarks.simulated.policies import AtRandom, LeastLoaded
from benchmarks.simulated.world import Actor, Call, Policy, World
from llmgine.actors.pools.routing import Router

CALLERS: Final = 6
_ACTORS: Final = 8
_SECONDS: Final = 60.0
_RATE: Final = 90.0  # calls per second: 70 % of what 8 actors of 16 slots and calls of a second can take
_TAIL: Final = 1.5  # the exponent of a Pareto distribution: a finite mean, an infinite variance

Made = Callable[[random.Random, World], Policy]

POLICIES: Final[Mapping[str, Made]] = {
    "ours": lambda chance, world: Router(chance),
    "random": lambda chance, world: AtRandom(chance),
    "least_loaded": lambda chance, world: LeastLoaded(
        chance, lambda: {name: actor.in_flight for name, actor in world.actors.items()}
    ),
}


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of trouble: what the actors are like, how long calls take, and when they come."""

    name: str
    actors: Callable[[], list[Actor]]
    seconds: Callable[[random.Random], float]
    arrivals: Callable[[random.Random, float], Iterator[float]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The waits until each call's first chunk, and by how much the fullest actor was beyond the mean."""

    waits_ms: list[float]
    imbalance: float

    @property
    def p99_ms(self) -> float:
        return percentile(self.waits_ms, 99)


def _even() -> list[Actor]:
    return [Actor(f"p{number}") for number in range(_ACTORS)]


def _one_slow() -> list[Actor]:
    """One of them takes four times as long in the middle third."""
    first, *others = _even()
    first.slower = lambda now: 4.0 if _SECONDS / 3 < now < _SECONDS * 2 / 3 else 1.0
    return [first, *others]


def _one_dies() -> list[Actor]:
    """One of them falls silent; five seconds pass until the table says so."""
    first, *others = _even()
    first.dies = _SECONDS / 2
    return [first, *others]


def _ordinary(chance: random.Random) -> float:
    return chance.lognormvariate(-0.125, 0.5)


def _heavy(chance: random.Random) -> float:
    """Most calls are short and a few are very long; a second in the mean."""
    return min(chance.paretovariate(_TAIL) * (_TAIL - 1) / _TAIL, 60.0)


def _steady(chance: random.Random, seconds: float) -> Iterator[float]:
    at = chance.expovariate(_RATE)
    while at < seconds:
        yield at
        at += chance.expovariate(_RATE)


def _bursts(chance: random.Random, seconds: float) -> Iterator[float]:
    """Every five seconds come three seconds' calls within one."""
    for at in _steady(chance, seconds):
        within = at % 5.0
        yield at if within < 2.0 else at - within + (within - 2.0) / 3.0


SCENARIOS: Final = (
    Scenario("even", _even, _ordinary, _steady),
    Scenario("slow", _one_slow, _ordinary, _steady),
    Scenario("dying", _one_dies, _ordinary, _steady),
    Scenario("heavy", _even, _heavy, _steady),
    Scenario("bursty", _even, _ordinary, _bursts),
)


def simulated(scenario: Scenario, made: Made, seed: int, scale: float = 1.0) -> Outcome:
    """One run; equal seeds give equal calls, whoever chooses."""
    chance = random.Random(seed)
    calls = [
        Call(at, chance.randrange(CALLERS), scenario.seconds(chance))
        for at in sorted(scenario.arrivals(chance, _SECONDS * scale))
    ]
    world = World(scenario.actors())
    world.callers([made(random.Random(seed * 1_000 + number), world) for number in range(CALLERS)])
    world.run(calls)
    return Outcome([call.waited * 1_000 for call in calls], fmean(world.imbalances))
