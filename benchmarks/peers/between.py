"""A peer that stands between who asks and the server, measured against the bare SDK."""

from __future__ import annotations

from benchmarks.contract import Effort, Measure, Round
from benchmarks.requests import CONCURRENT, Ask, added_figures, added_ms, throughput
from benchmarks.streams import Load


def measured(ask: Ask, without: Ask, server: Load) -> Measure:
    async def measure(effort: Effort) -> Round:
        added = await added_ms(ask, without, effort)
        figures = {**await throughput([ask] * CONCURRENT, server, effort), **added_figures(added)}
        return Round(figures, {"added_ms_p50": added}, [await server.cpu_note()])

    return measure
