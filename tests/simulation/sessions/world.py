"""A whole runtime in one loop: actors, links, disk, model and drivers, from launch to rest."""

from __future__ import annotations

import asyncio
import functools
from contextlib import ExitStack
from typing import Any
from unittest import mock

import llmgine.actors.store.actor as store_actor
from llmgine.actors.control import Boot, ControlClient, names
from llmgine.actors.pools.serving import keyed
from llmgine.actors.store import StoreUnavailable
from llmgine.actors.store.memory import MemoryEngine
from llmgine.providers import LlmgineError
from llmgine.runtime import opening
from llmgine.runtime.settings import Settings
from tests.simulation.sessions.account import Account
from tests.simulation.sessions.cluster import SimulatedCluster, SimulatedWorld
from tests.simulation.sessions.disk import Disk, DiskEngine
from tests.simulation.sessions.faults import hit_in_the_act, misbehave, relent
from tests.simulation.sessions.ground import Complaints, made_up
from tests.simulation.sessions.judge import judged
from tests.simulation.sessions.links import Network
from tests.simulation.sessions.load import Driver
from tests.simulation.sessions.loop import Process, SimulatedLoop, Stuck
from tests.simulation.sessions.model import ObedientModel
from tests.simulation.sessions.plan import Plan
from tests.simulation.sessions.reading import Reader
from tests.simulation.sessions.tools import Desk
from tests.simulation.sessions.watcher import Watcher
from tests.simulation.sessions.witness import Witness

# Seconds in which everything must have come to rest once nothing fails any more.
_REST = 600.0


class World:
    """One run of a plan; `run` raises what must never happen."""

    name = "simulated"

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.loop = SimulatedLoop(plan.seed)
        self.account = Account(plan.seed, self.loop)
        self.network = Network(self.loop)
        self.cluster = SimulatedCluster(self.loop, self.network)
        self.settings = Settings(telemetry={"enabled": False}, sessions=plan.sessions_are)
        bus = self.settings.bus
        self.witness = Witness(self.account)
        rows = MemoryEngine(bus.dead_letters, bus.dead_letter_age)
        self.disk = Disk(self.loop, rows, self.witness)
        self.reader = Reader(self.account, rows.ledger.sessions)
        self.witness.looks.append(self.reader.glance)
        self.account.kept = self.kept
        self.account.leaves = self._leaves
        self.disk.kill_store = lambda: self.cluster.crash(names.STORE)
        self.drivers: list[Driver] = []
        self.watcher = Watcher(self)
        self.closing = False
        self._drivers_made = 0

    def run(self) -> None:
        """From launch to rest; raises `Violation`."""
        Desk.account = self.account
        with ExitStack() as stack:
            complaints = stack.enter_context(made_up(self.loop, self.plan.seed, self.account.tell))
            stack.callback(self.loop.bury)
            stack.enter_context(mock.patch.object(store_actor, "open_engine", self._open_engine))
            stack.enter_context(mock.patch.object(keyed, "open_endpoint", self._open_endpoint))
            try:
                self.loop.run_until_complete(self._live())
            except Stuck as stuck:
                self.account.must(False, 7, f"{stuck}; what was awaited never comes")
            except RuntimeError:
                if self.account.violation is None:
                    raise
            self._check_complaints(complaints)
        if self.account.violation is not None:
            raise self.account.violation

    def note(self, counter: str, what: str) -> None:
        self.account.counters[counter] += 1
        self.account.tell(what)

    def crash_driver(self) -> None:
        """A driver dies, and another comes in its place."""
        if self.drivers:
            driver = self.loop.random.choice(self.drivers)
            self.note("crash of driver", f"{driver} is killed")
            self._end_driver(driver)
            if not self.closing:
                self._start_driver()

    def kept(self, session: str, turn_id: str) -> str | None:
        """The state of a turn on the disk."""
        row = self.disk.rows.ledger.sessions.turns.get(f"{session}/{turn_id}")
        return None if row is None else row.state

    # Inside

    def _leaves(self, call: str) -> int:
        rows = self.disk.rows.ledger.sessions.approvals.values()
        return sum(row.call == call and row.state == "approved" for row in rows)

    def _open_engine(self, *options: Any, life: int) -> DiskEngine:
        return DiskEngine(self.disk)

    def _open_endpoint(self, name: str, *_: Any) -> ObedientModel:
        return ObedientModel(name, self.account)

    async def _live(self) -> None:
        plan = self.plan
        await self._launch()
        self.account.flaky = plan.flaky_model
        self.cluster.called = functools.partial(hit_in_the_act, self)
        self.disk.fragile = plan.fragile_disk
        faults = self.loop.create_task(misbehave(self))
        for _ in range(plan.deaths_of_all):
            await asyncio.sleep(plan.seconds / (plan.deaths_of_all + 1))
            await self._die_and_launch()
        await asyncio.sleep(plan.seconds / (plan.deaths_of_all + 1))
        faults.cancel()
        relent(self)
        self.closing = True
        self.note("rests", "nothing fails any more")
        await self._within(_REST, self._drivers_end(), "the drivers come to an end")
        judge = Process("judge")
        await self._within(_REST, self.loop.start(judge, judged(self), "judge"), "the judge is answered")
        for session in list(self.disk.rows.ledger.sessions.rows):
            self.reader.look(session)
        self._kill(self.watcher.process)
        await self._within(_REST, self._stop(), "the runtime stops")

    async def _launch(self) -> None:
        """In a process of its own, as a script that launches a detached runtime until it stands."""
        world = SimulatedWorld(self.cluster)
        boot = Boot(self.name, names.SUPERVISOR, "supervisor", world, self.settings.to_wire(), detached=True)
        while True:
            raising = opening._raise_supervisor(self.cluster, boot, opening._Fate())
            try:
                await self.loop.start(Process("launcher"), raising, "launch")
                break
            except StoreUnavailable as error:
                self.note("launches in vain", f"the launch fails: {error}")
                self.cluster.destroy()
        self.watcher.begin()
        for _ in range(self.plan.drivers):
            self._start_driver()

    async def _die_and_launch(self) -> None:
        self.note("deaths of all", "every process is killed")
        for driver in list(self.drivers):
            self._end_driver(driver)
        self._kill(self.watcher.process)
        self.cluster.destroy()
        await asyncio.sleep(self.loop.between(0.1, 2.0))
        await self._launch()

    def _start_driver(self) -> None:
        self._drivers_made += 1
        driver = Driver(self, f"driver {self._drivers_made}")
        self.drivers.append(driver)
        driver.work.add_done_callback(self._driver_done)

    def _driver_done(self, work: asyncio.Task[None]) -> None:
        if not work.cancelled() and (error := work.exception()) is not None:
            self.account.must(False, 0, f"a driver met {type(error).__name__}: {error}")

    def _end_driver(self, driver: Driver) -> None:
        self.drivers.remove(driver)
        self._kill(driver.process)

    def _kill(self, process: Process) -> None:
        process.alive = False
        self.network.died(process)

    async def _drivers_end(self) -> None:
        await asyncio.wait({driver.work for driver in self.drivers})

    async def _stop(self) -> None:
        control = ControlClient(self.cluster, self.name)
        await self.loop.start(Process("stopper"), control.call("stop_runtime"), "stop")
        await self.cluster.kill(names.SUPERVISOR)
        left = ", ".join(await self.cluster.names())
        self.account.must(not left, 7, f"{left} are left of a runtime that was stopped")

    async def _within(self, seconds: float, work: object, what: str) -> None:
        try:
            async with asyncio.timeout(seconds):
                await work  # type: ignore[misc]
        except TimeoutError:
            self.account.must(False, 7, f"after {seconds:g} s without faults it does not hold: {what}")
        except LlmgineError as error:
            self.account.must(False, 7, f"without faults it fails: {what}: {type(error).__name__}: {error}")

    def _check_complaints(self, complaints: Complaints) -> None:
        said = [*complaints.said, *self.loop.failures]
        self.account.must(not said, 0, f"an error that nobody had reckoned with: {said[:1]}")
