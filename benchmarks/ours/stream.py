"""Streams through a runtime on Ray: provider actor to driver, and through a dedicated session."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from statistics import median
from typing import Any

from benchmarks.contract import Effort, Measure, Round
from benchmarks.peers.sdk import client, texts
from benchmarks.streams import (
    Load,
    Open,
    Sustained,
    cancel_figures,
    cancel_ms,
    chunks_per_s,
    load,
    ttft_ms,
)
from llmgine.actors.pools import PoolClient
from llmgine.providers import Failed, LLMRequest, Message
from llmgine.runtime import Runtime, Session, TextDelta, TurnError

_PROVIDER = "bench"


@asynccontextmanager
async def stage(case: str) -> AsyncIterator[Measure]:
    async with load() as server, client(server.url) as sdk, _runtime(server) as runtime:
        pool = _pool(runtime)

        async def through_pool(model: str) -> AsyncGenerator[str, None]:
            request = LLMRequest(model=f"{_PROVIDER}/{model}", messages=(Message.user("Count."),))
            async with aclosing(pool.stream(request)) as events:
                async for event in events:
                    if isinstance(event, Failed):
                        raise event.error
                    if isinstance(event, TextDelta):
                        yield event.text

        async def bare(model: str) -> AsyncGenerator[str, None]:
            async for text in texts(sdk, model):
                yield text

        sustained = Sustained(through_pool)

        async def measure(effort: Effort) -> Round:
            rate = await chunks_per_s(through_pool, effort.count(2_000, 200))
            streams = await sustained.find(effort)
            added = await _added_ttft(runtime, bare, effort.count(50, 10))
            cancelled = await cancel_ms(through_pool, server, effort.count(100, 10))
            figures = {
                "chunks_per_s": rate,
                "streams_sustained": float(streams),
                "dedicated_added_ttft_ms_p50": median(added),
                **cancel_figures(cancelled),
            }
            samples = {"dedicated_added_ttft_ms_p50": added, "cancel_ms_p99": cancelled}
            return Round(figures, samples, [await server.cpu_note()])

        yield measure


async def _added_ttft(runtime: Runtime, bare: Open, turns: int) -> list[float]:
    """What a session adds to each of some first chunks, against the bare SDK in turns with it."""
    async with runtime.session(model=f"{_PROVIDER}/burst-4") as session:
        opened: Open = lambda model: _through(session, model)  # noqa: E731
        await ttft_ms(opened)
        return [await ttft_ms(opened) - await ttft_ms(bare) for _ in range(turns)]


async def _through(session: Session, model: str) -> AsyncGenerator[str, None]:
    async for event in session.stream("Count.", model=f"{_PROVIDER}/{model}"):
        if isinstance(event, TurnError):
            raise event.error
        if isinstance(event, TextDelta):
            yield event.text


def _runtime(server: Load) -> Runtime:
    settings: dict[str, Any] = {
        "data_dir": "data",
        "providers": {
            "endpoints": {
                _PROVIDER: {"kind": "openai-compatible", "base_url": server.url, "max_connections": 4_000}
            }
        },
        "pools": {"by_provider": {_PROVIDER: {"max_in_flight": 4_000}}},
    }
    return Runtime.launch(settings, name="benchmark")


def _pool(runtime: Runtime) -> PoolClient:
    """The pools as a session's process calls them, in this process."""
    driver = runtime._open()
    return PoolClient(driver.control, driver.ground.peer, driver.settings.providers)
