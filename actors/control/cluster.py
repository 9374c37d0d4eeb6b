"""The control plane as an interface: creating, finding, calling and ending actors by name.

Two keep it: `RayCluster` over Ray, `LocalCluster` inside one process. A `World` is what one of
them needs to come to life in a new process; it travels to each actor in its `Boot`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from llmgine.actors.link import Address, Transport

if TYPE_CHECKING:
    from llmgine.actors.control.actor import RuntimeActor
    from llmgine.telemetry.exporters.prometheus import Meters


@dataclass(frozen=True, slots=True)
class SpawnOptions:
    """How an actor is placed: what it holds of its node, whether it comes back by itself after a crash.

    With a `node` it runs there or not at all.
    """

    num_cpus: float = 0.05
    restarts: bool = True
    node: str | None = None
    num_gpus: float = 0.0
    resources: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """What a task holds of the node that runs it, from its beginning to its end."""

    num_cpus: float = 1.0
    num_gpus: float = 0.0
    resources: Mapping[str, float] = field(default_factory=dict)


class Tasks(Protocol):
    """Work that runs once in a process of the cluster, wherever there is room."""

    def stream(
        self, work: Callable[..., Iterator[bytes]], *arguments: Any, options: TaskOptions
    ) -> AsyncGenerator[bytes]:
        """What the work yields; `TaskFailed` where its process died. Closing it ends that process.

        `work` is found by its name over there, and is no code of a user's own.
        """
        ...


class Cluster(Protocol):
    """Actors of one runtime, by name."""

    @property
    def node(self) -> str:
        """The node that this process stands on."""
        ...

    @property
    def tasks(self) -> Tasks | None:
        """None where there is one process only."""
        ...

    @property
    def meters(self) -> Meters | None:
        """Where figures are scraped from; None where nobody scrapes."""
        ...

    async def spawn(self, boot: Boot, actor: type[RuntimeActor], options: SpawnOptions) -> None:
        """Creates the actor `boot.name`; returns when its place is asked for, not when it is up.

        `NameTaken` where one of that name lives.
        """
        ...

    async def call(self, name: str, method: str, *arguments: Any, timeout: float | None = None) -> Any:
        """The method's answer, or the error it raised; `ActorGone`, `ActorAway`, or TimeoutError.

        The method goes on when its caller gives up, and may run although its answer was lost.
        """
        ...

    async def kill(self, name: str) -> None:
        """Ends the actor at once and for good; nothing happens where there is none."""
        ...

    async def names(self) -> list[str]:
        """The names of all actors of this runtime that live or are coming back."""
        ...

    async def resolve(self, name: str) -> Address:
        """Where the actor listens now; it is asked, so it is up when this returns."""
        ...

    async def spans_nodes(self) -> bool:
        """Whether the runtime's cluster has more than one node."""
        ...


class World(Protocol):
    """Makes the two planes in the process where it is used."""

    @property
    def owns_process(self) -> bool:
        """Whether an actor has a process to itself, which it may end."""
        ...

    def cluster(self) -> Cluster: ...

    def transport(self, cluster: Cluster, *, tcp: bool) -> Transport: ...

    def log_folder(self) -> Path | None:
        """Where actors of this node keep what they log; None where that is their process's own matter."""
        ...


@dataclass(frozen=True, slots=True)
class Boot:
    """What an actor is born with.

    `settings` is the whole settings tree as plain values; `detached` says that no driver holds the runtime;
    `cargo` is what only this actor needs, and finds again in every later life; `home` is the node whose
    disk holds the runtime's folder, "" where it keeps none.
    """

    runtime: str
    name: str
    kind: str
    world: World
    settings: dict[str, Any]
    detached: bool = False
    cargo: Any = None
    home: str = ""

    def child(self, name: str, kind: str, cargo: Any = None) -> Boot:
        """The same ground under another actor."""
        return replace(self, name=name, kind=kind, cargo=cargo)
