"""Does what brings pools to their plans: starts their actors, finds them again, and ends them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from llmgine.actors.control import names
from llmgine.actors.supervisor.children import Children
from llmgine.actors.supervisor.members import Members
from llmgine.actors.supervisor.poolforms import PoolForms
from llmgine.actors.supervisor.pooltable import Pool, PoolTable, Steps
from llmgine.actors.supervisor.work import Work

logger = logging.getLogger(__name__)

# A drained actor's streams run to their end; this is only the bound on one that never comes.
_DRAIN_GRACE = 3600.0
# How long a restarted supervisor waits for the actors that it finds to say what they run.
_FINDING = 5.0


class PoolHands:
    """Acts on the table, from `begin` on; callers are told of every change. `ended` hears of each actor
    that was drained and is gone.
    """

    def __init__(
        self,
        table: PoolTable,
        children: Children,
        members: Members,
        work: Work,
        forms: PoolForms,
        clock: Callable[[], float],
        ended: Callable[[str], None],
    ) -> None:
        self._table = table
        self._children = children
        self._members = members
        self._work = work
        self._forms = forms
        self._clock = clock
        self._ended = ended
        self._coming: dict[str, asyncio.Task[None]] = {}
        self._changed = asyncio.Event()
        self._acts = False

    def begin(self) -> None:
        self._acts = True
        for pool in self._table.pools.values():
            self._retire([actor.name for actor in pool.actors.values() if actor.state == "draining"])

    def stop(self) -> None:
        """Nothing is started any more, and what is being started is given up."""
        self._acts = False
        for coming in self._coming.values():
            coming.cancel()

    async def stopped(self) -> None:
        """Returns once nothing is left of what was given up."""
        if self._coming:
            await asyncio.wait(self._coming.values())

    async def find(self, actors: Iterable[str]) -> None:
        """Waits until these have said what they run, but not for those that have no place yet."""
        for actor in actors:
            self._table.expect(actor)
            self._coming[actor] = self._work.start(self._seek(actor), f"find {actor}")
        if self._coming:
            await asyncio.wait(self._coming.values(), timeout=_FINDING)

    def follow(self, pool: Pool) -> Steps:
        """Begins whatever brings the pool nearer to its plan."""
        if not self._acts:
            return Steps()
        steps = self._table.steps(pool.provider, self._clock())
        for actor in steps.give_up:
            if (coming := self._coming.pop(actor, None)) is not None:
                coming.cancel()
        for actor in steps.start:
            self._coming[actor] = self._work.start(self._begin(actor, pool), f"start {actor}")
        self._retire(steps.drain)
        self._announce()
        return steps

    async def reached(self, pool: Pool, enough: Callable[[], bool], wait: float | None) -> None:
        """Waits until the pool is where it shall be; raises why it does not get there, or TimeoutError."""
        async with asyncio.timeout(wait):
            while not enough():
                if pool.failure is not None and not pool.starting:
                    raise pool.failure from None
                changed = self._changed
                await changed.wait()

    async def tell(self) -> None:
        """Tells callers the table; returns once they have it."""
        await self._members.push("pools", self._table.snapshot())

    async def _begin(self, actor: str, pool: Pool) -> None:
        try:
            await self._start(actor, pool)
        except Exception as error:
            logger.warning("%s: %s", actor, error)
            self._table.failed(actor, error, self._clock())
        else:
            self._table.joined(actor, self._clock())
        await self._came(actor)

    async def _start(self, actor: str, pool: Pool) -> None:
        """An actor that replaces others is asked whether it can make calls before they leave for it."""
        plan, replaces = pool.plan, any(actor.form != pool.plan.form for actor in pool.ready)
        room = self._forms.pool(pool.provider, plan.changes)
        settings = self._forms.settings(pool.provider, plan.changes)
        await self._children.start_provider(actor, room, settings, plan.form)
        if replaces:
            await self._children.prepare(actor)

    async def _seek(self, actor: str) -> None:
        try:
            await self._children.up(actor)
        except Exception as error:
            logger.info("%s is not there any more: %s", actor, error)
            await self._children.end(actor, 0.0)
            self._table.forget(actor)
        except asyncio.CancelledError:
            await self._children.end(actor, 0.0)
            raise
        else:
            self._table.joined(actor, self._clock())
        await self._came(actor)

    async def _came(self, actor: str) -> None:
        """What was awaited of the actor is over: the pool goes on from there."""
        self._coming.pop(actor, None)
        pool = self._table.of(names.parse_provider(actor)[0])
        if self._acts and not self.follow(pool).drain:
            await self.tell()

    def _retire(self, actors: Iterable[str]) -> None:
        if leaving := list(actors):
            self._work.start(self._drained(leaving), f"drain {', '.join(leaving)}")

    async def _drained(self, actors: list[str]) -> None:
        """Callers hear of it first, so that hardly a call comes to an actor that takes none."""
        await self.tell()
        await asyncio.gather(*(self._end(actor) for actor in actors))

    async def _end(self, actor: str) -> None:
        await self._children.end(actor, _DRAIN_GRACE)
        self._table.forget(actor)
        self._ended(actor)
        self._announce()

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
