"""Provider actors that die under concurrent streams: who is affected ends by policy, nobody else notices."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

from llmgine.providers import (
    Done,
    ErrorKind,
    ErrorPhase,
    Failed,
    LLMRequest,
    Message,
    Reset,
    StreamEvent,
    TextDelta,
)
from llmgine.runtime import Runtime
from tests.faults.scenarios import came_to
from tests.providers.faults.counting import CountingServer, whole

POLICIES = ("fail", "restart", "continue")


class Models(Protocol):
    """Whoever calls models."""

    def stream(self, request: LLMRequest) -> AsyncIterator[StreamEvent]: ...


def settings(server: CountingServer, actors: int) -> dict[str, Any]:
    """A pool `one` of so many actors at the server, whose key has no limit that would hold calls up."""
    pool = {"size": actors, "quota": {"trial": 1_000}}
    return {
        "providers": {"endpoints": {"one": {"base_url": f"{server.base_url}/v1"}}},
        "pools": {"by_provider": {"one": pool}},
    }


async def provider_actors_killed(
    server: CountingServer, runtime: Runtime, *, streams: int, kills: int
) -> str:
    """The processes of so many actors are killed when all streams are in their middle."""

    async def kill() -> set[str]:
        actors = [one for one in (await runtime.status())["actors"] if one["name"].startswith("provider-one")]
        for actor in actors[:kills]:
            os.kill(actor["pid"], signal.SIGKILL)
        return {actor["name"] for actor in actors[:kills]}

    server.go_on.set()
    await runtime.models.complete("one/count", "first")
    server.go_on.clear()
    return await streams_cut(server, runtime.models, kill, streams)


async def streams_cut(
    server: CountingServer, models: Models, kill: Callable[[], Awaitable[set[str]]], streams: int
) -> str:
    """Begins the streams, kills when all have come to their middle, and looks at how each has ended."""
    server.held = 0
    jobs = [
        asyncio.create_task(stream(models, f"s{number}", POLICIES[number % 3])) for number in range(streams)
    ]
    await came_to(lambda: server.held, streams)
    killed = await kill()
    server.go_on.set()
    affected = 0
    for number, events in enumerate(await asyncio.gather(*jobs)):
        name, last = f"s{number}", events[-1]
        assert isinstance(last, Done | Failed)
        attempts = last.response.attempts if isinstance(last, Done) else last.attempts
        if attempts[0].actor in killed:
            affected += 1
            _ended_by_policy(name, POLICIES[number % 3], events)
            continue
        assert isinstance(last, Done), last
        assert heard(events) == last.response.text == whole(name)
        assert len(attempts) == 1
    assert 0 < affected < streams
    return f"{affected} of {streams} streams ended by policy, the others byte for byte"


async def stream(models: Models, name: str, policy: str, model: Any = "one/count") -> list[StreamEvent]:
    """The events of the call that counts in that name."""
    fields = {"model": model, "messages": (Message.user(name),), "mid_stream": policy}
    return [event async for event in models.stream(LLMRequest.model_validate(fields))]


def heard(events: list[StreamEvent]) -> str:
    """The text that stands at the end of what the reader was told."""
    text = ""
    for event in events:
        if isinstance(event, Reset):
            text = ""
        elif isinstance(event, TextDelta):
            text += event.text
    return text


def _ended_by_policy(name: str, policy: str, events: list[StreamEvent]) -> None:
    last, resets = events[-1], sum(isinstance(event, Reset) for event in events)
    if policy == "fail":
        assert isinstance(last, Failed), last
        assert (last.error.kind, last.error.phase) == (ErrorKind.CONNECTION, ErrorPhase.MID_STREAM)
        assert last.partial is not None
        assert last.partial.text == heard(events)
        assert whole(name).startswith(heard(events))
        return
    assert isinstance(last, Done), last
    assert heard(events) == last.response.text == whole(name)
    # Whose second actor is killed too begins once more.
    *lost, done = [one.outcome for one in last.response.attempts]
    assert (set(lost), done) == ({"connection"}, "done")
    assert 1 <= resets <= len(lost) if policy == "restart" else resets == 0
    told = [one.field for one in last.response.adjustments]
    assert told == (["mid_stream"] if policy == "continue" else [])
