"""`llmgine pools top`: what pools carry, again and again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer
from rich.live import Live
from rich.table import Table

from llmgine.runtime.commands.keyboard import pressed
from llmgine.runtime.commands.output import AsJson, out, table, write_json
from llmgine.runtime.commands.preflight import DEFAULT_RUNTIME, RuntimeName, check_runs
from llmgine.runtime.commands.running import ended_alone, run

if TYPE_CHECKING:
    from llmgine.runtime.pool_statistics import PoolActor, PoolStatistics

Found = dict[str, "PoolStatistics"]
Row = tuple[str, ...]
Rate = tuple[float, float]  # calls that were answered in a second, and that failed

COLUMNS = ("", "actors", "in flight", "limit", "waiting", "done/s", "failed/s", "lag", "cpu")


def top(
    every: Annotated[float, typer.Option("--every", min=0.1, help="Seconds between two looks.")] = 1.0,
    ticks: Annotated[int | None, typer.Option("--ticks", min=1, help="End after so many looks.")] = None,
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """Watch pools and their actors until q or Ctrl-C.

    Example: `llmgine pools top --json --ticks 10`
    """
    check_runs(name)
    run(_watch(name, every, ticks, as_json=as_json))


async def _watch(name: str, every: float, ticks: int | None, *, as_json: bool) -> None:
    from llmgine.runtime import Runtime

    rates = Rates()
    async with Runtime.connect(name=name) as runtime:
        look = runtime.pools.statistics
        if as_json:
            await ended_alone(looks(look, print_json, every, ticks))
        elif not out.is_terminal:
            await ended_alone(
                looks(look, lambda found: table("pools", COLUMNS, rates.rows(found)), every, ticks)
            )
        else:
            with Live(console=out, screen=True, auto_refresh=False) as screen:

                def draw(found: Found) -> None:
                    screen.update(_drawn(rates.rows(found)), refresh=True)

                await ended_alone(looks(look, draw, every, ticks))


async def looks(
    look: Callable[[], Awaitable[Found]], show: Callable[[Found], None], every: float, ticks: int | None
) -> None:
    """Shows what is found until q is pressed, or so many times."""
    with pressed("q") as ends:
        while not ends.is_set():
            show(await look())
            if ticks is not None and (ticks := ticks - 1) == 0:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(every):
                    await ends.wait()


def print_json(found: Found) -> None:
    pools = {provider: one.to_json() for provider, one in found.items()}
    write_json({"time": time.time(), "pools": pools})


class Rates:
    """Rows of what was found, with the calls a second since the time before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at = clock()
        self._ended: dict[str, tuple[int, int]] = {}

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
