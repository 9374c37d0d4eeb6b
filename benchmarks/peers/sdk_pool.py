"""Whole calls of the bare OpenAI SDK in the process that wants the answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchmarks.contract import Effort, Measure, Round
from benchmarks.requests import CONCURRENT, bare, throughput
from benchmarks.streams import load


@asynccontextmanager
async def stage(case: str) -> AsyncIterator[Measure]:
    async with load() as server, bare(server.url) as sdk:

        async def measure(effort: Effort) -> Round:
            figures = await throughput([sdk] * CONCURRENT, server, effort)
            return Round(figures, notes=[await server.cpu_note()])

        yield measure
