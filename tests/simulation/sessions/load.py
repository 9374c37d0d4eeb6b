"""What drivers do: open sessions that others hold too, ask, submit, stream, cancel, leave, and come again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from llmgine.providers import LlmgineError
from llmgine.runtime import AlreadyAnswered, Runtime, Session, TurnDone, TurnFailed, opening
from llmgine.runtime.driver import Driver as DriverGround
from tests.simulation.sessions.account import Asked
from tests.simulation.sessions.loop import Process, here
from tests.simulation.sessions.tools import TOOLS

if TYPE_CHECKING:
    from tests.simulation.sessions.world import World

MODEL = "scripted/echo"

# No single thing that a driver does may take longer, whatever fails meanwhile.
_PATIENCE = 400.0


class Driver:
    """One driver's process and what it does with both hands full."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.process = Process(name)
        self.work = world.loop.start(self.process, self._work(), name)

    def __repr__(self) -> str:
        return self.process.name

    async def _work(self) -> None:
        world = self.world
        while not world.closing:
            try:
                async with Runtime(lambda: joined(world)) as runtime:
                    hands = [self._hand(runtime) for _ in range(world.plan.hands)]
                    await asyncio.gather(self._answers(runtime), *hands)
            except LlmgineError as error:
                world.note("driver turned away", f"{self} is turned away: {error}")
                await asyncio.sleep(1.0)

    async def _answers(self, runtime: Runtime) -> None:
        while not self.world.closing:
            await answer_some(self.world, runtime)
            await asyncio.sleep(self.world.loop.between(0.1, 2.0))

    async def _hand(self, runtime: Runtime) -> None:
        world, chance = self.world, self.world.loop
        while not world.closing:
            name = f"s{chance.random.randrange(world.plan.sessions)}"
            try:
                stay = chance.chance(world.plan.stays)
                async with runtime.session(name, model=MODEL, tools=TOOLS, stay=stay) as session:
                    world.note("openings", f"{self} has opened {name}")
                    for _ in range(chance.random.randint(1, 4)):
                        if not world.closing:
                            await self._act(session)
                world.account.tell(f"{self} has left {name}")
            except LlmgineError as error:
                world.note(f"session failed with {type(error).__name__}", f"{self}, {name}: {error}")
                await asyncio.sleep(0.2)

    async def _act(self, session: Session) -> None:
        chance = self.world.loop
        acts = (self._asks, self._streams, self._submits, self._submits_and_goes, self._rests)
        (act,) = chance.random.choices(acts, (4, 2, 2, 2, 1))
        try:
            async with asyncio.timeout(_PATIENCE):
                await act(session)
        except TimeoutError:
            self.world.account.must(False, 7, f"{act.__name__} in {session.id} took {_PATIENCE:g} s")

    async def _rests(self, session: Session) -> None:
        loop = self.world.loop
        await asyncio.sleep(loop.between(0.0, 3.0))

    async def _asks(self, session: Session) -> None:
        asked = self._prompt(session)
        try:
            reply = await session.ask(asked.prompt)
        except LlmgineError as error:
            self.world.account.failed(asked, error)
        else:
            self.world.account.answered(asked, reply.turn_id, reply.text)

    async def _streams(self, session: Session) -> None:
        asked = self._prompt(session)
        try:
            async for event in session.stream(asked.prompt):
                if isinstance(event, TurnDone):
                    self.world.account.answered(asked, event.reply.turn_id, event.reply.text)
                elif isinstance(event, TurnFailed):
                    self.world.account.failed(asked, event.error)
        except LlmgineError as error:
            self.world.account.failed(asked, error)

    async def _submits(self, session: Session) -> None:
        """Submits, may cancel, and waits for what comes of it."""
        asked = self._prompt(session)
        try:
            turn = await session.submit(asked.prompt)
            self.world.account.taken_on(asked, turn.id)
            if self.world.loop.chance(0.3):
                await asyncio.sleep(self.world.loop.between(0.0, 0.2))
                asked.cancelled = await turn.cancel()
            reply = await turn.result()
        except LlmgineError as error:
            self.world.account.failed(asked, error)
        else:
            self.world.account.answered(asked, reply.turn_id, reply.text)

    async def _submits_and_goes(self, session: Session) -> None:
        asked = self._prompt(session)
        try:
            turn = await session.submit(asked.prompt)
        except LlmgineError as error:
            self.world.account.failed(asked, error)
        else:
            self.world.account.taken_on(asked, turn.id)

    def _prompt(self, session: Session) -> Asked:
        chance = self.world.loop
        letters, odds = "ena", (4, 4, 1)
        words = ["".join(chance.random.choices(letters, odds, k=chance.random.randint(1, 3))) for _ in "12"]
        words = words[: chance.random.choice([0, 0, 1, 2])]
        if chance.chance(0.15):
            words.append("slow")
        return self.world.account.ask(session.id, " ".join(words))


async def answer_some(world: World, runtime: Runtime) -> None:
    """Answers what is pending, as it comes to mind; others do so, too."""
    try:
        async for approval in runtime.approvals.list():
            yes = world.loop.chance(0.6)
            answer = runtime.approvals.approve if yes else runtime.approvals.deny
            try:
                await answer(approval.id, by=repr(here()))
            except AlreadyAnswered:
                world.account.counters["too late"] += 1
            else:
                world.account.leave(approval.id, "approved" if yes else "denied")
    except LlmgineError as error:
        world.note("answers failed", f"approvals: {error}")


@asynccontextmanager
async def joined(world: World) -> AsyncIterator[DriverGround]:
    """The runtime that runs already, for a driver that may die without it."""
    async with AsyncExitStack() as stack:
        driver = DriverGround(
            world.name, world.cluster, world.network, world.settings, owner=False, in_process=True
        )
        await opening._enter(driver, stack, ends_runtime=False)
        yield driver
