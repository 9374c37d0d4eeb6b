"""Limits, keys and kept answers hold for all processes of a pool together, and streams outlive one of them.

`make faults` kills them under streams at its whole size.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from llmgine.runtime import ErrorKind, LLMResponse, Overloaded, ProviderError, Runtime
from tests.cluster.conftest import new_name
from tests.faults import streams
from tests.providers.faults.counting import CountingServer
from tests.providers.faults.limited import LimitedServer

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]

LIMIT = 12
VAULT = "tests.actors.pools.serving.vault:key"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server() -> AsyncIterator[LimitedServer]:
    server = LimitedServer()
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def counting() -> AsyncIterator[CountingServer]:
    server = CountingServer()
    await server.start()
    yield server
    await server.stop()


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def runtime(
    ray_cluster: str,
    server: LimitedServer,
    counting: CountingServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Runtime]:
    """Three pools before one server: with a limit, with answers that are kept, and with one place; and one
    of two processes before another."""
    url = f"{server.base_url}/v1"
    streamed = streams.settings(counting, 2)
    vault = [{"name": "team", "function": VAULT}]
    limited = [{**vault[0], "limits": {"requests_per_minute": LIMIT}}]
    settings: dict[str, Any] = {
        "data_dir": tmp_path_factory.mktemp("data"),
        "sessions": {"warm": 0},
        "providers": {
            "endpoints": {
                "limited": {"base_url": url, "keys": limited},
                "kept": {"base_url": url, "keys": vault},
                "narrow": {"base_url": url, "keys": vault},
                **streamed["providers"]["endpoints"],
            }
        },
        "pools": {
            "default": {"num_cpus": 0.01},
            "by_provider": {
                "limited": {"size": 2},
                "kept": {"size": 2, "cache": {"enabled": True}},
                "narrow": {"max_in_flight": 1, "admission": {"waiting": 1}},
                **streamed["pools"]["by_provider"],
            },
        },
    }
    async with Runtime.launch(settings, name=new_name()) as opened:
        yield opened


async def test_processes_share_the_limit_of_a_key(runtime: Runtime, server: LimitedServer) -> None:
    """All of it is used, and the server has nothing to refuse."""
    await runtime.pools["limited"].scale(2)
    server.calls.clear()
    server.limit = LIMIT
    asked = (runtime.models.complete("limited/ok", "hi", deadline=4) for _ in range(LIMIT + 8))
    ends = await asyncio.gather(*asked, return_exceptions=True)
    actors = {end.attempts[-1].actor for end in ends if isinstance(end, LLMResponse)}
    assert sum(isinstance(end, LLMResponse) for end in ends) == LIMIT, ends
    assert len(actors) == 2
    assert server.refused == 0
    refused = [end for end in ends if not isinstance(end, LLMResponse)]
    assert all("requests a minute" in str(end) for end in refused if isinstance(end, ProviderError))
    assert {type(end) for end in refused} <= {ProviderError, Overloaded}


async def test_a_function_gives_the_key_inside_the_provider_actor(
    runtime: Runtime, server: LimitedServer
) -> None:
    """The server gets it, and neither the answer nor what is told of the pool holds it."""
    server.calls.clear()
    server.limit = 1_000
    answer = await runtime.models.complete("narrow/ok", "hi")
    assert server.calls[-1].headers["authorization"] == "Bearer sk-of-the-vault-team"
    assert answer.attempts[-1].key == "team"
    told = (answer, await runtime.pools["narrow"].statistics(), await runtime.status())
    assert "sk-of-the-vault" not in repr(told)


async def test_an_answer_is_kept_for_all_processes(runtime: Runtime, server: LimitedServer) -> None:
    """What a session was answered, a driver gets again without a call, whichever actor serves it."""
    server.calls.clear()
    server.limit = 1_000
    asked = [runtime.models.complete("kept/ok", "What is a pool?") for _ in range(6)]
    answers = await asyncio.gather(*asked)
    later = await runtime.models.complete("kept/ok", "What is a pool?")
    assert later.cached
    assert {answer.text for answer in answers} == {later.text}
    assert len(server.calls) <= 2  # one for each process where both began at once


async def test_what_finds_no_place_is_refused_with_a_time(runtime: Runtime, server: LimitedServer) -> None:
    """One call runs, one waits, and the next is told when to come again; none of the others is lost."""
    await runtime.pools["narrow"].scale(1)
    server.limit = 1_000
    server.go_on.clear()
    asked = [asyncio.create_task(runtime.models.complete("narrow/ok", "hi", deadline=30)) for _ in range(4)]
    done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    server.go_on.set()
    error = done.pop().exception()
    assert isinstance(error, ProviderError)
    assert error.kind is ErrorKind.OVERLOADED
    assert error.retry_after is not None
    ends = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(end, LLMResponse) for end in ends) >= 2


async def test_streams_outlive_their_actors(runtime: Runtime, counting: CountingServer) -> None:
    """One of two processes is killed: its streams end by policy, those of the other byte for byte."""
    await streams.provider_actors_killed(counting, runtime, streams=24, kills=1)
