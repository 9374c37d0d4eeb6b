"""How a driver comes into a runtime: launching one, joining one, or holding one in its own process.

Each way is an asynchronous context manager over a `Driver`, so that whatever was begun is undone in
reverse order, also when a later step fails or Ctrl-C comes in the middle.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmgine.actors.control import (
    ActorAway,
    ActorGone,
    Boot,
    Cluster,
    ControlClient,
    ControlError,
    LocalWorld,
    NameTaken,
    RuntimeExists,
    RuntimeNotFound,
    RuntimeStopping,
    SpawnOptions,
    names,
)
from llmgine.actors.gateway import GatewayCargo
from llmgine.actors.link.bridge import BridgedTransport
from llmgine.actors.store.options import MEMORY
from llmgine.actors.supervisor.actor import SupervisorActor
from llmgine.runtime import rayhost
from llmgine.runtime.data import (
    DataFolderLocked,
    FolderLock,
    RuntimeRecord,
    data_folder,
    folder_of,
    read_record,
    remove_record,
    write_record,
)
from llmgine.runtime.driver import Driver
from llmgine.runtime.settings import Settings

if TYPE_CHECKING:
    from llmgine.actors.control.ray_cluster import RayWorld

logger = logging.getLogger(__name__)

# How long a supervisor that has a name may take to answer while Ray restarts it.
_SIGN_OF_LIFE = 15.0
# How long a launch waits for the first actors.
_LAUNCH = 90.0
# How long Ray takes to forget the name of an actor that was ended.
_FORGETTING = 10.0

_STORE = "store.db"
_TRACES = "telemetry.db"
# How the gateway comes into the runtime; the actors know no driver.
_GATEWAY = GatewayCargo("llmgine.runtime.gateway.port:open_port")


class _Fate:
    """Whether the actors of a launch outlive its block, or are not its own."""

    kept = False


@asynccontextmanager
async def launched(settings: Settings, name: str, *, detached: bool) -> AsyncIterator[Driver]:
    """A new runtime on Ray, which ends with this block unless it is detached."""
    namespace = names.namespace(name)
    folder = data_folder(settings.data_dir, name)
    async with AsyncExitStack() as stack:
        stack.callback(_locked(folder, name).release)
        host = await rayhost.start_or_join(namespace)
        stack.push_async_callback(host.leave)
        from llmgine.actors.control.ray_cluster import RayWorld

        world = RayWorld(name, uuid.uuid4().hex, secrets.token_bytes(32), settings.link)
        cluster = world.cluster()
        await _clear_leftovers(cluster, name)
        transport = BridgedTransport(lambda: world.transport(cluster, tcp=False))
        stack.push_async_callback(transport.close)
        fate = _Fate()
        stack.push_async_callback(_end_actors, cluster, fate)
        settings = _stored_in(settings, folder)
        wire = settings.to_wire()
        boot = Boot(name, names.SUPERVISOR, "supervisor", world, wire, detached, _GATEWAY, cluster.node)
        await _raise_supervisor(cluster, boot, fate)
        driver = Driver(name, cluster, transport, settings, owner=not detached)
        await _enter(driver, stack, ends_runtime=not detached)
        record = RuntimeRecord(name, host.address, host.auth_mode, detached=detached)
        write_record(folder, record)
        if not detached:
            stack.callback(remove_record, folder, record.pid)
        fate.kept = detached
        yield driver


@asynccontextmanager
async def joined(settings: Settings, name: str, address: str | None) -> AsyncIterator[Driver]:
    """A runtime that runs already; leaving takes only this driver out of it."""
    namespace = names.namespace(name)
    where, auth_mode = _where(settings, name, address)
    async with AsyncExitStack() as stack:
        host = await rayhost.join(where, namespace, auth_mode)
        stack.push_async_callback(host.leave)
        from llmgine.actors.control.ray_cluster import RayCluster

        cluster = RayCluster(name)
        world, wire = await _introduced(cluster, name, host.address)
        transport = BridgedTransport(lambda: world.transport(cluster, tcp=False))
        stack.push_async_callback(transport.close)
        driver = Driver(name, cluster, transport, Settings(**wire), owner=False)
        await _enter(driver, stack, ends_runtime=False)
        yield driver


@asynccontextmanager
async def held(settings: Settings, name: str) -> AsyncIterator[Driver]:
    """A runtime inside this process and loop, without Ray; it ends with this block."""
    names.namespace(name)
    world = LocalWorld()
    cluster = world.cluster()
    async with AsyncExitStack() as stack:
        fate = _Fate()
        stack.push_async_callback(_end_actors, cluster, fate)
        boot = Boot(name, names.SUPERVISOR, "supervisor", world, settings.to_wire(), cargo=_GATEWAY)
        await _raise_supervisor(cluster, boot, fate)
        driver = Driver(
            name, cluster, world.transport(cluster, tcp=False), settings, owner=True, in_process=True
        )
        await _enter(driver, stack, ends_runtime=True)
        yield driver


@asynccontextmanager
async def within(boot: Boot) -> AsyncIterator[Driver]:
    """The runtime that the actor of this boot belongs to; its driver stands on the actor's own loop."""
    cluster = boot.world.cluster()
    transport = boot.world.transport(cluster, tcp=False)
    in_process = not boot.world.owns_process
    settings = Settings(**boot.settings)
    driver = Driver(boot.runtime, cluster, transport, settings, owner=False, in_process=in_process)
    async with AsyncExitStack() as stack:
        await _enter(driver, stack, ends_runtime=False)
        yield driver


async def stop_runtime(control: ControlClient) -> None:
    """Ends every actor but the supervisor, after what is admitted has drained; once is enough."""
    try:
        await control.call("stop_runtime")
    except (RuntimeStopping, RuntimeNotFound, ActorAway) as error:
        logger.info("the runtime stops already: %s", error)


def _stored_in(settings: Settings, folder: Path) -> Settings:
    """The settings with the stores in the runtime's own folder, where they name no other place."""
    store, telemetry = settings.store, settings.telemetry
    if store.url is None:
        store = store.model_copy(update={"url": f"sqlite:///{folder.resolve() / _STORE}"})
    if telemetry.store is None and store.url != MEMORY:  # one that keeps nothing keeps no traces either
        telemetry = telemetry.model_copy(update={"store": folder.resolve() / _TRACES})
    return settings.model_copy(update={"store": store, "telemetry": telemetry})


async def _enter(driver: Driver, stack: AsyncExitStack, *, ends_runtime: bool) -> None:
    """Lets the driver in; on the way out it first settles what it sent, and lets go of its links last."""
    stack.push_async_callback(driver.close)
    await driver.open()
    if ends_runtime:
        stack.push_async_callback(stop_runtime, driver.control)
    stack.push_async_callback(driver.settle)


def _locked(folder: Path, name: str) -> FolderLock:
    try:
        return FolderLock(folder)
    except DataFolderLocked as error:
        raise RuntimeExists(
            f"the runtime {name!r} runs already ({error}); join it with Runtime.connect(name={name!r})"
        ) from None


async def _clear_leftovers(cluster: Cluster, name: str) -> None:
    """Ends actors whose supervisor is gone; `RuntimeExists` where it is not."""
    present = await cluster.names()
    if names.SUPERVISOR in present:
        try:
            async with asyncio.timeout(_SIGN_OF_LIFE):
                await _answer(cluster)
        except ActorGone:
            pass
        except TimeoutError:
            raise RuntimeExists(
                f"the runtime {name!r} is on this Ray cluster, and its supervisor has not answered for "
                f"{_SIGN_OF_LIFE:g} s; join it with Runtime.connect(name={name!r}) when it does, end it with "
                f"`llmgine down --name {name}`, or launch under another name"
            ) from None
        else:
            raise RuntimeExists(
                f"the runtime {name!r} runs already on this Ray cluster; join it with "
                f"Runtime.connect(name={name!r}), or launch under another name"
            )
    if present:
        logger.warning("ending what a dead runtime %r left: %s", name, ", ".join(present))
        # A supervisor among them has died; one that comes now is another launch's.
        await _end_all(cluster, but=names.SUPERVISOR)


async def _answer(cluster: Cluster) -> None:
    while True:
        try:
            await cluster.resolve(names.SUPERVISOR)
            return
        except ActorAway:
            await asyncio.sleep(0.2)


async def _raise_supervisor(cluster: Cluster, boot: Boot, fate: _Fate) -> None:
    """Returns once the first actors are up; the supervisor's own failure to start them is raised here."""
    options = SpawnOptions(boot.settings["control"]["actor_cpus"])
    try:
        await cluster.spawn(boot, SupervisorActor, options)
    except NameTaken:
        fate.kept = True  # They are another launch's, which was faster.
        raise RuntimeExists(
            f"the runtime {boot.runtime!r} was launched by somebody else just now; join it with "
            f"Runtime.connect(name={boot.runtime!r}), or launch under another name"
        ) from None
    try:
        await ControlClient(cluster, boot.runtime).call("introduce", timeout=_LAUNCH)
    except TimeoutError:
        raise ControlError(
            f"the first actors of the runtime {boot.runtime!r} did not start within {_LAUNCH:g} s; does the "
            f"Ray cluster have CPUs free? `ray status` tells"
        ) from None


async def _end_actors(cluster: Cluster, fate: _Fate) -> None:
    """Ends every actor, the supervisor first, for it would bring the others back."""
    if fate.kept:
        return
    await cluster.kill(names.SUPERVISOR)
    await _end_all(cluster)


async def _end_all(cluster: Cluster, but: str = "") -> None:
    """Returns once no actor is left; those that come late, because they were being started, go too."""
    present: list[str] = []
    try:
        async with asyncio.timeout(_FORGETTING):
            while present := [name for name in await cluster.names() if name != but]:
                await asyncio.gather(*(cluster.kill(name) for name in present))
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise ControlError(
            f"{', '.join(present)} were ended, and Ray still lists them after {_FORGETTING:g} s; "
            f"`ray status` tells whether the cluster is well, and the next launch under this name ends them "
            f"again"
        ) from None


def _where(settings: Settings, name: str, address: str | None) -> tuple[str, str | None]:
    """The Ray address to look at, and the authentication that was in force when it was recorded."""
    if address is not None:
        return address, None
    record = read_record(folder_of(settings.data_dir, name))
    if record is not None and record.holder_lives():
        return record.address, record.auth_mode
    known = rayhost.known_address()
    if known is not None:
        return known, None
    if record is not None and record.detached:
        return record.address, record.auth_mode
    raise RuntimeNotFound(
        f"no runtime {name!r} is known on this machine; launch one with Runtime.launch(name={name!r}) or "
        f"`llmgine up`, or name its cluster with RAY_ADDRESS"
    )


async def _introduced(cluster: Cluster, name: str, where: str) -> tuple[RayWorld, dict[str, Any]]:
    try:
        world, wire = await ControlClient(cluster, name).call("introduce", timeout=_LAUNCH)
    except RuntimeNotFound:
        raise RuntimeNotFound(
            f"no runtime {name!r} runs on the Ray cluster at {where}; launch one there with "
            f"Runtime.launch(name={name!r}, detached=True)"
        ) from None
    except (ActorAway, TimeoutError) as error:
        raise ControlError(
            f"the runtime {name!r} is on the Ray cluster at {where}, and its supervisor does not answer "
            f"({error}); try again when Ray has restarted it, or end it with `llmgine down --name {name}`"
        ) from None
    return world, wire
