"""What a turn waits for the store for, and what it does not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmgine.actors.sessions.tools.tool import tool
from llmgine.actors.store import StoreUnavailable
from llmgine.providers.contracts import ToolCallPart
from tests.actors.sessions.stage import Stage, soon

PAY = ToolCallPart(id="c1", name="pay", arguments={})


@pytest.fixture
def ran() -> list[str]:
    return []


async def told(session: Any) -> list[Any]:
    return [event async for event in session.stream("a")]


async def test_nothing_waits_for_the_store_before_the_first_token(stage: Stage, script: Any) -> None:
    """With a store that does not answer the model is asked and its text arrives; only the end waits."""
    session = await stage.open(script.says("one"), store_timeout=0.2)
    await stage.stop_store()
    events = await soon(told(session))
    assert [event.type for event in events] == ["step_started", "text_delta", "error"]
    assert isinstance(events[-1].error, StoreUnavailable)


@pytest.mark.parametrize("idempotent", [True, False])
async def test_an_effect_waits_for_the_store(
    stage: Stage, script: Any, ran: list[str], idempotent: bool
) -> None:
    """A tool that may not run twice runs once the store knows of it, any other at once."""

    @tool(idempotent=idempotent)
    async def pay() -> str:
        """Pays."""
        ran.append("pay")
        return "paid"

    session = await stage.open(
        script.says(calls=(PAY,)), script.says("done"), tools=(pay,), store_timeout=0.2
    )
    await stage.stop_store()
    events = await soon(told(session))
    assert isinstance(events[-1].error, StoreUnavailable)
    assert ran == (["pay"] if idempotent else [])


async def test_a_reply_waits_for_the_store(stage: Stage, script: Any, eventually: Any) -> None:
    """The whole text is there while the store is away, and the reply once the turn is on its disk."""
    session = await stage.open(script.says("one"))
    await stage.stop_store()
    events: list[Any] = []

    async def read() -> None:
        async for event in session.stream("a"):
            events.append(event)

    reading = asyncio.create_task(read())
    await eventually(lambda: [event.type for event in events] == ["step_started", "text_delta"])
    assert not reading.done()
    await stage.start()
    await soon(reading)
    assert events[-1].reply.text == "one"
