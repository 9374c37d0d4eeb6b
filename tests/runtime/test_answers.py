"""Answers that are given again, and calls that are shared, as sessions and drivers see them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import pytest

from llmgine.runtime import (
    Done,
    ErrorKind,
    PoolChangeRefused,
    ProviderError,
    Runtime,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    tool,
)
from tests.providers.faults.server import FaultServer

KINDS = ["openai", "openai-compatible", "anthropic", "gemini"]
SHARED = {"cache": {"enabled": True}}


@pytest.fixture
async def server() -> AsyncIterator[FaultServer]:
    server = FaultServer()
    await server.start()
    yield server
    await server.stop()


def settings(server: FaultServer, monkeypatch: pytest.MonkeyPatch, **pools: Any) -> dict[str, Any]:
    """Each kind of provider at the server, under the name of its kind."""
    monkeypatch.setenv("FAULT_KEY", "k")
    url = f"{server.base_url}/v1"
    urls = {"anthropic": server.base_url, "gemini": server.base_url}
    endpoints = {
        kind: {"kind": kind, "base_url": urls.get(kind, url), "key_env": "FAULT_KEY"} for kind in KINDS
    }
    return {
        "telemetry": {"enabled": False},
        "sessions": {"warm": 0},
        "control": {"stop_grace": 1},
        "providers": {"endpoints": endpoints},
        "pools": {"default": pools},
    }


@pytest.fixture
async def runtime(
    clean_environ: Path, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Runtime]:
    """Every pool has two actors and gives answers again."""
    async with Runtime.in_process(settings(server, monkeypatch, size=2, **SHARED)) as opened:
        yield opened


async def streamed(runtime: Runtime, model: str, **fields: Any) -> list[StreamEvent]:
    async with aclosing(cast("Any", runtime.models.stream(model, "hi", **fields))) as events:
        return [event async for event in events]


def said(events: list[StreamEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def shape(events: list[StreamEvent]) -> list[type]:
    """Which events there are, deltas that follow each other as one."""
    kinds = [type(event) for event in events]
    pairs = zip(kinds, [None, *kinds], strict=False)
    return [kind for kind, before in pairs if kind is not before or kind not in (TextDelta, ThinkingDelta)]


@pytest.mark.parametrize("kind", KINDS)
async def test_equal_requests_reach_the_server_once(runtime: Runtime, server: FaultServer, kind: str) -> None:
    """At the same time or one after the other, whichever of the pool's actors would have taken them."""
    together = await asyncio.gather(*(streamed(runtime, f"{kind}/think") for _ in range(8)))
    later = await streamed(runtime, f"{kind}/think")
    assert len(server.calls) == 1
    answers = [events[-1].response for events in (*together, later) if isinstance(events[-1], Done)]
    assert {said(events) for events in (*together, later)} == {"Hello big world"}
    assert all(answer.message == answers[0].message for answer in answers)
    assert len(answers) == 9
    assert sum(not answer.cached for answer in answers) == 1
    (paid,) = [answer for answer in answers if not answer.cached]
    assert all(answer.saved == paid.usage for answer in answers if answer.cached)
    assert all(shape(events) == shape(later) for events in together)


async def test_the_server_sees_a_shared_call_go_when_the_last_reader_leaves(
    runtime: Runtime, server: FaultServer
) -> None:
    """Not while one is left."""
    model = "openai-compatible/stall"
    calls: list[Any] = [runtime.models.stream(model, "hi") for _ in range(3)]
    for call in calls:
        assert isinstance(await anext(call), TextDelta)
    (upstream,) = server.calls
    for call in calls[:2]:
        await call.aclose()
    await asyncio.sleep(0.05)
    assert not upstream.gone.is_set()
    await calls[2].aclose()
    async with asyncio.timeout(5):
        await upstream.gone.wait()
    assert len(server.calls) == 1


async def test_each_follows_a_shared_failure_by_its_own_policy(runtime: Runtime, server: FaultServer) -> None:
    """One has another model that takes over, one has not; what came of it is not kept."""
    failing = "openai-compatible/status.500"
    alone = asyncio.create_task(runtime.models.complete(failing, "hi", deadline=5))
    chain = runtime.models.complete([failing, "anthropic/fine"], "hi", deadline=5)
    assert (await chain).text == "Hello big world"
    with pytest.raises(ProviderError) as failed:
        await alone
    assert failed.value.kind is ErrorKind.SERVER
    before = len(server.calls)
    with pytest.raises(ProviderError):
        await runtime.models.complete(failing, "hi", deadline=1)
    assert len(server.calls) > before


async def test_a_request_has_the_last_word(
    clean_environ: Path, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may want an answer of its own where the pool gives answers again, and the other way round."""
    model = "openai-compatible/fine"
    async with Runtime.in_process(settings(server, monkeypatch)) as runtime:
        for wanted in (None, None, True, True, False):
            await runtime.models.complete(model, "hi", response_cache=wanted)
    assert len(server.calls) == 4
    async with Runtime.in_process(settings(server, monkeypatch, **SHARED)) as runtime:
        for wanted in (None, None, False):
            await runtime.models.complete(model, "hi", response_cache=wanted)
    assert len(server.calls) == 6


async def test_sessions_get_each_others_answers_and_say_when_not(
    runtime: Runtime, server: FaultServer
) -> None:
    """Who asks is no part of the question; a turn may want its own, and costs nothing where it does not."""
    replies = []
    for of_session, of_turn in ((None, {}), (None, {}), (None, {"response_cache": False}), (False, {})):
        async with runtime.session(model="anthropic/fine", response_cache=of_session) as session:
            replies.append(await session.ask("hi", **cast("Any", of_turn)))
    assert [reply.text for reply in replies] == ["Hello big world"] * 4
    assert [reply.usage.output_tokens for reply in replies] == [3, 0, 3, 3]
    assert replies[1].cost == 0
    assert len(server.calls) == 3


async def test_a_kept_tool_call_runs_the_tool_in_each_session(runtime: Runtime, server: FaultServer) -> None:
    """The model's words are given again; what a tool does is done each time."""
    ran = Counter[str]()

    @tool
    async def weather(city: str) -> str:
        """The weather in a city."""
        ran[city] += 1
        return "sunny"

    for _ in range(3):
        async with runtime.session(model="openai-compatible/tools", tools=[weather]) as session:
            reply = await session.ask("How is it?")
            assert reply.text == "It is sunny."
    assert sum(ran.values()) == 3
    assert len(server.calls) == 2


async def test_vectors_are_given_again(runtime: Runtime, server: FaultServer) -> None:
    """Of equal inputs in equal order."""
    first = await runtime.models.embed("openai/e", ["a", "b"])
    again = await runtime.models.embed("openai/e", ["a", "b"])
    turned = await runtime.models.embed("openai/e", ["b", "a"])
    assert (first.cached, again.cached, turned.cached) == (False, True, False)
    assert first.vectors == again.vectors
    assert len(server.calls) == 2


async def test_answers_outlive_the_runtime_in_its_store(
    clean_environ: Path, server: FaultServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Until they are cleared, which the next life keeps to as well."""
    asked = settings(server, monkeypatch, **SHARED) | {"store": {"url": f"sqlite:///{tmp_path / 'a.db'}"}}
    cached = []
    for life in range(3):
        async with Runtime.in_process(asked) as runtime:
            cached.append((await runtime.models.complete("gemini/fine", "hi")).cached)
            if life == 1:
                await runtime.pools["gemini"].clear_cache()
    assert cached == [False, True, False]
    assert len(server.calls) == 2


async def test_what_callers_read_at_the_launch_cannot_be_changed_later(runtime: Runtime) -> None:
    """How long answers are kept can."""
    pool = runtime.pools["openai"]
    with pytest.raises(PoolChangeRefused, match=r"cache\.enabled .* response_cache"):
        await pool.reconfigure(cache={"enabled": False})
    await pool.reconfigure(cache={"ttl": 5.0})
    assert (await pool.statistics()).changes["cache"]["ttl"] == 5.0
