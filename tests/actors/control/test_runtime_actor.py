"""The ground of every actor, in one process; and that process as a cluster."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import pytest

from llmgine.actors.control import (
    ActorGone,
    Boot,
    LocalCluster,
    LocalWorld,
    NameTaken,
    RuntimeActor,
    SpawnOptions,
)

Until = Callable[..., Any]


class Worker(RuntimeActor):
    """Waits where its tests want it to."""

    kind = "worker"

    def __init__(self, boot: Boot) -> None:
        super().__init__(boot)
        self.inside = asyncio.Event()
        self.go_on = asyncio.Event()
        self.log: list[str] = []
        self.failures = 0

    async def opened(self) -> None:
        if self.failures:
            self.failures -= 1
            raise RuntimeError("not yet")

    async def work(self) -> str:
        self.inside.set()
        await self.go_on.wait()
        self.log.append("worked")
        return "done"

    async def drain(self, grace: float) -> None:
        self.inside.set()
        await self.go_on.wait()
        self.log.append("drained")


class Place:
    def __init__(self, settings: dict[str, Any]) -> None:
        self.world = LocalWorld()
        self.cluster: LocalCluster = self.world.cluster()
        self.settings = settings

    async def spawn(self, name: str = "supervisor") -> Worker:
        boot = Boot("r", name, "worker", self.world, self.settings)
        await self.cluster.spawn(boot, Worker, SpawnOptions())
        actor = self.cluster._actors[name]
        assert isinstance(actor, Worker)
        return actor


@pytest.fixture
def place(settings: dict[str, Any]) -> Place:
    return Place(settings)


async def test_a_call_goes_on_when_its_caller_gives_up(place: Place, until: Until) -> None:
    """As over Ray, neither a timeout nor a cancelled caller stops the method."""
    worker = await place.spawn()
    with pytest.raises(TimeoutError, match="supervisor did not answer 'work'"):
        await place.cluster.call("supervisor", "work", timeout=0)
    await worker.inside.wait()
    worker.inside.clear()
    caller = asyncio.create_task(place.cluster.call("supervisor", "work"))
    await worker.inside.wait()
    caller.cancel()
    worker.go_on.set()
    await until(lambda: worker.log == ["worked", "worked"])
    await until(lambda: not place.cluster._calls)


async def test_a_call_ends_with_its_actor(place: Place) -> None:
    """Whoever waits for an actor that is ended learns it at once."""
    worker = await place.spawn()
    caller = asyncio.create_task(place.cluster.call("supervisor", "work"))
    await worker.inside.wait()
    await place.cluster.kill("supervisor")
    with pytest.raises(ActorGone, match="supervisor"):
        await caller
    assert await place.cluster.names() == []


async def test_a_name_is_had_by_one_actor(place: Place) -> None:
    """A second actor under a living one's name is refused."""
    await place.spawn()
    with pytest.raises(NameTaken, match="'supervisor'"):
        await place.spawn()


async def test_all_who_stop_wait_for_the_same_draining(place: Place) -> None:
    """A stop that is asked for twice drains once, and neither returns before it has."""
    worker = await place.spawn()
    await worker.address()
    stops = [asyncio.create_task(worker.stop(5.0)) for _ in range(2)]
    await worker.inside.wait()
    assert not any(stop.done() for stop in stops)
    worker.go_on.set()
    await asyncio.gather(*stops)
    assert worker.log == ["drained"]


async def test_a_stopped_actor_is_gone(place: Place) -> None:
    """While it drains it still tells where it listens; then nobody waits for it to report itself again."""
    worker = await place.spawn()
    address = await worker.address()
    stopping = asyncio.create_task(worker.stop(5.0))
    await worker.inside.wait()
    assert await worker.address() == address
    worker.go_on.set()
    await stopping
    with pytest.raises(ActorGone, match="has stopped"):
        await worker.address()


async def test_opening_that_failed_is_tried_again(place: Place) -> None:
    """Whoever waits for an address gets the reason; the next who asks begins anew."""
    worker = await place.spawn()
    worker.failures = 1
    first = [asyncio.create_task(worker.address()) for _ in range(2)]
    results = await asyncio.gather(*first, return_exceptions=True)
    assert [str(result) for result in results] == ["not yet", "not yet"]
    assert (await worker.address())[0] == "supervisor"
    await worker.abandon()


async def test_a_child_ends_itself_when_its_supervisor_is_silent(
    place: Place, no_pause: None, until: Until
) -> None:
    """An actor that hears nothing of its supervisor for its silence leaves the runtime."""
    place.settings = {**place.settings, "control": {"child_silence": 0.05}}
    child = await place.spawn("child")
    await child.address()
    await until(lambda: "child" not in place.cluster._actors)
    assert child.stopped


async def test_an_actor_killed_while_it_opens_leaves_nothing(place: Place) -> None:
    """Ending an actor ends what it had begun."""
    await place.spawn("child")
    asking = asyncio.create_task(place.cluster.resolve("child"))
    await asyncio.sleep(0)
    await place.cluster.kill("child")
    with pytest.raises(ActorGone):
        await asking
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


@pytest.mark.parametrize("owns", [True, False])
async def test_only_a_process_of_its_own_is_kept_from_collections(
    place: Place, monkeypatch: pytest.MonkeyPatch, owns: bool
) -> None:
    """What an actor has loaded once it is up is left out of collections; what a user has loaded is not."""
    frozen: list[bool] = []
    monkeypatch.setattr(LocalWorld, "owns_process", owns)
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(True))
    worker = await place.spawn()
    await worker.address()
    assert frozen == [True] * owns
    worker.go_on.set()
    await worker.abandon()
