"""How a runtime comes to be, and what is refused before it does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmgine.actors.control import (
    Boot,
    ControlOptions,
    LocalCluster,
    LocalWorld,
    RuntimeActor,
    SpawnOptions,
)
from llmgine.runtime import (
    ControlError,
    Event,
    InvalidRequest,
    RayUnavailable,
    Runtime,
    RuntimeExists,
    RuntimeNotFound,
    SettingsError,
    opening,
)


async def test_a_wrong_setting_is_refused(clean_environ: object) -> None:
    """A setting of the wrong type is named with its path."""
    with pytest.raises(SettingsError, match=r"bus\.shards"):
        async with Runtime.in_process({"bus": {"shards": "many"}}):
            pass


async def test_ray_client_is_refused(clean_environ: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """ray:// is refused with the reason."""
    monkeypatch.setenv("RAY_ADDRESS", "ray://127.0.0.1:10001")
    with pytest.raises(RayUnavailable, match="no links"):
        async with Runtime.launch():
            pass


async def test_joining_what_does_not_run(clean_environ: object) -> None:
    """Connecting to a runtime that nobody launched says how to launch it."""
    with pytest.raises(RuntimeNotFound, match="llmgine up"):
        async with Runtime.connect(name="nobody"):
            pass


@pytest.mark.parametrize("name", ["", "a/b", "-x", "x" * 80])
async def test_a_name_that_cannot_be_one(clean_environ: object, name: str) -> None:
    """A runtime's name becomes part of Ray's namespace and of paths, and is checked before both."""
    with pytest.raises(InvalidRequest, match="runtime's name"):
        async with Runtime.in_process(name=name):
            pass


async def test_a_runtime_is_used_after_it_is_opened() -> None:
    """What needs an open runtime says so."""
    runtime = Runtime.in_process()
    with pytest.raises(RuntimeNotFound, match="async with"):
        runtime.session(model="scripted/echo")


async def test_a_runtime_can_be_awaited(clean_environ: object) -> None:
    """Awaiting opens it, leaving ends it."""
    runtime = await Runtime.in_process()
    assert (await runtime.status())["name"] == "default"
    await runtime.leave()
    with pytest.raises(RuntimeNotFound):
        await runtime.status()


class Actor(RuntimeActor):
    """Lives, and answers unless it is told not to."""

    kind = "supervisor"
    hangs = False

    async def address(self) -> list[Any]:
        if self.hangs:
            await asyncio.Event().wait()
        return await super().address()


async def cluster_with(*present: str) -> LocalCluster:
    world = LocalWorld()
    cluster = world.cluster()
    for name in present:
        settings = {"control": ControlOptions().model_dump(), "telemetry": {"enabled": False}}
        boot = Boot("r", name, "actor", world, settings)
        await cluster.spawn(boot, Actor, SpawnOptions())
    return cluster


async def test_a_running_runtime_is_not_launched_again() -> None:
    """A name whose supervisor answers is taken; the error names how to join it."""
    cluster = await cluster_with("supervisor", "router-0")
    with pytest.raises(RuntimeExists, match=r"Runtime\.connect"):
        await opening._clear_leftovers(cluster, "r")
    assert await cluster.names() == ["router-0", "supervisor"]
    await cluster.kill("supervisor")


async def test_a_supervisor_that_hangs_is_not_taken_for_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that does not answer in time holds its name; the error says how to end it."""
    monkeypatch.setattr(opening, "_SIGN_OF_LIFE", 0.01)
    monkeypatch.setattr(Actor, "hangs", True)
    cluster = await cluster_with("supervisor")
    with pytest.raises(RuntimeExists, match="llmgine down --name r"):
        await opening._clear_leftovers(cluster, "r")
    await cluster.kill("supervisor")


async def test_leftovers_of_a_dead_runtime_are_cleared() -> None:
    """Actors whose supervisor is gone are ended before another runtime takes their names."""
    cluster = await cluster_with("router-0", "host-1")
    await opening._clear_leftovers(cluster, "r")
    assert await cluster.names() == []


async def test_the_slower_of_two_launches_leaves_the_faster_alone() -> None:
    """Of two launches of one name at once one is refused, and ends nothing of the other on its way out."""
    cluster = await cluster_with("supervisor")
    (running,) = cluster._actors.values()
    fate = opening._Fate()
    with pytest.raises(RuntimeExists, match="launched by somebody else"):
        await opening._raise_supervisor(cluster, running.boot, fate)
    await opening._end_actors(cluster, fate)
    assert await cluster.names() == ["supervisor"]
    await cluster.kill("supervisor")


async def test_actors_that_cannot_be_ended_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ending that does not come to an end says what is left and where to look."""

    async def kill(name: str) -> None:
        """Does nothing."""

    monkeypatch.setattr(opening, "_FORGETTING", 0.01)
    cluster = await cluster_with("router-0")
    monkeypatch.setattr(cluster, "kill", kill)
    with pytest.raises(ControlError, match=r"router-0 were ended.*ray status"):
        await opening._end_actors(cluster, opening._Fate())


async def test_what_a_runtime_offers_needs_it_open() -> None:
    """Bus, pools and telemetry of a runtime that is not open say how to open it."""
    runtime = Runtime.in_process()
    for offer in ("bus", "pools", "telemetry"):
        with pytest.raises(RuntimeNotFound, match="async with"):
            getattr(runtime, offer)


async def test_leaving_waits_once_for_what_never_ends(caplog: pytest.LogCaptureFixture) -> None:
    """A handler that does not end holds up its driver's leaving for one deadline, which says what is left."""

    async def sleep_on(event: Event) -> None:
        await asyncio.Event().wait()

    settings = {"bus": {"drain_timeout": 0.01}, "control": {"stop_grace": 0.01}}
    async with Runtime.in_process({**settings, "telemetry": {"enabled": False}}) as runtime:
        await runtime.bus.register_event_handler(Event, sleep_on, name="sleeper")
        await runtime.bus.publish(Event())
    told = [text for text in caplog.messages if text.startswith("driver-") and "not settled" in text]
    assert len(told) == 1
