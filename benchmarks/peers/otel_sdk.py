"""OpenTelemetry's own SDK on the hot path: a span with attributes into a batch processor."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from benchmarks.contract import Effort, Measure, Round
from benchmarks.spans import ATTRIBUTES, us_per_span


@asynccontextmanager
async def stage(case: str) -> AsyncIterator[Measure]:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.trace import SpanKind

    class Nowhere(SpanExporter):
        def export(self, spans: Sequence[Any]) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Nowhere(), max_queue_size=100_000))
    tracer = provider.get_tracer("benchmark")

    def record() -> None:
        with tracer.start_as_current_span("chat gpt-4o", kind=SpanKind.CLIENT, attributes=ATTRIBUTES):
            pass

    async def measure(effort: Effort) -> Round:
        return Round({"us_per_span": us_per_span(record, effort.count(50_000, 5_000))})

    yield measure
    provider.shutdown()
