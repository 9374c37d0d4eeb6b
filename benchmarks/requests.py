"""How whole calls are measured: the same for ours and the peers, whatever stands between."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from statistics import median
from typing import Any, Final

from benchmarks.contract import Effort, Violation
from benchmarks.cpu import Spent
from benchmarks.figures import percentile
from benchmarks.streams import Load

CONCURRENT: Final = 32
MODEL: Final = "burst-4"
PROMPT: Final = "Count."

_ANSWER: Final = "0" * 64
_REQUESTS: Final = 3_000
_IN_TURNS: Final = 200

Ask = Callable[[], Awaitable[str | None]]
"""Asks a model once, for the whole text."""


@asynccontextmanager
async def bare(url: str) -> AsyncIterator[Ask]:
    """The SDK's own way, without retries and without what the environment says of proxies."""
    import openai

    http = openai.DefaultAsyncHttpxClient(trust_env=False)
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0, http_client=http) as sdk:
        messages: list[Any] = [{"role": "user", "content": PROMPT}]

        async def ask() -> str | None:
            answer = await sdk.chat.completions.create(model=MODEL, messages=messages)
            return answer.choices[0].message.content

        yield ask


async def throughput(asks: Sequence[Ask], server: Load, effort: Effort) -> dict[str, float]:
    """Requests a second and their CPU, all of these asking at once, each again when it has its answer."""
    count = effort.count(_REQUESTS, 200)
    numbers = iter(range(count))

    async def work(ask: Ask) -> None:
        for _ in numbers:
            _check(await ask())

    of_server = await server.cpu_s()
    spent, begun = Spent(), time.perf_counter()
    await asyncio.gather(*map(work, asks))
    seconds, cpu = time.perf_counter() - begun, spent.seconds()
    cpu -= await server.cpu_s() - of_server
    return {"requests_per_s": count / seconds, "cpu_ms_per_request": 1_000 * cpu / count}


async def added_ms(ask: Ask, without: Ask, effort: Effort) -> list[float]:
    """What lies between adds to each of some calls, in turns with calls without it, in milliseconds."""
    return [await _taken_ms(ask) - await _taken_ms(without) for _ in range(effort.count(_IN_TURNS, 20))]


def added_figures(samples: Sequence[float]) -> dict[str, float]:
    return {"added_ms_p50": median(samples), "added_ms_p99": percentile(samples, 99)}


async def _taken_ms(ask: Ask) -> float:
    begun = time.perf_counter()
    _check(await ask())
    return (time.perf_counter() - begun) * 1e3


def _check(answer: str | None) -> None:
    if answer != _ANSWER:
        raise Violation(f"an answer came out differently: {answer!r}")
