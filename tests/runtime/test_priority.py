"""Whose model calls go first, from what a user says to the door of the provider actor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from llmgine.actors.pools import wire
from llmgine.actors.pools.serving.door import Door
from llmgine.runtime import InvalidRequest, LlmgineError, Runtime


@pytest.fixture
async def runtime(clean_environ: object) -> AsyncIterator[Runtime]:
    async with Runtime.in_process() as runtime:
        yield runtime


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The priorities of the calls that came to provider actors."""
    priorities: list[str] = []
    enter = Door.enter

    def watched(door: Door, session: str, ask: wire.Ask) -> Any:
        priorities.append(ask.priority)
        return enter(door, session, ask)

    monkeypatch.setattr(Door, "enter", watched)
    return priorities


async def test_a_map_is_work_in_bulk(runtime: Runtime, asked: list[str]) -> None:
    """Its calls go after those that somebody waits for, unless it says otherwise."""
    await runtime.map(["a", "b"], model="scripted/echo")
    await runtime.map(["a"], model="scripted/echo", priority="interactive")
    assert asked == ["batch", "batch", "interactive"]


async def test_a_session_and_a_turn_can_say(runtime: Runtime, asked: list[str]) -> None:
    """A turn's word goes over its session's; without any a call is interactive."""
    async with runtime.session(model="scripted/echo") as session:
        await session.ask("a")
        await session.ask("a", priority="batch")
    async with runtime.session(model="scripted/echo", priority="batch") as session:
        await session.ask("a")
        await session.ask("a", priority="interactive")
    assert asked == ["interactive", "batch", "batch", "interactive"]


async def test_a_call_without_a_session_can_say(runtime: Runtime, asked: list[str]) -> None:
    """`runtime.models` takes it as any field of a request."""
    await runtime.models.complete("scripted/echo", "a", priority="batch")
    await runtime.models.embed("scripted/echo", "a", priority="batch")
    assert asked == ["batch", "batch"]


async def test_no_other_priorities_are_taken(runtime: Runtime) -> None:
    """An unknown one is refused, with what there is."""
    with pytest.raises(InvalidRequest, match="interactive"):
        await runtime.models.complete("scripted/echo", "a", priority="urgent")
    async with runtime.session(model="scripted/echo") as session:
        with pytest.raises(LlmgineError, match="interactive"):
            await session.ask("a", priority="urgent")
