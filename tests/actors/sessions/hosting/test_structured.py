"""Answers of a type, with tools in between, streamed, and after the death of the process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from llmgine.actors.sessions.turns.events import TurnDone, TurnReset
from llmgine.providers.errors import OutputInvalid
from llmgine.providers.events import TextDelta
from tests.actors.sessions.stage import Stage, soon


class City(BaseModel):
    name: str
    inhabitants: int


PARIS = '{"name": "Paris", "inhabitants": 2100000}'
ANSWER = {"name": "Paris", "inhabitants": 2100000}
FOUND = City(name="Paris", inhabitants=2100000)


async def count(city: str) -> int:
    """How many live in a city."""
    return 2_100_000


async def test_tools_come_first(stage: Stage, script: Any) -> None:
    """The model may call tools before it answers in the shape; every call asks for that shape."""
    calls = (script.call("count", city="Paris"),)
    session = await stage.open(script.says(calls=calls), script.says(PARIS, output=ANSWER), tools=(count,))
    reply = await soon(session.ask("The largest?", output=City))
    assert reply.output == FOUND
    assert [call.result.text for call in reply.tool_calls] == ["2100000"]
    assert all(request.output is not None for request in stage.models.requests)


async def test_a_stream_ends_with_the_value(stage: Stage, script: Any) -> None:
    """Deltas come as text, and the last event has the value of the type."""
    session = await stage.open(script.says(PARIS[:9], PARIS[9:], output=ANSWER))
    events = [event async for event in session.stream("The largest?", output=City)]
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == PARIS
    assert isinstance(events[-1], TurnDone)
    assert events[-1].reply.output == FOUND


async def test_a_value_survives_the_process(stage: Stage, script: Any) -> None:
    """A turn that goes on elsewhere still asks for the shape, and whoever reads it late gets the value."""
    gate = script.Gate()
    session = await stage.open([TextDelta(0, PARIS[:9]), gate])
    turn = await soon(session.submit("The largest?", output=City))
    reading = asyncio.create_task(_all(turn))
    await gate.inside.wait()
    await stage.kill()
    await stage.wake(script.says(PARIS, output=ANSWER))
    events = await soon(reading)
    assert any(isinstance(event, TurnReset) for event in events)
    assert events[-1].reply.output == FOUND
    assert stage.models.requests[0].output is not None
    await stage.kill()
    await stage.wake()
    late = stage.driver().turn(turn.id, output=City)
    assert (await soon(late.result())).output == FOUND


async def _all(turn: Any) -> list[Any]:
    return [event async for event in turn.stream()]


async def test_what_does_not_fit_is_told(stage: Stage, script: Any) -> None:
    """An answer of another shape is an error that shows it, and stays in the conversation."""
    session = await stage.open(script.says('{"name": "Paris"}'))
    with pytest.raises(OutputInvalid):
        await soon(session.ask("The largest?", output=City))
    assert [message.text for message in await soon(session.history())][-1] == '{"name": "Paris"}'
