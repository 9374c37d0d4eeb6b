"""Limits of keys, kept by real provider actors against a server that refuses what is beyond them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from llmgine.runtime import ErrorKind, LLMResponse, ProviderError, Runtime
from tests.providers.faults.limited import LimitedServer

Until = Callable[..., Any]


@pytest.fixture
async def server() -> AsyncIterator[LimitedServer]:
    server = LimitedServer()
    await server.start()
    yield server
    await server.stop()


def settings(server: LimitedServer, monkeypatch: pytest.MonkeyPatch, **limits: Any) -> dict[str, Any]:
    monkeypatch.setenv("LIMITED_KEY", "k")
    house = {"base_url": f"{server.base_url}/v1", "key_env": "LIMITED_KEY", "limits": limits}
    return {
        "telemetry": {"enabled": False},
        "sessions": {"warm": 0},
        "control": {"stop_grace": 1},
        "providers": {
            "endpoints": {"house": house},
            "prices": {"house/ok": {"input": 10_000, "output": 10_000}},
        },
        "pools": {"default": {"size": 2}},
    }


async def crowd(runtime: Runtime, calls: int, deadline: float) -> tuple[int, list[ProviderError]]:
    """How many of so many calls at once were answered, and what became of the others."""
    asked = (runtime.models.complete("house/ok", "hi", deadline=deadline) for _ in range(calls))
    ends = await asyncio.gather(*asked, return_exceptions=True)
    errors = [end for end in ends if isinstance(end, ProviderError)]
    answered = sum(isinstance(end, LLMResponse) for end in ends)
    assert answered + len(errors) == calls, ends
    return answered, errors


async def known(runtime: Runtime) -> bool:
    quota = (await runtime.pools["house"].statistics()).quota
    return "requests" in quota["limits"].get("default", {}).get("ok", {})


async def test_a_limit_of_the_settings_is_used_and_not_exceeded(
    clean_environ: Path, server: LimitedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it is used by the actors together, nothing is refused, and who waits in vain is told why."""
    server.limit = 12
    asked = settings(server, monkeypatch, requests_per_minute=12)
    async with Runtime.in_process(asked) as runtime:
        warm, _ = await crowd(runtime, 4, deadline=60)
        answered, errors = await crowd(runtime, 16, deadline=4)
        statistics = await runtime.pools["house"].statistics()
    assert warm + answered == 12
    assert server.refused == 0
    assert {error.kind for error in errors} <= {ErrorKind.RATE_LIMIT, ErrorKind.TIMEOUT}
    told = " ".join(str(error) for error in errors)
    assert "may use 12 requests a minute" in told
    assert "providers.endpoints.house.limits: requests_per_minute sets it" in told
    assert statistics.quota["limits"]["default"][""]["requests"]["limit"] == 12


async def test_a_limit_that_the_server_tells_of_is_learned(
    clean_environ: Path, server: LimitedServer, monkeypatch: pytest.MonkeyPatch, eventually: Until
) -> None:
    """What an answer told one actor holds for all of them."""
    server.limit, server.tells = 10, True
    async with Runtime.in_process(settings(server, monkeypatch)) as runtime:
        warm, _ = await crowd(runtime, 4, deadline=60)
        await eventually(lambda: known(runtime))
        answered, _ = await crowd(runtime, 30, deadline=4)
    assert warm + answered == 10
    assert server.refused == 0


async def test_calls_at_once_are_bounded_over_all_actors(
    clean_environ: Path, server: LimitedServer, monkeypatch: pytest.MonkeyPatch, eventually: Until
) -> None:
    """However many wait in whichever actor, no more than the limit are at the server."""
    server.go_on.clear()
    async with Runtime.in_process(settings(server, monkeypatch, concurrency=3, learn="off")) as runtime:
        calls = asyncio.create_task(crowd(runtime, 15, deadline=60))
        await eventually(lambda: server.inside == 3)
        server.go_on.set()
        assert await calls == (15, [])
    assert server.most == 3


async def test_what_a_day_has_cost_outlives_the_runtime(
    clean_environ: Path, server: LimitedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Dollars that were spent are spent after a restart too, and the error says when there are new ones."""
    asked = settings(server, monkeypatch, dollars_per_day=0.5, learn="off")
    asked["store"] = {"url": f"sqlite:///{tmp_path}/store.db"}
    async with Runtime.in_process(asked) as runtime:
        spent = 0
        while True:
            answered, errors = await crowd(runtime, 1, deadline=60)
            if errors:
                break
            spent += answered
    assert spent >= 1
    assert "dollars_per_day" in str(errors[0])
    assert (errors[0].retry_after or 0) > 1
    async with Runtime.in_process(asked) as runtime:
        assert (await crowd(runtime, 1, deadline=60))[0] == 0
    assert len(server.calls) == spent
