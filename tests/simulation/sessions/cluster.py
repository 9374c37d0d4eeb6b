"""The control plane of simulated processes: each actor in one of its own, brought back as Ray would."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from llmgine.actors.control import Boot, SpawnOptions
from llmgine.actors.control.actor import RuntimeActor
from llmgine.actors.control.errors import ActorAway, ActorGone, NameTaken
from llmgine.actors.link import Address
from tests.simulation.sessions.links import Network
from tests.simulation.sessions.loop import Process, SimulatedLoop


@dataclass(eq=False)
class _Life:
    """One actor's place: the process that it has now, None while it is coming back."""

    boot: Boot
    actor: type[RuntimeActor]
    options: SpawnOptions
    instance: RuntimeActor | None = None
    process: Process | None = None
    calls: list[asyncio.Future[Any]] = field(default_factory=list)


class SimulatedCluster:
    """A `Cluster`; calls take time both ways, and an answer whose actor died in between is lost."""

    node = "simulated"
    tasks = None
    meters = None

    def __init__(self, loop: SimulatedLoop, network: Network) -> None:
        self.loop = loop
        self.network = network
        # Called with each call that reaches an actor.
        self.called: Callable[[str, str], None] = lambda name, method: None
        self._lives: dict[str, _Life] = {}
        self._ghosts: list[Process] = []

    async def spawn(self, boot: Boot, actor: type[RuntimeActor], options: SpawnOptions) -> None:
        await self._hop()
        if boot.name in self._lives:
            raise NameTaken(f"an actor {boot.name!r} lives already")
        life = self._lives[boot.name] = _Life(boot, actor, options)
        self.loop.call_later(self.loop.between(0.01, 0.5), self._begin, life, context=self._nowhere())

    async def call(self, name: str, method: str, *arguments: Any, timeout: float | None = None) -> Any:
        answer = self.loop.create_future()
        self.loop.call_later(
            self._delay(), self._deliver, answer, name, method, arguments, context=self._nowhere()
        )
        try:
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            if answer.done() and not answer.cancelled():
                raise  # the method's own
            raise TimeoutError(f"{name} did not answer {method!r} within {timeout:g} s") from None

    async def kill(self, name: str) -> None:
        await self._hop()
        life = self._lives.pop(name, None)
        if life is not None:
            self._end(life, ActorGone)

    async def names(self) -> list[str]:
        await self._hop()
        return sorted(self._lives)

    async def resolve(self, name: str) -> Address:
        return Address.from_wire(await self.call(name, "address"))

    async def spans_nodes(self) -> bool:
        return False

    # What the world does to it

    def actors(self) -> list[str]:
        """Those that are up."""
        return sorted(name for name, life in self._lives.items() if life.process is not None)

    def process(self, name: str) -> Process | None:
        life = self._lives.get(name)
        return None if life is None else life.process

    def crash(self, name: str) -> bool:
        """Kills the actor's process; whether there was one. It comes back where it was to be brought back."""
        life = self._lives.get(name)
        if life is None or life.process is None:
            return False
        if life.options.restarts:
            self._end(life, ActorAway)
            self.loop.call_later(self.loop.between(0.05, 1.5), self._begin, life, context=self._nowhere())
        else:
            del self._lives[name]
            self._end(life, ActorGone)
        return True

    def disown(self, name: str, seconds: float) -> None:
        """The actor is gone for all who ask, and its process lives on until it dies, too."""
        life = self._lives.pop(name, None)
        if life is None or life.process is None:
            return
        process, life.process = life.process, None
        self._end(life, ActorGone)
        process.disowned = True
        self._ghosts.append(process)
        self.network.cut(process)
        self.loop.call_later(seconds, self._die, process, context=self._nowhere())

    def destroy(self) -> None:
        """Every actor dies for good."""
        for life in list(self._lives.values()):
            self._end(life, ActorGone)
        self._lives.clear()
        for process in self._ghosts:
            self._die(process)

    # Inside

    def _begin(self, life: _Life) -> None:
        if self._lives.get(life.boot.name) is life and life.process is None:
            life.process = Process(life.boot.name)
            life.instance = life.process.context.copy().run(life.actor, life.boot)

    def _end(self, life: _Life, error: type[Exception]) -> None:
        process, life.process, life.instance = life.process, None, None
        if process is not None:
            self._die(process)
        for answer in life.calls:
            self._settle(answer, error(f"{life.boot.name} was ended during a call"))
        life.calls.clear()

    def _die(self, process: Process) -> None:
        process.alive = False
        self.network.died(process)

    def _deliver(self, answer: asyncio.Future[Any], name: str, method: str, arguments: Any) -> None:
        life = self._lives.get(name)
        if life is None:
            self._settle(answer, ActorGone(f"no actor {name!r}"))
        elif life.process is None or life.instance is None:
            self._settle(answer, ActorAway(f"{name} is being started"))
        else:
            life.calls.append(answer)
            self.called(name, method)
            work = getattr(life.instance, method)(*arguments)
            running = self.loop.start(life.process, work, f"{name}.{method}")
            running.add_done_callback(
                lambda task: self._returned(life, answer, task), context=self._nowhere()
            )

    def _returned(self, life: _Life, answer: asyncio.Future[Any], task: asyncio.Task[Any]) -> None:
        error = (
            ActorAway(f"{life.boot.name} was ended during a call") if task.cancelled() else task.exception()
        )
        if answer in life.calls:  # else its caller has been told that the actor is gone
            life.calls.remove(answer)
            self._settle(answer, error, None if error else task.result())

    def _settle(self, answer: asyncio.Future[Any], error: BaseException | None, value: Any = None) -> None:
        self.loop.call_later(self._delay(), _give, answer, error, value, context=self._nowhere())

    def _nowhere(self) -> Any:
        """The context of the cluster itself, which no process's death stops."""
        return _NOWHERE.copy()

    async def _hop(self) -> None:
        await asyncio.sleep(self._delay())

    def _delay(self) -> float:
        return 2 * self.network.delay()


class SimulatedWorld:
    """A `World` that every actor and driver of a run shares."""

    owns_process = False

    def __init__(self, cluster: SimulatedCluster) -> None:
        self._cluster = cluster

    def cluster(self) -> SimulatedCluster:
        return self._cluster

    def log_folder(self) -> None:
        return None

    def transport(self, cluster: Any, *, tcp: bool) -> Network:
        return self._cluster.network


def _give(answer: asyncio.Future[Any], error: BaseException | None, value: Any) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(value)


_NOWHERE = contextvars.Context()
