"""What goes wrong in a run, and when: drawn from the seed, by rates of the plan."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.sessions.world import World


async def misbehave(world: World) -> None:
    """Faults until cancelled; each kind at its own rate."""
    plan, loop = world.plan, world.loop
    acts: list[tuple[float, Callable[[], None]]] = [
        *((rate, lambda kind=kind: _crash(world, kind)) for kind, rate in sorted(plan.crashes.items())),
        (plan.ghosts, lambda: _ghost(world)),
        (plan.stalls, lambda: _stall(world)),
        (plan.breaks, lambda: _break(world)),
        (plan.slow_links, lambda: _slow(world)),
        (plan.disk_away, lambda: _disk_away(world)),
    ]
    total = sum(rate for rate, _ in acts)
    while total:
        await asyncio.sleep(loop.random.expovariate(total))
        (act,) = loop.random.choices([act for _, act in acts], [rate for rate, _ in acts])
        act()


def hit_in_the_act(world: World, name: str, method: str) -> None:
    """Whoever takes a session on, or lets go of it, is hit more often than by chance."""
    loop = world.loop
    if method in _ACTS and not world.closing and loop.chance(0.3 * world.plan.ghosts):
        loop.call_later(loop.between(0.0, 0.02), world.cluster.disown, name, loop.between(0.05, 3.0))
        world.note("hit in the act", f"{name} is taken for dead at {method}")


_ACTS = ("adopt", "release", "end")


def relent(world: World) -> None:
    """Nothing goes wrong from now on."""
    world.network.slow = 1.0
    world.disk.away_until = 0.0
    world.disk.fragile = 0.0
    world.account.flaky = 0.0


def _crash(world: World, kind: str) -> None:
    if kind == "driver":
        world.crash_driver()
        return
    hit = [name for name in world.cluster.actors() if name.startswith(_PREFIXES.get(kind, kind))]
    if hit:
        name = world.loop.random.choice(hit)
        world.note(f"crash of {kind}", f"{name} is killed")
        world.cluster.crash(name)


_PREFIXES = {"session": ("session-", "host-")}


def _ghost(world: World) -> None:
    """A session's actor is taken for dead, as with its node, and goes on for a while."""
    hit = [name for name in world.cluster.actors() if name.startswith(_PREFIXES["session"])]
    if hit:
        name, seconds = world.loop.random.choice(hit), world.loop.between(0.1, 5.0)
        world.note("ghost", f"{name} is taken for dead, and is dead in {seconds:.3f} s")
        world.cluster.disown(name, seconds)


def _stall(world: World) -> None:
    """A process stands still for a while, and then goes on as if nothing had been."""
    processes = [world.cluster.process(name) for name in world.cluster.actors()]
    process = world.loop.random.choice([*processes, *(driver.process for driver in world.drivers)])
    if process is not None:
        seconds = world.loop.between(0.1, 8.0)
        world.note("stall", f"{process} stands still for {seconds:.3f} s")
        process.still_until = world.loop.now + seconds


def _break(world: World) -> None:
    broken = world.network.break_some(world.loop.between(0.0, 1.0))
    world.note("break", f"{broken} links break")


def _slow(world: World) -> None:
    world.network.slow = world.loop.random.choice([1.0, 1.0, 10.0, 50.0])
    world.note("slow links", f"links are {world.network.slow:g} times as slow")


def _disk_away(world: World) -> None:
    seconds = world.loop.between(0.1, 4.0)
    world.note("disk away", f"the disk is away for {seconds:.3f} s")
    world.disk.away_until = world.loop.now + seconds
