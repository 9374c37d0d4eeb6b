"""`llmgine pools top`: what pools carry, again and again."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.table import Table

from llmgine.runtime.commands.output import AsJson, table
from llmgine.runtime.commands.preflight import DEFAULT_RUNTIME, RuntimeName
from llmgine.runtime.commands.watching import Every, Ticks, Watch, watch

if TYPE_CHECKING:
    from llmgine.runtime.pool_statistics import PoolActor, PoolStatistics

Found = dict[str, "PoolStatistics"]
Row = tuple[str, ...]
Rate = tuple[float, float]  # calls that were answered in a second, and that failed

COLUMNS = ("", "actors", "in flight", "limit", "waiting", "done/s", "failed/s", "lag", "cpu")


def top(
    every: Every = 1.0,
    ticks: Ticks = None,
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """Watch pools and their actors until q or Ctrl-C.

    Example: `llmgine pools top --json --ticks 10`
    """
    rates = Rates()
    pools = Watch(
        look=lambda runtime: runtime.pools.statistics(),
        drawn=lambda found: _drawn(rates.rows(found)),
        plain=lambda found: table("pools", COLUMNS, rates.rows(found)),
        json=rates.json,
    )
    watch(name, pools, every, ticks, as_json=as_json)


class Rates:
    """Rows of what was found, with the calls a second since the time before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at = clock()
        self._ended: dict[str, tuple[int, int]] = {}

    def json(self, found: Found) -> dict[str, Any]:
        """The same as plain values, and the time."""
        rates = self._rates(found)
        pools = {provider: one.to_json() for provider, one in found.items()}
        seconds = {actor: {"done": done, "failed": failed} for actor, (done, failed) in rates.items()}
        return {"time": datetime.now(UTC).isoformat(), "pools": pools, "per_second": seconds}

    def rows(self, found: Found) -> list[Row]:
        """A row for each pool, and below it one for each of its actors."""
        rates, rows = self._rates(found), list[Row]()
        for pool in found.values():
            own = [rates[actor.name] for actor in pool.actors]
            actors = f"{pool.ready} of {pool.size}"
            cpu = sum(actor.cpu for actor in pool.actors)
            limit = sum(actor.limit for actor in pool.actors)
            rows.append(_row(pool.provider, actors, pool, limit, _sum(own), cpu))
            rows += [
                _row(f"  {actor.name}", actor.state, actor, actor.limit, rates[actor.name], actor.cpu)
                for actor in pool.actors
            ]
        return rows

    def _rates(self, found: Found) -> dict[str, Rate]:
        now, before = self._clock(), self._ended
        seconds, self._at = max(now - self._at, 1e-3), now
        actors = [actor for pool in found.values() for actor in pool.actors]
        self._ended = {actor.name: (actor.done, actor.failed) for actor in actors}
        rates = {}
        for name, (done, failed) in self._ended.items():
            # Those of an actor that was not there before ended at an unknown time.
            done_before, failed_before = before.get(name, (done, failed))
            rates[name] = (max(0, done - done_before) / seconds, max(0, failed - failed_before) / seconds)
        return rates


def _sum(rates: list[Rate]) -> Rate:
    return sum(done for done, _ in rates), sum(failed for _, failed in rates)


def _row(
    name: str, actors: str, carries: PoolStatistics | PoolActor, limit: int, rate: Rate, cpu: float
) -> Row:
    calls = (carries.in_flight, limit, carries.waiting)
    lag = f"{carries.loop_lag * 1000:.0f} ms"
    return (name, actors, *map(str, calls), f"{rate[0]:.1f}", f"{rate[1]:.1f}", lag, f"{cpu:.0%}")


def _drawn(rows: list[Row]) -> Table:
    drawn = Table(*COLUMNS, title="pools; q or Ctrl-C ends", title_justify="left")
    for row in rows:
        drawn.add_row(*row, style=None if row[0].startswith(" ") else "bold")
    return drawn
