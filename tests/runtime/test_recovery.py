"""A runtime in one process whose supervisor dies, whose callers give up, and which is stopped in between."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from llmgine.actors.control import SpawnOptions, names
from llmgine.actors.supervisor import children
from llmgine.actors.supervisor.actor import SupervisorActor
from llmgine.runtime import Event, Runtime, SessionEnded, SessionNotFound, SessionStarted
from llmgine.runtime.driver import Driver
from tests.runtime.looks import cluster_of

Until = Callable[..., Any]


class Ping(Event):
    number: int


@pytest_asyncio.fixture
async def runtime(clean_environ: object) -> AsyncIterator[Runtime]:
    settings = {"telemetry": {"enabled": False}, "control": {"stop_grace": 1}, "sessions": {"warm": 0}}
    async with Runtime.in_process(settings) as opened:
        yield opened


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Sessions' actors start when the test lets them."""
    gate = Gate()

    async def start(self: Any, name: str, kind: str, **options: Any) -> None:
        if kind == "session":
            gate.inside.set()
            await gate.go_on.wait()
        await plain(self, name, kind, **options)

    plain = children.Children.start
    monkeypatch.setattr(children.Children, "start", start)
    return gate


class Gate:
    def __init__(self) -> None:
        self.inside, self.go_on = asyncio.Event(), asyncio.Event()


def driver_of(runtime: Runtime) -> Driver:
    return runtime._open()


def supervisor_of(runtime: Runtime) -> SupervisorActor:
    actor = cluster_of(runtime)._actors[names.SUPERVISOR]
    assert isinstance(actor, SupervisorActor)
    return actor


async def killed(runtime: Runtime) -> None:
    """The supervisor dies and comes back, as Ray would bring it."""
    await cluster_of(runtime).crash(names.SUPERVISOR)


async def busy(runtime: Runtime) -> list[str]:
    """The actors that sessions live in."""
    return sorted({entry["actor"] for entry in (await runtime.status())["sessions"]})


async def test_a_restarted_supervisor_goes_on(runtime: Runtime) -> None:
    """Sessions, pools, drivers and handlers are as they were, and the next opening has another number."""
    heard: list[int] = []
    await runtime.bus.register_event_handler(Ping, lambda event: heard.append(event.number), name="pings")
    async with runtime.session("s", model="scripted/echo") as session:
        await session.ask("one")
        before = await runtime.status()
        await killed(runtime)
        after = await runtime.status()
        for entry in before["sessions"] + after["sessions"]:
            del entry["idle"]
        assert {key: after[key] for key in ("sessions", "pools", "drivers", "subscriptions")} == {
            key: before[key] for key in ("sessions", "pools", "drivers", "subscriptions")
        }
        assert (await session.ask("two")).text == "two"
        await runtime.bus.publish(Ping(number=1), wait=True)
        assert heard == [1]
    assert (await runtime.status())["sessions"] == []
    assert await busy(runtime) == []


async def test_an_opening_that_was_cut_off_leaves_no_actor(
    runtime: Runtime, gate: Gate, eventually: Callable[..., Any]
) -> None:
    """A supervisor that dies between starting an actor and giving it the session begins anew."""
    opening = asyncio.create_task(runtime.session("s", model="scripted/echo").open())
    await gate.inside.wait()
    # What the former life had begun: an actor without a session.
    boot = supervisor_of(runtime).boot.child("host-7", "session")
    await cluster_of(runtime).spawn(boot, children._CLASSES["session"], SpawnOptions())
    await killed(runtime)
    gate.go_on.set()
    session = await opening
    assert (await session.ask("hello")).text == "hello"
    assert await busy(runtime) == ["host-8"]
    await eventually(lambda: "host-7" not in cluster_of(runtime)._actors)
    await session.leave()


async def test_an_ending_that_was_cut_off_is_finished(
    runtime: Runtime, eventually: Callable[..., Any]
) -> None:
    """A session whose turns had been ended when the supervisor died is ended by its next life."""
    session = await runtime.session("s", model="scripted/echo", stay=True).open()
    (name,) = await busy(runtime)
    await cluster_of(runtime).call(name, "end", "s", 0.0)
    await killed(runtime)
    await runtime.status()
    await session.close()
    assert await busy(runtime) == []
    again = await runtime.session("s", model="scripted/echo").open()
    assert (await again.ask("anew")).text == "anew"
    await again.leave()
    await session.leave()


async def test_what_a_vanished_driver_registered_goes(runtime: Runtime) -> None:
    """A driver that died together with the supervisor is given its lease by the next life."""
    bus = driver_of(runtime).bus
    record = {"kind": "event", "wire_name": "x", "name": "n", "client": "driver-dead", "epoch": 1}
    await supervisor_of(runtime).subscribe(record)
    await killed(runtime)
    await runtime.status()
    directory = supervisor_of(runtime)._directory
    assert set(directory.drivers) == {"driver-dead", bus.identity}
    lost = directory.drivers["driver-dead"]
    for decision in directory.tick(lost.lost_at + 61):
        await supervisor_of(runtime)._begin_to(decision)
    assert (await runtime.status())["subscriptions"]["event_handlers"] == 0


async def test_an_opening_that_is_given_up_is_left_again(
    runtime: Runtime, gate: Gate, eventually: Callable[..., Any]
) -> None:
    """A driver that stops waiting for its session leaves no session behind."""
    opening = asyncio.create_task(runtime.session("s", model="scripted/echo").open())
    await gate.inside.wait()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    gate.go_on.set()

    async def nothing() -> bool:
        return not (await runtime.status())["sessions"] and not await busy(runtime)

    await eventually(nothing)


async def test_closing_meets_opening(runtime: Runtime, gate: Gate) -> None:
    """A session that another handle closes while it opens has no start event and no end event."""
    heard: list[Event] = []
    await runtime.bus.register_event_handler(SessionStarted, heard.append, name="starts")
    await runtime.bus.register_event_handler(SessionEnded, heard.append, name="ends")
    first = runtime.session("s", model="scripted/echo")
    opening = asyncio.create_task(first.open())
    await gate.inside.wait()
    await runtime.session("s", model="scripted/echo").close()
    with pytest.raises(SessionNotFound, match="open it again"):
        await opening
    gate.go_on.set()
    async with first as session:
        assert (await session.ask("hello")).text == "hello"
    assert [type(event) for event in heard] == [SessionStarted, SessionEnded]


async def test_closing_twice_is_closing(runtime: Runtime) -> None:
    """Closing a session that has ended is no error."""
    async with runtime.session("s", model="scripted/echo") as session:
        await asyncio.gather(session.close(), session.close())
        assert await busy(runtime) == []
        await session.close()


async def test_ended_sessions_leave_no_links(runtime: Runtime, eventually: Callable[..., Any]) -> None:
    """A driver that has held many sessions keeps nothing of them."""
    for number in range(5):
        async with runtime.session(model="scripted/echo") as session:
            await session.ask(str(number))
    del session
    known = {names.SUPERVISOR, names.STORE, names.TELEMETRY, names.router(0)}

    def none_left() -> bool:
        gc.collect()
        return set(driver_of(runtime).ground._peers) <= known

    await eventually(none_left)
    assert driver_of(runtime).attached == set()


async def test_a_runtime_stopped_within_a_session(clean_environ: object) -> None:
    """Leaving the blocks of a runtime that was stopped inside them is no error."""
    async with (
        Runtime.in_process({"telemetry": {"enabled": False}}) as runtime,
        runtime.session(model="scripted/echo") as session,
    ):
        await session.ask("hello")
        await runtime.stop()


async def test_all_who_stop_wait_for_the_same_ending(runtime: Runtime) -> None:
    """A stop that is asked for twice drains once, and sessions end once."""
    ended: list[Event] = []
    await runtime.bus.register_event_handler(SessionEnded, ended.append, name="ends")
    await runtime.session("s", model="scripted/echo", stay=True).open()
    control = driver_of(runtime).control
    await asyncio.gather(*(control.call("stop_runtime") for _ in range(3)))
    assert len(ended) == 1
    assert await cluster_of(runtime).names() == [names.SUPERVISOR]


async def test_a_runtime_whose_owner_is_gone_ends(
    clean_environ: object, eventually: Callable[..., Any]
) -> None:
    """When the owner's link breaks and does not come back, every actor ends, the supervisor last."""
    settings = {"telemetry": {"enabled": False}, "control": {"owner_grace": 0}}
    async with Runtime.in_process(settings) as runtime:
        await runtime.session("s", model="scripted/echo", stay=True).open()
        cluster = cluster_of(runtime)
        await driver_of(runtime)._membership.close()
        driver_of(runtime).ground.forget(names.SUPERVISOR)
        await eventually(lambda: not cluster._actors)
