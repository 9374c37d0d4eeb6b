"""The control plane inside one process: the same shells, held in a dict, over memory links."""

from __future__ import annotations

import asyncio
from typing import Any

from llmgine.actors.control.actor import RuntimeActor
from llmgine.actors.control.cluster import Boot, SpawnOptions
from llmgine.actors.control.errors import ActorAway, ActorGone, NameTaken
from llmgine.actors.link import Address, MemoryTransport, Transport


class LocalCluster:
    """Actors of one runtime as plain objects on the loop of their creator.

    As with processes, a call goes on when its caller gives up, and ends with its actor.
    """

    node = "local"
    tasks = None
    meters = None

    def __init__(self) -> None:
        self._actors: dict[str, RuntimeActor] = {}
        self._calls: dict[str, set[asyncio.Task[Any]]] = {}

    async def spawn(self, boot: Boot, actor: type[RuntimeActor], options: SpawnOptions) -> None:
        if boot.name in self._actors:
            raise NameTaken(f"an actor {boot.name!r} lives in this process already")
        self._actors[boot.name] = actor(boot)

    async def call(self, name: str, method: str, *arguments: Any, timeout: float | None = None) -> Any:
        work = getattr(self._actor(name), method)(*arguments)
        running: asyncio.Task[Any] = asyncio.create_task(work, name=f"{name}.{method}")
        self._calls.setdefault(name, set()).add(running)
        running.add_done_callback(lambda task: self._returned(name, task))
        done, _ = await asyncio.wait({running}, timeout=timeout)
        if not done:
            raise TimeoutError(f"{name} did not answer {method!r} within {timeout:g} s")
        if running.cancelled():
            gone = ActorAway if name in self._actors else ActorGone
            raise gone(f"{name} was ended during {method!r}")
        return running.result()

    async def kill(self, name: str) -> None:
        actor = self._actors.pop(name, None)
        if actor is not None:
            await self._end(actor)

    async def crash(self, name: str) -> None:
        """Fault injection: the actor loses all that it holds and comes back, as Ray would bring it."""
        actor = self._actor(name)
        self._actors[name] = type(actor)(actor.boot)
        await self._end(actor)

    async def names(self) -> list[str]:
        return sorted(self._actors)

    async def resolve(self, name: str) -> Address:
        return Address.from_wire(await self.call(name, "address"))

    async def spans_nodes(self) -> bool:
        return False

    async def _end(self, actor: RuntimeActor) -> None:
        for running in self._calls.get(actor.name, set()) - {asyncio.current_task()}:
            running.cancel()
        await actor.abandon()

    def _actor(self, name: str) -> RuntimeActor:
        try:
            return self._actors[name]
        except KeyError:
            raise ActorGone(f"no actor {name!r} in this process") from None

    def _returned(self, name: str, task: asyncio.Task[Any]) -> None:
        calls = self._calls[name]
        calls.discard(task)
        if not calls:
            del self._calls[name]
        if not task.cancelled():
            task.exception()  # whoever called has it, or has given up


class LocalWorld:
    """One process as a whole world; every actor shares its cluster and its transport."""

    owns_process = False

    def __init__(self) -> None:
        self._cluster = LocalCluster()
        self._transport = MemoryTransport()

    def cluster(self) -> LocalCluster:
        return self._cluster

    def log_folder(self) -> None:
        return None

    def transport(self, cluster: Any, *, tcp: bool) -> Transport:
        return self._transport
