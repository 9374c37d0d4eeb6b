"""A Ray streaming generator per stream: an actor reads with the SDK and yields each text to the driver."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from statistics import median
from typing import Any, Final

from benchmarks.contract import Effort, Measure, Round
from benchmarks.peers.ray_local import local_ray
from benchmarks.peers.sdk import client, texts
from benchmarks.streams import Sustained, cancel_figures, cancel_ms, chunks_per_s, load, ttft_ms

_CONCURRENCY: Final = 1_000


class Reader:
    """Reads model answers; an actor where Ray spawns it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stack = AsyncExitStack()
        self._sdk: Any = None

    async def stream(self, model: str) -> AsyncGenerator[str, None]:
        if self._sdk is None:
            self._sdk = await self._stack.enter_async_context(client(self._url))
        async with aclosing(texts(self._sdk, model)) as stream:
            async for text in stream:
                yield text


@asynccontextmanager
async def stage(case: str) -> AsyncIterator[Measure]:
    import ray

    with local_ray():
        async with load() as server, client(server.url) as sdk:
            reader = ray.remote(Reader).options(max_concurrency=_CONCURRENCY).remote(server.url)

            async def through_ray(model: str) -> AsyncGenerator[str, None]:
                references = reader.stream.options(num_returns="streaming").remote(model)
                try:
                    async for reference in references:
                        yield await reference
                except GeneratorExit:
                    ray.cancel(references)
                    raise

            async def bare(model: str) -> AsyncGenerator[str, None]:
                async for text in texts(sdk, model):
                    yield text

            sustained = Sustained(through_ray)

            async def measure(effort: Effort) -> Round:
                rate = await chunks_per_s(through_ray, effort.count(300, 50))
                streams = await sustained.find(effort)
                added = [
                    await ttft_ms(through_ray) - await ttft_ms(bare) for _ in range(effort.count(50, 10))
                ]
                cancelled = await cancel_ms(through_ray, server, effort.count(100, 10))
                figures = {
                    "chunks_per_s": rate,
                    "streams_sustained": float(streams),
                    "added_ttft_ms_p50": median(added),
                    **cancel_figures(cancelled),
                }
                samples = {"added_ttft_ms_p50": added, "cancel_ms_p99": cancelled}
                return Round(figures, samples, [await server.cpu_note()])

            yield measure
