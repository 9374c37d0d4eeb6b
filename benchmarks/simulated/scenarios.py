"""What befalls the simulated pools, and the figures that come of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from benchmarks.figures import percentile
from benchmarks.simulated.policies import AtRandom, LeastLoaded
from benchmarks.simulated.world import Actor, Call, Policy, World
from llmgine.actors.pools.routing import Router
from llmgine.actors.pools.scaling import Autoscaler, ScalingOptions

_CALLERS: Final = 6
_SESSIONS: Final = 240
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
    callers: int = _CALLERS
    scaling: ScalingOptions | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one run, or of several put together."""

    waits_ms: list[float]
    """Until the first chunk of each call."""
    imbalance: float
    """What the fullest actor carried, in the mean of the time, as a multiple of the mean of all."""
    stayed: float
    """The share of calls that went where their session's last went."""
    sizes: list[tuple[float, float]]
    """How many actors there were, by the time."""
    needs: list[tuple[float, float]]
    """How many could carry the calls of that time."""

    @property
    def actors(self) -> float:
        """How many there were in the mean of the time."""
        return fmean(size for _, size in self.sizes)

    @property
    def p99_ms(self) -> float:
        return percentile(self.waits_ms, 99)


def _even() -> list[Actor]:
    return [Actor(f"p{number}") for number in range(_ACTORS)]


def _few() -> list[Actor]:
    return _even()[:2]


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


def _day(chance: random.Random, seconds: float) -> Iterator[float]:
    """A fifth of the calls, but for the time between a quarter and six tenths of it."""
    for at in _steady(chance, seconds):
        if 0.25 < at / seconds < 0.6 or chance.random() < 0.2:
            yield at


SCENARIOS: Final = (
    Scenario("even", _even, _ordinary, _steady),
    Scenario("slow", _one_slow, _ordinary, _steady),
    Scenario("sparse", _one_slow, _ordinary, _steady, callers=40),
    Scenario("dying", _one_dies, _ordinary, _steady),
    Scenario("heavy", _even, _heavy, _steady),
    Scenario("bursty", _even, _ordinary, _bursts),
    Scenario(
        "scaled",
        _few,
        _ordinary,
        _day,
        scaling=ScalingOptions(enabled=True, min_size=2, max_size=8, up_delay=1.0, down_delay=8.0),
    ),
)


def simulated(scenario: Scenario, made: Made, seeds: Iterable[int]) -> Outcome:
    """Equal seeds give equal calls, whoever chooses."""
    runs = [_run(scenario, made, seed) for seed in seeds]
    return Outcome(
        [wait for run in runs for wait in run.waits_ms],
        fmean(run.imbalance for run in runs),
        fmean(run.stayed for run in runs),
        runs[-1].sizes,
        runs[-1].needs,
    )


def _run(scenario: Scenario, made: Made, seed: int) -> Outcome:
    chance = random.Random(seed)
    calls = [
        Call(at, chance.randrange(scenario.callers), scenario.seconds(chance))
        for at in sorted(scenario.arrivals(chance, _SECONDS))
    ]
    for call in calls:
        call.session = f"{call.caller}-{chance.randrange(_SESSIONS // scenario.callers)}"
    world = World(scenario.actors())
    world.callers([made(random.Random(seed * 1_000 + one), world) for one in range(scenario.callers)])
    if scenario.scaling is not None:
        world.scale(Autoscaler(scenario.scaling))
    world.run(calls)
    waits = [call.waited * 1_000 for call in calls]
    return Outcome(waits, fmean(world.imbalances), _stayed(calls), world.sizes, world.needs)


def _stayed(calls: list[Call]) -> float:
    """Where a session's call went at once, and was not sent on from."""
    last: dict[str, str] = {}
    stayed = 0
    for call in calls:
        stayed += last.get(call.session) == call.actor
        last[call.session] = call.actor
    return stayed / (len(calls) - len(last))
