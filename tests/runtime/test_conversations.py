"""What a driver says of windows, limits and queues holds in the session's process, and after it slept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from llmgine.runtime import (
    InvalidRequest,
    LimitReached,
    Limits,
    Runtime,
    SessionBusy,
    SessionConflict,
    UnknownModel,
    Window,
    tool,
)
from tests.runtime.looks import sleeps

SETTINGS: dict[str, Any] = {
    "telemetry": {"enabled": False},
    "sessions": {"idle": 0.2},
    "providers": {"profiles": {"scripted/echo": {"context": 80}}},
}


@pytest_asyncio.fixture
async def runtime(clean_environ: object) -> AsyncIterator[Runtime]:
    async with Runtime.in_process(SETTINGS) as opened:
        yield opened


@tool
async def again(text: str = "") -> str:
    """Ask again."""
    return text


async def read(session: Any, turns: int) -> int:
    """The most words that a model was given in one of these turns; scripted models count a token for each."""
    replies = [await session.ask("five words in each prompt") for _ in range(turns)]
    return max(int(reply.usage.input_tokens or 0) for reply in replies)


async def test_a_window_holds_after_sleep(runtime: Runtime, eventually: Callable[..., Any]) -> None:
    """A session that slept shows its models no more than before."""
    async with runtime.session("s", model="scripted/echo", window=Window.messages(3)) as session:
        assert await read(session, 4) == 15
        await eventually(lambda: sleeps(runtime, "s"))
        assert await read(session, 4) == 15
        assert len(await session.history()) == 16


async def test_a_window_fits_the_model(runtime: Runtime) -> None:
    """Without a number the catalogue, or the settings over it, say how much is shown."""
    async with (
        runtime.session(model="scripted/echo", window=Window.tokens()) as fitting,
        runtime.session(model="scripted/echo") as whole,
    ):
        assert await read(fitting, 8) <= 30
        assert await read(whole, 8) == 75


async def test_limits_of_a_call_go_over_the_sessions(runtime: Runtime) -> None:
    """A call may be given more, or less, than its session gives each turn."""
    async with (
        runtime.session(model="scripted/tool", tools=[again], limits=Limits(steps=1)) as one,
        runtime.session(model="scripted/tool", tools=[again]) as other,
    ):
        assert (await one.ask("go", limits=Limits(steps=2))).steps == 2
        with pytest.raises(LimitReached, match="of its 1 tokens"):
            await other.ask("go", limits=Limits(tokens=1))
    async with runtime.session(model="scripted/tool", tools=[again], limits=Limits(steps=1)) as session:
        with pytest.raises(LimitReached, match="1 model calls"):
            await session.ask("go")


async def test_a_session_says_what_becomes_of_turns_meanwhile(runtime: Runtime) -> None:
    """A session opened to refuse does, but for a call that says otherwise."""
    async with runtime.session(model="scripted/slow", when_busy="refuse") as session:
        running = await session.submit("one two three")
        with pytest.raises(SessionBusy):
            await session.ask("four")
        behind = asyncio.create_task(session.ask("five", when_busy="queue"))
        assert (await running.result()).text == "one two three"
        assert (await behind).text == "five"
        assert not await session.steer("nobody hears this")


async def test_two_handles_see_one_window(runtime: Runtime) -> None:
    """A handle that brings nothing shares a session; one that brings another window is refused."""
    async with runtime.session("s", model="scripted/echo", window=Window.messages(3)):
        async with runtime.session("s", model="scripted/echo") as shared:
            assert await read(shared, 4) == 15
        with pytest.raises(SessionConflict, match="window"):
            await runtime.session("s", model="scripted/echo", window=Window.messages(9)).open()


def test_mistakes_are_told_where_they_are_made(runtime: Runtime) -> None:
    """An unknown model, an unknown word and a limit of nothing are refused before a session is opened."""
    with pytest.raises(UnknownModel):
        runtime.session(model="scripted/echo", window=Window.summary(model="nobody/knows"))
    with pytest.raises(InvalidRequest, match="queue, interrupt, refuse"):
        runtime.session(model="scripted/echo", when_busy="later")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match=r"steps: .* greater than or equal to 1; Limits takes"):
        Limits(steps=0)
