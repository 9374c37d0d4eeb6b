"""Sessions that sleep, wake, move and outlive what they lived in, within one process."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmgine.actors.control import names
from llmgine.actors.supervisor import actor as supervisor
from llmgine.runtime import (
    Event,
    HandlerContext,
    Runtime,
    SessionClosed,
    SessionEnded,
    SessionLost,
    SessionNotFound,
    SessionStarted,
    StoreUnavailable,
    on,
    tool,
)
from tests.runtime.looks import cluster_of, entry_of, sleeps

Eventually = Callable[..., Any]

SETTINGS: dict[str, Any] = {
    "telemetry": {"enabled": False},
    "control": {"stop_grace": 1},
    "sessions": {"idle": 0.2},
    "providers": {
        "scripts": {"stall": {"replies": [{"text": "so far", "fault": {"kind": "stall", "after_chunks": 1}}]}}
    },
}


@pytest_asyncio.fixture
async def runtime(clean_environ: object) -> AsyncIterator[Runtime]:
    async with Runtime.in_process(SETTINGS) as opened:
        yield opened


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"Sunny in {city}"


async def said(session: Any) -> list[str]:
    return [message.text for message in await session.history()]


@pytest.mark.parametrize("placement", ["dedicated", "pooled"])
async def test_an_idle_session_sleeps_and_answers_again(
    runtime: Runtime, eventually: Eventually, placement: Any
) -> None:
    """No actor holds it; it wakes with its history and its tools, and has one start and one end."""
    heard: list[Event] = []
    await runtime.bus.register_event_handler(SessionStarted, heard.append, name="starts")
    await runtime.bus.register_event_handler(SessionEnded, heard.append, name="ends")
    trusted = tool(trusted=True)(get_weather.function)
    async with runtime.session("s", model="scripted/tool", tools=[trusted], placement=placement) as session:
        await session.ask("one")
        before = await said(session)
        await eventually(lambda: sleeps(runtime, "s"))
        assert (await entry_of(runtime, "s"))["actor"] is None
        assert "Sunny in" in (await session.ask("two")).text
        assert (await said(session))[: len(before)] == before
    await eventually(lambda: len(heard) > 1)
    assert [type(event) for event in heard] == [SessionStarted, SessionEnded]


async def test_pooled_sessions_share_an_actor(runtime: Runtime) -> None:
    """Each answers with its own conversation."""
    sessions = [
        runtime.session(f"s{number}", model="scripted/echo", placement="pooled") for number in range(5)
    ]
    for session in sessions:
        await session.open()
    await asyncio.gather(*(session.ask(session.id) for session in sessions))
    assert len({(await entry_of(runtime, session.id))["actor"] for session in sessions}) == 1
    assert [await said(session) for session in sessions] == [[f"s{number}"] * 2 for number in range(5)]
    for session in sessions:
        await session.leave()


async def test_a_session_outlives_its_actor(runtime: Runtime) -> None:
    """When its actor dies, the next question finds it elsewhere, with every turn that was answered."""
    heard: list[Event] = []
    await runtime.bus.register_event_handler(SessionEnded, heard.append, name="ends")
    async with runtime.session("s", model="scripted/echo") as session:
        await session.ask("one")
        first = (await entry_of(runtime, "s"))["actor"]
        await cluster_of(runtime).kill(first)
        assert (await session.ask("two")).text == "two"
        assert (await entry_of(runtime, "s"))["actor"] != first
        assert await said(session) == ["one", "one", "two", "two"]
        assert heard == []


async def test_turns_go_on_where_their_session_wakes(runtime: Runtime, eventually: Eventually) -> None:
    """A turn that ran when its actor died, and those that waited behind it, end without anybody asking."""
    async with runtime.session("s", model="scripted/slow") as session:
        turns = [await session.submit(f"a sentence of some words {number}") for number in range(3)]
        await cluster_of(runtime).kill((await entry_of(runtime, "s"))["actor"])
        replies = [await turn.result() for turn in turns]
        assert [reply.text for reply in replies] == [
            f"a sentence of some words {number}" for number in range(3)
        ]
        assert len(await session.history()) == 6


async def test_a_session_ends_with_the_store_that_kept_it(runtime: Runtime, eventually: Eventually) -> None:
    """When its process and a store that is no more than memory have both died, it is lost, and says so."""
    ended: list[SessionEnded] = []
    await runtime.bus.register_event_handler(SessionEnded, ended.append, name="ends")
    async with runtime.session("s", model="scripted/echo") as session:
        await session.ask("one")
        actor = (await entry_of(runtime, "s"))["actor"]
        await cluster_of(runtime).crash(names.STORE)
        await cluster_of(runtime).kill(actor)
        await eventually(lambda: ended)
        assert "the store has nothing of it" in str(ended[0].error)
        with pytest.raises((SessionLost, SessionClosed, SessionNotFound)):
            await session.ask("two")


async def test_a_sleeping_session_outlives_the_supervisor(runtime: Runtime, eventually: Eventually) -> None:
    """A restarted supervisor finds it in the store, and its drivers hold it still."""
    async with runtime.session("s", model="scripted/echo") as session:
        await session.ask("one")
        await eventually(lambda: sleeps(runtime, "s"))
        await cluster_of(runtime).crash(names.SUPERVISOR)
        assert await sleeps(runtime, "s")
        assert (await entry_of(runtime, "s"))["drivers"] == 1
        await session.ask("two")
        assert await said(session) == ["one", "one", "two", "two"]
    assert (await entry_of(runtime, "s"))["state"] == "gone"


async def test_a_closed_session_is_opened_again_with_its_history(
    runtime: Runtime, eventually: Eventually
) -> None:
    """The same id is the same conversation, under a new opening."""
    openings: list[int] = []
    await runtime.bus.register_event_handler(
        SessionStarted, lambda event: openings.append(event.opening), name="starts"
    )
    for text in ("one", "two"):
        async with runtime.session("s", model="scripted/echo") as session:
            await session.ask(text)
            history = await said(session)
    assert history == ["one", "one", "two", "two"]
    await eventually(lambda: len(openings) > 1)
    assert openings == sorted(set(openings))


async def test_a_deleted_session_is_gone(runtime: Runtime) -> None:
    """Neither its history nor its row is left, also where it was open."""
    control = runtime._open().control
    session = await runtime.session("s", model="scripted/echo", stay=True).open()
    await session.ask("one")
    await control.call("delete_session", "s")
    assert (await control.call("list_sessions", [None, None, None, None], 0, 10))["sessions"] == []
    await session.leave()
    async with runtime.session("s", model="scripted/echo") as again:
        assert await said(again) == []


async def test_an_actor_with_stuck_threads_is_emptied(clean_environ: object, eventually: Eventually) -> None:
    """Its sessions wake elsewhere, with all that they had."""
    import threading

    done = threading.Event()

    @tool(timeout=0.05)
    def stuck() -> str:
        """Does not come back."""
        done.wait(30)
        return "late"

    options = {"abandoned_threads": 1, "idle": 0.2}
    scripts = {
        "call": {"replies": [{"tool_calls": [{"name": "stuck", "arguments": {}}]}, {"text": "so it is"}]}
    }
    settings = {**SETTINGS, "sessions": options, "providers": {"scripts": scripts}}
    try:
        async with (
            Runtime.in_process(settings) as runtime,
            runtime.session("s", model="scripted/call", tools=[stuck]) as session,
        ):
            first = (await entry_of(runtime, "s"))["actor"]
            await session.ask("go")
            await eventually(lambda: first not in cluster_of(runtime)._actors)
            assert len(await session.history()) == 4
    finally:
        done.set()


async def test_a_launch_over_an_old_store(
    clean_environ: object, tmp_path: Path, eventually: Eventually
) -> None:
    """Sessions that stay sleep over the launch; a turn that had not ended is ended; the rest has ended."""
    settings = {**SETTINGS, "store": {"url": f"sqlite:///{tmp_path / 'store.db'}"}}
    async with Runtime.in_process(settings) as runtime:
        async with runtime.session("left", model="scripted/echo") as left:
            await left.ask("one")
        staying = await runtime.session("staying", model="scripted/echo").open()
        await staying.ask("one")
        await runtime.session("staying", model="scripted/echo", stay=True).open()
        turn = await staying.submit("stay with me", model="scripted/stall")
        await eventually(lambda: _running(staying))
    async with Runtime.in_process(settings) as runtime:
        entry = await entry_of(runtime, "staying")
        assert entry["state"] in ("passive", "open")
        assert await runtime.turn(turn.id).cancel()
        assert (await entry_of(runtime, "left"))["state"] == "gone"
        async with runtime.session("staying", model="scripted/echo") as staying:
            assert (await said(staying))[:2] == ["one", "one"]
            await staying.close()


async def test_an_opening_beside_a_deletion(runtime: Runtime) -> None:
    """Whichever comes first: a session that could be opened is there, with what it was told since."""
    for _ in range(5):
        session = runtime.session("s", model="scripted/echo", stay=True)
        async with session:
            await session.ask("one")
        again = runtime.session("s", model="scripted/echo", stay=True)
        await asyncio.gather(runtime.sessions.delete("s"), again.open(), return_exceptions=True)
        async with runtime.session("s", model="scripted/echo", stay=True) as last:
            await last.ask("two")
            assert (await said(last))[-2:] == ["two", "two"]
        assert (await runtime.sessions.show("s")).turns >= 1
        await runtime.sessions.delete("s")


async def test_a_killed_runtime_leaves_no_handlers_of_sessions_that_ended_with_it(
    clean_environ: object, tmp_path: Path, eventually: Eventually
) -> None:
    """A session that nothing holds has ended by the next launch, and its durable handlers with it."""

    @on(SessionStarted)
    async def hear(event: SessionStarted, context: HandlerContext) -> None: ...

    async def handlers(runtime: Runtime) -> int:
        return int((await runtime.status())["subscriptions"]["event_handlers"])

    settings = {**SETTINGS, "store": {"url": f"sqlite:///{tmp_path / 'store.db'}"}}
    async with (
        Runtime.in_process(settings) as runtime,
        runtime.session("s", model="scripted/echo", handlers=[hear]) as session,
    ):
        await session.ask("one")
        assert await handlers(runtime) == 1
        # What a machine that loses its power now would leave on its disk.
        with closing(sqlite3.connect(tmp_path / "store.db")) as live:
            live.execute("VACUUM INTO ?", (str(tmp_path / "left.db"),))
    settings = {**SETTINGS, "store": {"url": f"sqlite:///{tmp_path / 'left.db'}"}}
    async with Runtime.in_process(settings) as runtime:

        async def none_left() -> bool:
            return await handlers(runtime) == 0 and (await entry_of(runtime, "s"))["state"] == "gone"

        await eventually(none_left)


async def _running(session: Any) -> bool:
    return (await session.describe())["running"] is not None


async def test_a_launch_whose_store_cannot_be_used_fails_and_says_what_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody finds out by their first conversation that nothing can be kept."""
    monkeypatch.setattr(supervisor, "_RESTORING", 0.2)
    folder = tmp_path / "store.db"
    folder.mkdir()
    with pytest.raises(StoreUnavailable, match=r"store\.url"):
        async with Runtime.in_process({"store": {"url": f"sqlite:///{folder}"}}):
            pass
