"""`llmgine pools`: provider pools, looked at and changed while the runtime runs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from llmgine.providers.errors import UnknownModel
from llmgine.runtime.commands import completing
from llmgine.runtime.commands.asking import ask
from llmgine.runtime.commands.grouping import group
from llmgine.runtime.commands.output import (
    AsJson,
    NotThere,
    UsageRefused,
    cell,
    done,
    table,
    write,
    write_json,
)
from llmgine.runtime.commands.poolstop import top
from llmgine.runtime.commands.preflight import DEFAULT_RUNTIME, RuntimeName

if TYPE_CHECKING:
    from llmgine.runtime import Runtime
    from llmgine.runtime.pool_statistics import PoolActor, PoolStatistics
    from llmgine.runtime.pools import PoolHandle

pools = group(
    "Pools of provider actors: listed, shown, scaled, drained, watched, their kept answers cleared."
)

Pool = Annotated[
    str, typer.Argument(metavar="POOL", help="Provider, such as openai.", autocompletion=completing.pools)
]
Wait = Annotated[float, typer.Option("--wait", help="Seconds to wait for it; it goes on afterwards.")]


def _known(runtime: Runtime, pool: str) -> PoolHandle:
    try:
        return runtime.pools[pool]
    except UnknownModel as error:
        raise NotThere(str(error)) from None


@pools.command("ls")
def list_pools(
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """List the pools that have been used or changed.

    Example: `llmgine pools ls --json`
    """
    found = ask(name, lambda runtime: runtime.pools.statistics())
    if as_json:
        write_json(*(one.to_json() for one in found.values()))
    elif found:
        columns = ("pool", "ready", "starting", "draining", "size", "in flight", "waiting", "done", "failed")
        table(f"{len(found)} pools", columns, [_row(one) for one in found.values()])
    else:
        write("no pools\n")


def _row(pool: PoolStatistics) -> tuple[str, ...]:
    figures = (pool.ready, pool.starting, pool.draining, _size(pool))
    carried = (pool.in_flight, pool.waiting, pool.done, pool.failed)
    return (pool.provider, *map(str, figures), *map(str, carried))


def _size(pool: PoolStatistics) -> str:
    if pool.scaling is None:
        return str(pool.size)
    return f"{pool.size} of {pool.scaling[0]} to {pool.scaling[1]}"


@pools.command()
def show(
    pool: Pool,
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """Show a pool, each of its actors, and what the parts of these say of themselves.

    Example: `llmgine pools show openai`
    """
    found = ask(name, lambda runtime: _known(runtime, pool).statistics())
    if as_json:
        write_json(found.to_json())
        return
    rows = [
        ("size", _size(found)),
        ("calls", f"{found.in_flight} in flight, {found.waiting} waiting, {found.done} done"),
        ("calls at once", f"{found.max_in_flight} an actor at most"),
        ("room of quotas", "not limited" if found.usable is None else f"{found.usable:.0f} calls at once"),
        ("changed", ", ".join(f"{key}={value!r}" for key, value in found.changes.items()) or "nothing"),
        ("last failure", found.failure or "none"),
    ]
    table(f"pool {pool}", ("", ""), rows)
    show_actors(found.actors)


def show_actors(actors: tuple[PoolActor, ...]) -> None:
    """One row an actor, then one for each figure of its parts."""
    if not actors:
        write("no actors\n")
        return
    columns = ("actor", "state", "node", "in flight", "limit", "waiting", "lag", "cpu", "told")
    table("actors", columns, [_actor_row(actor) for actor in actors])
    parts = [
        (actor.name, f"{part}.{figure}", cell(value))
        for actor in actors
        for part, figures in actor.parts.items()
        for figure, value in figures.items()
    ]
    table("parts", ("actor", "figure", "value"), parts)


def _actor_row(actor: PoolActor) -> tuple[str, ...]:
    return (
        actor.name,
        actor.state,
        actor.node[:8],
        str(actor.in_flight),
        str(actor.limit),
        str(actor.waiting),
        f"{actor.loop_lag * 1000:.0f} ms",
        f"{actor.cpu:.0%}",
        "never" if actor.age is None else f"{actor.age:.0f} s ago",
    )


@pools.command()
def scale(
    pool: Pool,
    size: Annotated[int, typer.Argument(min=0, help="How many actors shall take calls.")],
    wait: Wait = 60.0,
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """Start actors, or let surplus ones end their streams and go.

    Example: `llmgine pools scale openai 4`
    """
    _check_wait(wait)
    actors = ask(name, lambda runtime: _known(runtime, pool).scale(size, wait=wait), f"scaling {pool}")
    told = f"{pool} has {len(actors)} actors: {', '.join(actors)}" if actors else f"{pool} has no actors"
    done(told, as_json=as_json, pool=pool, actors=list(actors))


@pools.command()
def drain(
    pool: Pool,
    actor: Annotated[
        str | None, typer.Argument(help="One actor, as `show` names it; another takes its place first.")
    ] = None,
    wait: Annotated[
        float, typer.Option("--wait", help="Seconds for streams to end; it goes on afterwards.")
    ] = 3600.0,
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """Let all actors of a pool, or one, end their streams and go; the next call starts the pool again.

    Example: `llmgine pools drain openai provider-openai-0`
    """
    _check_wait(wait)
    ask(name, lambda runtime: _known(runtime, pool).drain(actor, wait=wait), f"draining {actor or pool}")
    done(f"{actor or pool} is drained", as_json=as_json, pool=pool, drained=actor or "all")


@pools.command("clear-cache")
def clear_cache(pool: Pool, as_json: AsJson = False, name: RuntimeName = DEFAULT_RUNTIME) -> None:
    """Forget the answers that a pool has kept for equal requests.

    Example: `llmgine pools clear-cache openai`
    """
    ask(name, lambda runtime: _known(runtime, pool).clear_cache())
    done(f"{pool} has forgotten its answers", as_json=as_json, pool=pool, cleared=True)


pools.command()(top)


def _check_wait(wait: float) -> None:
    if not 0 < wait < math.inf:
        raise UsageRefused(f"--wait {wait:g}: seconds above 0")
