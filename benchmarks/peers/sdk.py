"""The bare OpenAI SDK in the process that wants the answer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.contract import Effort, Measure, Round
from benchmarks.streams import Open, Sustained, cancel_figures, cancel_ms, chunks_per_s, load


@asynccontextmanager
async def client(url: str) -> AsyncIterator[Any]:
    """An SDK client that does not retry and may open as many connections as it needs."""
    import httpx2
    import openai

    http = httpx2.AsyncClient(
        limits=httpx2.Limits(max_connections=4_000, max_keepalive_connections=100),
        timeout=httpx2.Timeout(60.0),
        trust_env=False,
    )
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0, http_client=http) as sdk:
        yield sdk


async def texts(sdk: Any, model: str) -> AsyncGenerator[str, None]:
    """The texts of one answer's chunks."""
    messages = [{"role": "user", "content": "Count."}]
    async with await sdk.chat.completions.create(model=model, messages=messages, stream=True) as stream:
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content


@asynccontextmanager
async def stage(case: str) -> AsyncIterator[Measure]:
    async with load() as server, client(server.url) as sdk:
        opened: Open = lambda model: texts(sdk, model)  # noqa: E731
        sustained = Sustained(opened)

        async def measure(effort: Effort) -> Round:
            rate = await chunks_per_s(opened, effort.count(2_000, 200))
            streams = await sustained.find(effort)
            cancelled = await cancel_ms(opened, server, effort.count(100, 10))
            figures = {"chunks_per_s": rate, "streams_sustained": float(streams), **cancel_figures(cancelled)}
            return Round(figures, {"cancel_ms_p99": cancelled}, [await server.cpu_note()])

        yield measure
