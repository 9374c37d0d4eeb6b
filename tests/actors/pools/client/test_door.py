"""Which actor a call waits at where none has a place free."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from llmgine.actors.pools import wire
from llmgine.actors.pools.client.door import Asked, Try, admitted
from llmgine.actors.pools.pieces import RequestWriter
from llmgine.providers.names import ModelName
from tests.actors.pools.client.stage import Stage
from tests.providers.faults.counting import CountingServer

Until = Callable[..., Any]


@pytest.fixture
async def counting() -> AsyncIterator[CountingServer]:
    server = CountingServer()
    await server.start()
    yield server
    await server.stop()


@pytest.mark.parametrize("stay", [1, 0])
async def test_who_leaves_the_pool_while_a_call_looks_around_is_not_waited_for(
    counting: CountingServer, until: Until, stay: int
) -> None:
    """The call waits at another, and where all have left, at whoever is there in their place."""
    stage = Stage(counting.base_url, actors=3)
    stage.pools["default"]["max_in_flight"] = 1
    running = [asyncio.create_task(stage.events("one/any")) for _ in range(3)]
    await until(lambda: counting.held == 3)
    full: list[str] = []

    def passed(actor: str, outcome: str) -> None:
        full.append(actor)
        if len(full) == 2:
            stage.models.update({"one": [[name, "local"] for name in full[2 - stay :]]})

    body = RequestWriter().write(stage.request("one/any"))
    asked = Asked(wire.LLM_STREAM, [body, "s", None], ModelName("one", "any"), wire.Ask(), passed=passed)
    tried = await admitted(stage.models._shared, asked)
    assert isinstance(tried, Try)
    assert (tried.actor == full[-1]) == bool(stay)
    tried.end()
    for call in running:
        call.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    await stage.close()
