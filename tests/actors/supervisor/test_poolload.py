"""What actors tell of themselves, and the sizes that follow from it."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.actors.pools import PoolOptions
from llmgine.actors.pools.scaling import ScalingOptions
from llmgine.actors.supervisor.poolload import PoolLoads
from llmgine.actors.supervisor.pooltable import Pool, PoolTable

SCALING = ScalingOptions(enabled=True, max_size=8, target=0.5, up_delay=0, down_delay=0)
OPTIONS = PoolOptions(max_in_flight=20, scaling=SCALING)


class Loads:
    """Two actors of one pool, a clock, and what the quotas have room for."""

    def __init__(self) -> None:
        self.now = 100.0
        self.usable: float | None = None
        self.loads = PoolLoads(lambda: self.now, lambda provider: self.usable)
        table = PoolTable()
        table.resize("p", 2)
        for actor in table.steps("p", 0).start:
            table.joined(actor, 0)
        self.pool: Pool = table.of("p")

    def told(self, number: int, in_flight: int, *, limit: int = 20, waiting: int = 0, lag: float = 0) -> None:
        door = {"in_flight": in_flight, "waiting": {"interactive": waiting, "batch": 0}}
        figures: dict[str, Any] = {"admission": {**door, "limit": limit, "max_in_flight": 20}}
        self.loads.told(f"provider-p-{number}", {**figures, "loop": {"lag": lag}})

    def size(self, options: PoolOptions = OPTIONS) -> int:
        """What is asked for once the delays, which are none, have passed."""
        self.loads.size(self.pool, options)
        return self.loads.size(self.pool, options)


@pytest.fixture
def loads() -> Loads:
    return Loads()


def test_calls_of_all_actors_ask_for_a_size(loads: Loads) -> None:
    """Running and waiting calls count, wherever they are."""
    loads.told(0, 20, waiting=3)
    loads.told(1, 7)
    assert loads.size() == 3
    assert loads.size(OPTIONS.model_copy(update={"scaling": ScalingOptions()})) == 2


def test_lagging_loops_ask_for_a_size(loads: Loads) -> None:
    """The mean of the actors counts, so that one slow process alone changes nothing."""
    loads.told(0, 9, lag=0.15)
    loads.told(1, 9, lag=0.0)
    assert loads.size() == 2
    loads.told(1, 9, lag=0.15)
    assert loads.size() == 3


def test_what_cannot_be_used_asks_for_nothing(loads: Loads) -> None:
    """Calls beyond the quotas do not count, nor what a provider refuses to bear of every actor."""
    loads.told(0, 20, waiting=60)
    loads.told(1, 20, waiting=60)
    loads.usable = 25.0
    assert loads.size() == 3
    loads.usable = None
    loads.told(0, 9, limit=9, waiting=60)
    assert loads.size() == 4
    loads.told(1, 9, limit=9, waiting=60)
    assert loads.size() == 2


@pytest.mark.parametrize("silent", ["never told", "told long ago"])
def test_a_silent_actor_keeps_its_pool(loads: Loads, silent: str) -> None:
    """Without the figures of all actors of now a pool does not shrink."""
    if silent == "told long ago":
        loads.told(1, 0)
        loads.now += 10
    loads.told(0, 0)
    assert loads.size() == 2
    loads.told(1, 0)
    assert loads.size() == 1
    loads.loads.forget("provider-p-1")
    assert loads.size() == 2


def test_how_a_pool_stands(loads: Loads) -> None:
    """The pool's sums, and of each actor what it told and how long ago."""
    loads.told(0, 5, waiting=2)
    loads.now += 1
    told = loads.loads.statistics(loads.pool, OPTIONS)
    assert (told["size"], told["ready"], told["in_flight"], told["waiting"]) == (2, 2, 5, 2)
    assert told["scaling"] == [1, 8]
    first, second = told["actors"]
    assert (first["age"], first["admission"]["in_flight"]) == (1.0, 5)
    assert (second["age"], second["state"]) == (None, "ready")
