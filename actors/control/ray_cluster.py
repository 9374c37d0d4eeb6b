"""The control plane over Ray: every actor is detached, named, and lives in the runtime's namespace."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import os
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import (
    ActorAlreadyExistsError,
    ActorDiedError,
    ActorUnavailableError,
    GetTimeoutError,
    RayActorError,
    RayError,
    RaySystemError,
    RayTaskError,
)
from ray.util.metrics import Counter, Gauge
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from llmgine.actors.control import names
from llmgine.actors.control.actor import RuntimeActor
from llmgine.actors.control.cluster import Boot, SpawnOptions, TaskOptions
from llmgine.actors.control.errors import ActorAway, ActorGone, ControlError, NameTaken, TaskFailed
from llmgine.actors.control.head import Head, in_thread
from llmgine.actors.control.logfiles import log_folder
from llmgine.actors.link import Address, LinkOptions, SocketTransport

# Actor handles that are kept, the latest; asking Ray for one again takes a millisecond.
_HANDLES = 256


class RayCluster:
    """Actors of one runtime on the Ray cluster that this process is connected to."""

    def __init__(self, runtime: str) -> None:
        self._namespace = names.namespace(runtime)
        self._handles: dict[str, Any] = {}
        self.tasks = RayTasks()
        self.meters = RayMeters()
        self._head = Head(str(ray.get_runtime_context().gcs_address))

    @property
    def node(self) -> str:
        return str(ray.get_runtime_context().get_node_id())

    async def spawn(self, boot: Boot, actor: type[RuntimeActor], options: SpawnOptions) -> None:
        place = NodeAffinitySchedulingStrategy(options.node, soft=False) if options.node else "DEFAULT"
        remote = ray.remote(actor).options(
            name=boot.name,
            namespace=self._namespace,
            lifetime="detached",
            num_cpus=options.num_cpus,
            num_gpus=options.num_gpus,
            resources=dict(options.resources) or None,
            max_restarts=-1 if options.restarts else 0,
            max_task_retries=0,
            scheduling_strategy=place,
        )
        # Creating a named actor asks the GCS first, and blocks meanwhile.
        creating = asyncio.ensure_future(in_thread(remote.remote, boot))
        try:
            self._keep(boot.name, await asyncio.shield(creating))
        except ActorAlreadyExistsError:
            raise NameTaken(f"an actor {boot.name!r} lives in {self._namespace} already") from None
        except asyncio.CancelledError:
            # Whoever ends the actor afterwards must find it.
            await asyncio.wait({creating})
            raise

    async def call(self, name: str, method: str, *arguments: Any, timeout: float | None = None) -> Any:
        handle = await self._handle(name)
        limit = asyncio.timeout(timeout)
        try:
            async with limit:
                with self._translated(name):
                    return await self._head.during(getattr(handle, method).remote(*arguments))
        except TimeoutError:
            if not limit.expired():
                raise
            raise TimeoutError(f"{name} did not answer {method!r} within {timeout:g} s") from None
        except ActorAway:
            # It may be restarting, or everything may be gone.
            await self._head.check()
            raise
        except ActorGone:
            # A name can be taken again by a new actor, which the old handle does not reach.
            self._handles.pop(name, None)
            raise

    async def kill(self, name: str) -> None:
        try:
            handle = await self._handle(name)
        except ActorGone:
            return
        self._handles.pop(name, None)
        await self._head.during(in_thread(ray.kill, handle, no_restart=True))

    async def names(self) -> list[str]:
        with self._translated("the Ray cluster"):
            listed = await self._head.during(in_thread(ray.util.list_named_actors, all_namespaces=True))
        return sorted(entry["name"] for entry in listed if entry["namespace"] == self._namespace)

    async def resolve(self, name: str) -> Address:
        return Address.from_wire(await self.call(name, "address", timeout=30.0))

    async def spans_nodes(self) -> bool:
        nodes = await self._head.during(in_thread(ray.nodes))
        return sum(1 for node in nodes if node["Alive"]) > 1

    async def _handle(self, name: str) -> Any:
        handle = self._handles.get(name)
        if handle is None:
            try:
                with self._translated("the Ray cluster"):
                    handle = await self._head.during(in_thread(ray.get_actor, name, self._namespace))
            except ValueError:
                raise ActorGone(f"no actor {name!r} in {self._namespace}") from None
            self._keep(name, handle)
        return handle

    def _keep(self, name: str, handle: Any) -> None:
        self._handles[name] = handle
        while len(self._handles) > _HANDLES:
            self._handles.pop(next(iter(self._handles)))

    @contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        """Ray's errors as ours: its own do not say what to do, and carry tracebacks as text."""
        try:
            yield
        except RayTaskError as error:
            raise error.cause from None
        except ActorDiedError as error:
            raise ActorGone(f"{name} has died: {_first_line(error)}") from None
        except ActorUnavailableError as error:
            raise ActorAway(f"{name} cannot be reached now: {_first_line(error)}") from None
        except GetTimeoutError as error:
            raise TimeoutError(str(error)) from None
        except RayActorError as error:
            raise ActorAway(f"{name} failed the call: {_first_line(error)}") from None
        except RaySystemError as error:
            raise ControlError(f"Ray failed: {_first_line(error)}") from None


class RayTasks:
    """Tasks of the Ray cluster, which may use any node that has what they ask for."""

    async def stream(
        self, work: Callable[..., Iterator[bytes]], *arguments: Any, options: TaskOptions
    ) -> AsyncGenerator[bytes]:
        remote = _remote_work(work).options(
            num_cpus=options.num_cpus,
            num_gpus=options.num_gpus,
            resources=dict(options.resources) or None,
            num_returns="streaming",
            max_retries=0,
        )
        # The first one of its kind is made known to the GCS, and that blocks.
        yielded = await in_thread(remote.remote, *arguments)
        try:
            async for reference in yielded:
                item: bytes = await reference
                yield item
        except RayError as error:
            raise TaskFailed(_first_line(error)) from None
        finally:
            await in_thread(ray.cancel, yielded, force=True)


class RayMeters:
    """The metrics page of this process's node, which Ray's own agent serves to Prometheus."""

    def __init__(self) -> None:
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}

    def count(self, name: str, description: str, labels: Mapping[str, str], amount: float) -> None:
        counter = self._counters.get(name)
        if counter is None:
            counter = self._counters[name] = Counter(name, description, tuple(labels))
        counter.inc(amount, dict(labels))

    def set(self, name: str, description: str, labels: Mapping[str, str], value: float) -> None:
        gauge = self._gauges.get(name)
        if gauge is None:
            gauge = self._gauges[name] = Gauge(name, description, tuple(labels))
        gauge.set(value, dict(labels))


@functools.cache
def _remote_work(work: Callable[..., Iterator[bytes]]) -> Any:
    return ray.remote(work)


@dataclass(frozen=True, slots=True)
class RayWorld:
    """What a process of a Ray cluster needs to take part in a runtime.

    The secret goes from actor to actor as a Ray argument: whoever may use the Ray cluster may use
    the runtime. `launch_id` tells the sockets of two launches of one name apart.
    """

    runtime: str
    launch_id: str
    secret: bytes = field(repr=False)
    link: LinkOptions

    @property
    def owns_process(self) -> bool:
        return True

    def cluster(self) -> RayCluster:
        return RayCluster(self.runtime)

    def log_folder(self) -> Path | None:
        node = ray._private.worker._global_node  # the only place where Ray says where its logs are
        return None if node is None else log_folder(node.get_logs_dir_path(), self.runtime)

    def transport(self, cluster: Any, *, tcp: bool) -> SocketTransport:
        host = ray.util.get_node_ip_address() if tcp else None
        return SocketTransport(
            self.secret, cluster.node, socket_folder(self.launch_id), tcp_host=host, options=self.link
        )


def socket_folder(launch_id: str) -> Path:
    """A short folder, since the path of a unix socket may have 107 bytes and no more."""
    digest = hashlib.sha256(launch_id.encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"llmgine-{os.getuid()}" / digest


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
