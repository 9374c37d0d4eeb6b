if __name__ != "llmgine.telemetry":
    raise ImportError(f"import llmgine.telemetry, not {__name__}")

from llmgine.telemetry.answers import (
    Change,
    CostRow,
    Latency,
    ModelStats,
    Page,
    SessionSummary,
    Stats,
    Tokens,
    TraceQuery,
    TraceSummary,
)
from llmgine.telemetry.assemble import Assembler, Cut, Trace
from llmgine.telemetry.context import TraceContext
from llmgine.telemetry.current import current_trace, span, traceparent
from llmgine.telemetry.metrics import Counter, Gauge, Histogram, MergedMetrics, Metrics, Series
from llmgine.telemetry.observer import Observer
from llmgine.telemetry.opening import open_exporters, open_recorder
from llmgine.telemetry.options import TelemetryOptions
from llmgine.telemetry.records import (
    Batch,
    MalformedBatch,
    SeriesRecord,
    Span,
    SpanEvent,
    SpanLink,
    SpanRecord,
)
from llmgine.telemetry.rollup import ModelUsage, Rollup, usage_of
from llmgine.telemetry.spans import OpenSpan, SpanRecorder, error_type
from llmgine.telemetry.waterfall import Row, session_waterfall, waterfall

__all__ = [
    "Assembler",
    "Batch",
    "Change",
    "CostRow",
    "Counter",
    "Cut",
    "Gauge",
    "Histogram",
    "Latency",
    "MalformedBatch",
    "MergedMetrics",
    "Metrics",
    "ModelStats",
    "ModelUsage",
    "Observer",
    "OpenSpan",
    "Page",
    "Rollup",
    "Row",
    "Series",
    "SeriesRecord",
    "SessionSummary",
    "Span",
    "SpanEvent",
    "SpanLink",
    "SpanRecord",
    "SpanRecorder",
    "Stats",
    "TelemetryOptions",
    "Tokens",
    "Trace",
    "TraceContext",
    "TraceQuery",
    "TraceSummary",
    "current_trace",
    "error_type",
    "open_exporters",
    "open_recorder",
    "session_waterfall",
    "span",
    "traceparent",
    "usage_of",
    "waterfall",
]
