"""Handlers that sessions have of their own, on whole runtimes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llmgine.runtime import (
    Command,
    Event,
    HandlerContext,
    InvalidHandler,
    Runtime,
    SessionEnded,
    SessionPassivated,
    SessionWoken,
    StreamDelta,
    TurnCompleted,
    answers,
    on,
)
from tests.runtime.looks import cluster_of, entry_of, sleeps

Eventually = Callable[..., Any]

SETTINGS: dict[str, Any] = {
    "telemetry": {"enabled": False},
    "control": {"stop_grace": 1},
    "sessions": {"idle": 0.1},
}


class Ticket(Event):
    text: str


class Turns(Command[int]):
    pass


ended: list[str] = []


@on(Ticket)
async def take(ticket: Ticket, context: HandlerContext) -> None:
    await context.submit(ticket.text)


@answers(Turns)
async def count(command: Turns, context: HandlerContext) -> int:
    return len(context.history()) // 2


@on(SessionEnded)
def note(event: SessionEnded) -> None:
    ended.append(event.session_id)


@on(Event)
async def watch(event: Event) -> None:
    """Hears everything, and is no reason for its session to stay awake."""


@pytest.fixture(autouse=True)
def nothing_ended() -> None:
    ended.clear()


@pytest_asyncio.fixture
async def runtime(clean_environ: object) -> AsyncIterator[Runtime]:
    async with Runtime.in_process(SETTINGS) as opened:
        yield opened


async def test_an_event_is_a_turn_and_wakes_the_session(runtime: Runtime, eventually: Eventually) -> None:
    """However it comes: published, or scheduled for later. A command wakes it, too."""
    done: list[TurnCompleted] = []
    await runtime.bus.register_event_handler(TurnCompleted, done.append, name="done")
    handlers: list[Callable[..., Any]] = [take, count, watch]
    async with runtime.session("s", model="scripted/echo", handlers=handlers) as session:
        await runtime.bus.publish(Ticket(session_id="s", text="one"))
        await eventually(lambda: len(done) == 1)
        await eventually(lambda: sleeps(runtime, "s"))
        await runtime.bus.publish(Ticket(session_id="s", text="two"))
        await eventually(lambda: len(done) == 2)
        await eventually(lambda: sleeps(runtime, "s"))
        await session.schedule(Ticket(text="three"), after=timedelta(milliseconds=50))
        await eventually(lambda: len(done) == 3)
        await eventually(lambda: sleeps(runtime, "s"))
        assert (await session.execute(Turns())).unwrap() == 3
        said = [message.text for message in await session.history()]
        assert said == ["one", "one", "two", "two", "three", "three"]


async def test_a_session_that_dies_goes_on_with_what_waits(runtime: Runtime, eventually: Eventually) -> None:
    """Each event is one turn, also where its session's process was killed in between."""
    done: list[TurnCompleted] = []
    await runtime.bus.register_event_handler(TurnCompleted, done.append, name="done")
    async with runtime.session("s", model="scripted/echo", handlers=[take]) as session:
        for number in range(6):
            await runtime.bus.publish(Ticket(session_id="s", text=str(number)))
            if number % 2:
                actor = (await entry_of(runtime, "s"))["actor"]
                if actor is not None:
                    await cluster_of(runtime).kill(actor)

        async def all_there() -> bool:
            return len(await session.history()) == 12

        await eventually(all_there)
        assert [message.text for message in await session.history()][::2] == [str(n) for n in range(6)]


async def test_the_end_reaches_the_sessions_own_handlers(runtime: Runtime, eventually: Eventually) -> None:
    """Whether it is awake or asleep when it ends; after that they receive nothing."""
    for session_id, asleep in (("awake", False), ("asleep", True)):
        session = runtime.session(session_id, model="scripted/echo", handlers=[note])
        await session.open()
        if asleep:
            await eventually(lambda: sleeps(runtime, "asleep"))
        await session.close()
        assert ended[-1:] == [session_id]
    assert (await runtime.bus.publish(SessionEnded(session_id="awake", opening=1), wait=True)).outcomes == ()
    assert ended == ["awake", "asleep"]


async def test_sleep_and_waking_are_told(runtime: Runtime, eventually: Eventually) -> None:
    """To whoever listens; they are neither starts nor ends."""
    told: list[Event] = []
    for kind in (SessionPassivated, SessionWoken):
        await runtime.bus.register_event_handler(kind, told.append, name=kind.__name__)
    async with runtime.session("s", model="scripted/echo") as session:
        await eventually(lambda: sleeps(runtime, "s"))
        await session.ask("hello")
        await eventually(lambda: len(told) >= 2)
    assert [type(event) for event in told[:2]] == [SessionPassivated, SessionWoken]


async def test_what_a_model_says_is_published_while_somebody_listens(
    runtime: Runtime, eventually: Eventually
) -> None:
    """To the listeners of that session, whole and in order; to nobody once they have gone."""
    said: list[str] = []
    async with runtime.session("s", model="scripted/slow") as session:
        listening = await session.register_event_handler(
            StreamDelta, lambda delta: said.append(delta.text), name="said"
        )
        await session.ask("a few words")
        await eventually(lambda: "".join(said) == "a few words")
        await listening.remove()
        async with runtime.session("t", model="scripted/slow") as other:
            await other.ask("nobody hears this")
        await session.ask("nor this")
        statistics = await runtime.bus.statistics()
    assert "".join(said) == "a few words"
    assert statistics["events_failed_total"] == 0


async def test_handlers_outlive_their_runtime(clean_environ: object, tmp_path: Path) -> None:
    """Those of a session that stays are there in its next runtime, until it is closed."""
    settings = {**SETTINGS, "store": {"url": f"sqlite:///{tmp_path / 'store.db'}"}}
    async with Runtime.in_process(settings) as runtime:
        await runtime.session("s", model="scripted/echo", handlers=[note], stay=True).open()
    async with Runtime.in_process(settings) as runtime:
        async with runtime.session("s", model="scripted/echo") as session:
            # Its code did not travel beyond its own process, and the session answers all the same.
            assert (await session.ask("hello")).text == "hello"
            assert (await runtime.status())["subscriptions"]["handlers"].get("s") == 1
            await session.close()
        assert (await runtime.status())["subscriptions"]["handlers"].get("s") is None


def test_what_is_no_handler_is_refused_where_it_is_written(runtime: Runtime) -> None:
    """Before any session is opened."""

    async def unmarked(event: Ticket) -> None: ...

    with pytest.raises(InvalidHandler, match="mark it with"):
        runtime.session(model="scripted/echo", handlers=[unmarked])
