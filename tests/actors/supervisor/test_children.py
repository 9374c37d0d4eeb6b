"""Single actors started, asked after and ended, over a scripted cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from llmgine.actors.control import ActorAway, ActorGone, Boot, LocalWorld, StartFailed
from llmgine.actors.supervisor import children as module
from llmgine.actors.supervisor.children import Children

Until = Callable[..., Any]


class Cluster:
    """Answers `resolve` as it is told to; an actor is a member once `arrives` names it."""

    def __init__(self) -> None:
        self.resolutions: list[Any] = []
        self.resolved = 0
        self.killed: list[str] = []
        self.stopped: list[str] = []
        self.stop_error: Exception | None = None
        self.hangs = False

    async def spawn(self, boot: Any, actor: Any, options: Any) -> None:
        if self.hangs:
            await asyncio.Event().wait()

    async def resolve(self, name: str) -> None:
        self.resolved += 1
        answer = self.resolutions.pop(0) if self.resolutions else None
        if isinstance(answer, Exception):
            raise answer

    async def call(self, name: str, method: str, *arguments: Any, timeout: float | None = None) -> None:
        self.stopped.append(name)
        if self.stop_error is not None:
            raise self.stop_error

    async def kill(self, name: str) -> None:
        self.killed.append(name)


class Members(set[str]):
    """Those that have reported themselves; the test adds them before somebody looks again."""

    async def here(self, names: list[str]) -> None:
        if not self.issuperset(names):
            await asyncio.Event().wait()


class Stage:
    def __init__(self) -> None:
        self.cluster = Cluster()
        self.members = Members()
        supervisor = SimpleNamespace(
            boot=Boot("r", "supervisor", "supervisor", LocalWorld(), {}),
            cluster=self.cluster,
        )
        self.children = Children(cast(Any, supervisor), cast(Any, self.members))

    def start(self) -> asyncio.Task[None]:
        return asyncio.create_task(self.children.start("router-0", "router", num_cpus=0.1))


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(module, "_PAUSE", 0)
    monkeypatch.setattr(module, "_REPORT_PATIENCE", 0.01)
    return Stage()


async def test_a_start_waits_for_the_report(stage: Stage, until: Until) -> None:
    """An actor is started when it listens and has reported itself."""
    stage.cluster.resolutions = [ActorAway("coming"), TimeoutError("still coming")]
    starting = stage.start()
    await until(lambda: stage.cluster.resolved >= 3)
    assert not starting.done()
    stage.members.add("router-0")
    await starting
    assert stage.cluster.killed == []


async def test_an_actor_that_dies_while_it_starts(stage: Stage) -> None:
    """A death after the address was known and before the report is noticed, named, and tidied up."""
    stage.cluster.resolutions = [None, ActorGone("router-0 has died: out of memory")]
    with pytest.raises(StartFailed, match=r"died while it started.*out of memory"):
        await stage.start()
    assert stage.cluster.killed == ["router-0"]


async def test_an_actor_without_a_place(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that takes too long names what Ray may lack, and is taken back."""
    monkeypatch.setattr(module, "_START_PATIENCE", 0.01)
    stage.cluster.hangs = True
    with pytest.raises(StartFailed, match=r"0\.1 CPUs free.*control\.actor_cpus"):
        await stage.start()
    assert stage.cluster.killed == ["router-0"]


async def test_a_start_that_is_given_up_is_taken_back(stage: Stage, until: Until) -> None:
    """Nothing stays of an actor that nobody waits for any more."""
    starting = stage.start()
    await until(lambda: stage.cluster.resolved)
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    assert stage.cluster.killed == ["router-0"]


@pytest.mark.parametrize(
    ("error", "warned"),
    [(None, False), (ActorGone("gone"), False), (TimeoutError("late"), True), (ValueError("a bug"), True)],
)
async def test_an_actor_ends_whatever_its_draining_comes_to(
    stage: Stage, error: Exception | None, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """An actor is let drain and ended, also where it cannot drain; one that is gone already is no trouble."""
    stage.cluster.stop_error = error
    await stage.children.end("router-0", 1.0)
    assert (stage.cluster.stopped, stage.cluster.killed) == (["router-0"], ["router-0"])
    assert ("did not stop by itself" in caplog.text) == warned


async def test_an_actor_without_grace_is_ended_at_once(stage: Stage) -> None:
    """No grace means no draining."""
    await stage.children.end("router-0", 0.0)
    assert (stage.cluster.stopped, stage.cluster.killed) == ([], ["router-0"])
