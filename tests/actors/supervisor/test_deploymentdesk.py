"""Replicas started, scaled, replaced and ended, over doubles of the actors."""

from __future__ import annotations

from typing import Any, cast

import pytest

from llmgine.actors.bus import Event, on
from llmgine.actors.control import StartFailed
from llmgine.actors.handlers import DeployedCode, DeploymentRefused
from llmgine.actors.handlers.deployment import Cargo
from llmgine.actors.supervisor.deploymentdesk import DeploymentDesk
from llmgine.actors.supervisor.work import Work


class Ping(Event):
    pass


class Pings:
    @on(Ping)
    async def note(self, event: Ping) -> None: ...


class Cluster:
    """Answers what replicas would."""

    def __init__(self) -> None:
        self.serves: dict[str, list[int]] = {}
        self.silent: set[str] = set()

    async def call(self, name: str, method: str, *arguments: Any, timeout: float | None = None) -> Any:
        if method == "cargo":
            return Cargo("Pings", 1, DeployedCode(Pings), 0.1)
        if name in self.silent:
            raise TimeoutError
        return self.serves.get(name, [])


class Subscriptions:
    def __init__(self) -> None:
        self.forgotten: list[tuple[str, frozenset[int]]] = []
        self.left: list[str] = []

    async def remove_deployment(self, name: str, but: frozenset[int]) -> None:
        self.forgotten.append((name, but))

    async def remove_member(self, client: str) -> None:
        self.left.append(client)


class Stage:
    """A desk with everything that it acts on."""

    def __init__(self, children: Any) -> None:
        self.children = children
        self.cluster = Cluster()
        self.subscriptions = Subscriptions()
        self.work = Work()
        self.desk = DeploymentDesk(
            cast(Any, self.cluster), children, cast(Any, self.subscriptions), self.work
        )

    async def deploy(self, replicas: int = 2) -> list[str]:
        return await self.desk.deploy("Pings", DeployedCode(Pings), replicas, 0.1)


@pytest.fixture
def stage(children: Any) -> Stage:
    return Stage(children)


async def test_a_deployment_stands_once_all_replicas_do(stage: Stage) -> None:
    """Deploying returns the names of as many replicas as were asked for, all of them started."""
    assert await stage.deploy(2) == ["handler-Pings-0", "handler-Pings-1"]
    assert stage.children.alive == {"handler-Pings-0", "handler-Pings-1"}


async def test_scaling_starts_and_drains(stage: Stage, until: Any) -> None:
    """Scaling up starts further replicas under new names, scaling down lets the latest leave."""
    await stage.deploy(1)
    assert await stage.desk.scale("Pings", 3) == [f"handler-Pings-{number}" for number in range(3)]
    assert await stage.desk.scale("Pings", 1) == ["handler-Pings-0"]
    await until(lambda: stage.children.alive == {"handler-Pings-0"})
    await until(lambda: sorted(stage.subscriptions.left) == ["handler-Pings-1", "handler-Pings-2"])


async def test_a_replica_that_cannot_start_leaves_nothing(stage: Stage) -> None:
    """Where one replica does not start, the others end, its subscriptions go, and its error is raised."""
    stage.children.failures["handler-Pings-1"] = StartFailed("no")
    with pytest.raises(StartFailed):
        await stage.deploy(2)
    assert stage.children.alive == set()
    assert stage.subscriptions.forgotten == [("Pings", frozenset())]
    assert stage.desk.snapshot() == {}


async def test_a_new_version_takes_over_and_the_former_leaves(stage: Stage, until: Any) -> None:
    """Deploying a name again starts the new replicas before the former ones leave."""
    await stage.deploy(1)
    stage.cluster.serves["handler-Pings-1"] = [7]
    assert await stage.deploy(1) == ["handler-Pings-1"]
    assert stage.subscriptions.forgotten == [("Pings", frozenset({7}))]
    await until(lambda: stage.children.alive == {"handler-Pings-1"})


async def test_a_new_version_that_fails_leaves_the_former(stage: Stage) -> None:
    """Where a new version does not start, the former one serves on with what it served."""
    await stage.deploy(1)
    stage.cluster.serves["handler-Pings-0"] = [3]
    stage.children.failures["handler-Pings-1"] = StartFailed("no")
    with pytest.raises(StartFailed):
        await stage.deploy(1)
    assert stage.children.alive == {"handler-Pings-0"}
    assert stage.subscriptions.forgotten == [("Pings", frozenset({3}))]
    assert stage.desk.snapshot()["Pings"] == {"replicas": ["handler-Pings-0"], "version": 1}


@pytest.mark.parametrize("failure", [None, StartFailed("no")])
async def test_nothing_is_removed_while_nobody_says_what_is_served(
    stage: Stage, failure: Exception | None
) -> None:
    """Where no replica of the version that stays answers, every subscription of the deployment stays."""
    await stage.deploy(1)
    stage.cluster.silent = {"handler-Pings-0", "handler-Pings-1"}
    if failure is None:
        await stage.deploy(1)
    else:
        stage.children.failures["handler-Pings-1"] = failure
        with pytest.raises(StartFailed):
            await stage.deploy(1)
    assert stage.subscriptions.forgotten == []


async def test_a_lost_replica_is_replaced(stage: Stage) -> None:
    """A replica that will not come back is replaced by one of another name."""
    await stage.deploy(1)
    await stage.desk.gone("handler-Pings-0")
    assert stage.desk.snapshot()["Pings"]["replicas"] == ["handler-Pings-1"]


async def test_a_restarted_supervisor_scales_with_the_replicas_own_code(stage: Stage) -> None:
    """After replicas have reported themselves, more are started with the code that they give back."""
    stage.desk.joined({"name": "handler-Pings-4", "deployment": "Pings", "version": 1, "num_cpus": 0.1})
    assert await stage.desk.scale("Pings", 2) == ["handler-Pings-4", "handler-Pings-5"]


async def test_removal_is_for_good_and_twice_is_once(stage: Stage, until: Any) -> None:
    """A removed deployment loses its subscriptions and replicas; removing it again does nothing."""
    await stage.deploy(1)
    await stage.desk.remove("Pings")
    await stage.desk.remove("Pings")
    assert stage.subscriptions.forgotten == [("Pings", frozenset())]
    await until(lambda: stage.children.alive == set())
    with pytest.raises(DeploymentRefused, match="no deployment is called 'Pings'"):
        await stage.desk.scale("Pings", 2)


@pytest.mark.parametrize("replicas", [0, -1])
async def test_no_replicas_are_no_deployment(stage: Stage, replicas: int) -> None:
    """Fewer than one replica is refused, and the answer names `remove`."""
    with pytest.raises(DeploymentRefused, match="remove"):
        await stage.deploy(replicas)
