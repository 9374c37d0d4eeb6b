"""How streams are measured: the same for ours and the peers, whatever carries the chunks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Final

from benchmarks.child import Child, started
from benchmarks.contract import Effort, Violation
from benchmarks.figures import percentile
from benchmarks.load import NS_PER_S
from benchmarks.sse_server import RATE

LATE_NS: Final = 100_000_000

_CONCURRENT: Final = 16
_FIRST_TRY: Final = 20
_MOST: Final = 2_000
_LONG: Final = 10_000  # chunks of a stream that is not to end by itself
_GROWTH: Final = 1.25
# Opening costs far more than a chunk does; faster, and the figure would be about that.
_OPENED_PER_S: Final = 50

Open = Callable[[str], AsyncGenerator[str, None]]
"""Asks a model for a stream and gives the texts of its chunks."""


class Load:
    """The server's process, whose CPU is told beside the figures."""

    def __init__(self, child: Child, url: str) -> None:
        self._child = child
        self.url = url
        self._before = {"cpu": 0.0, "wall": time.monotonic()}

    async def cpu_note(self) -> str:
        """What part of a core the load took since it was asked last."""
        now = await self._child.ask()
        share = (now["cpu"] - self._before["cpu"]) / (now["wall"] - self._before["wall"])
        self._before = now
        return f"the load server took about {round(share, 1):.0%} of a core"

    async def cpu_s(self) -> float:
        """The CPU time that it has used so far."""
        return float((await self._child.ask())["cpu"])

    async def broken_ns(self) -> int | None:
        """When it saw a connection close in the midst of an answer, by the clock of this machine."""
        at: int | None = (await self._child.ask(about="broken"))["at"]
        return at


@asynccontextmanager
async def load() -> AsyncIterator[Load]:
    async with started("benchmarks.sse_server:serve") as child:
        yield Load(child, (await child.hear())["url"])


async def chunks_per_s(open_stream: Open, count: int) -> float:
    """Some streams at once, as fast as they go; every chunk must arrive."""

    async def read() -> int:
        return sum([1 async for text in open_stream(f"burst-{count}") if text])

    begun = time.perf_counter()
    counts = await asyncio.gather(*(read() for _ in range(_CONCURRENT)))
    seconds = time.perf_counter() - begun
    if counts != [count] * _CONCURRENT:
        raise Violation(f"streams of {count} chunks arrived with {sorted(set(counts))}")
    return sum(counts) / seconds


class Sustained:
    """Finds how many paced streams go at once without a late chunk; a search begins where the last ended."""

    def __init__(self, open_stream: Open) -> None:
        self._open = open_stream
        self._at = _FIRST_TRY
        self._settled = False

    async def find(self, effort: Effort) -> int:
        """The largest number that held in one of two tries; the next is a quarter more, at first twice."""
        seconds = effort.seconds(2.0)
        held = 0
        while 1 <= self._at <= _MOST:
            if await self._holds(self._at, seconds) or await self._holds(self._at, seconds):
                held = self._at
                self._at = self._at * 2 if not self._settled else max(held + 1, round(held * _GROWTH))
            else:
                self._settled = True
                if held:
                    break
                self._at = int(self._at / _GROWTH)
        self._at = max(held, 1)
        return held

    async def _holds(self, streams: int, seconds: float) -> bool:
        """All of them run at once for so many seconds, opened one by one and ended together."""

        async def read(number: int) -> bool:
            expected = round(RATE * ((streams - number) / _OPENED_PER_S + seconds))
            await asyncio.sleep(number / _OPENED_PER_S)
            late, count = 0, 0
            async for text in self._open(f"paced-{expected}"):
                count += bool(text)
                late = max(late, time.monotonic_ns() - int(text, 16)) if text else late
            if count != expected:
                raise Violation(f"a stream of {expected} chunks arrived with {count}")
            return late <= LATE_NS

        return all(await asyncio.gather(*(read(number) for number in range(streams))))


async def cancel_ms(open_stream: Open, server: Load, count: int) -> list[float]:
    """From closing a running stream until the server sees its connection close, in milliseconds."""
    samples = []
    for _ in range(count):
        texts = open_stream(f"paced-{_LONG}")
        while not await anext(texts):
            pass
        begun = time.monotonic_ns()
        await texts.aclose()
        broken = await server.broken_ns()
        if broken is None:
            raise Violation("a stream was closed and its connection was not")
        samples.append((broken - begun) * 1_000 / NS_PER_S)
    return samples


def cancel_figures(samples: list[float]) -> dict[str, float]:
    return {"cancel_ms_p50": percentile(samples, 50), "cancel_ms_p99": percentile(samples, 99)}


async def ttft_ms(open_stream: Open) -> float:
    """From asking to the first text, in milliseconds."""
    begun = time.monotonic_ns()
    first = 0
    async with aclosing(open_stream("burst-4")) as texts:
        async for text in texts:
            if text and not first:
                first = time.monotonic_ns()
    if not first:
        raise Violation("a stream ended without a chunk")
    return (first - begun) * 1_000 / NS_PER_S
