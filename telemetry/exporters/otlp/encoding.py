"""Spans in OpenTelemetry's own form, by its own classes and encoder.

Ids, times in nanoseconds, kinds, links and events are exactly those that were recorded.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Final

from llmgine.telemetry import names
from llmgine.telemetry.records import Span, SpanEvent, SpanLink

if TYPE_CHECKING:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.trace import Link, SpanContext, Status

SCHEMA_URL: Final = f"https://opentelemetry.io/schemas/{names.SEMANTIC_CONVENTIONS}"
SCOPE: Final = "llmgine"
_INT64: Final = range(-(2**63), 2**63)
_SOURCES: Final = 256


class Encoder:
    """Makes requests of spans; each source is a service instance of its own."""

    def __init__(self, runtime: str = "", resource: Mapping[str, str] | None = None) -> None:
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        self._runtime = runtime
        self._given = dict(resource or {})
        self._scope = InstrumentationScope(SCOPE, package_version(), SCHEMA_URL)
        self._resource_of = functools.lru_cache(_SOURCES)(self._resource)

    def request(self, spans: Sequence[Span]) -> ExportTraceServiceRequest:
        """What one request to a receiver says."""
        from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

        return encode_spans([self.readable(span) for span in spans])

    def readable(self, span: Span) -> ReadableSpan:
        """The span as the SDK would have recorded it."""
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanKind

        return ReadableSpan(
            span.name,
            _context(span.trace_id, span.span_id),
            _context(span.trace_id, span.parent_id) if span.parent_id else None,
            self._resource_of(span.source),
            _attributes(span),
            [_event(event) for event in span.events],
            [_link(link) for link in span.links],
            kind=SpanKind[span.kind.upper()],
            status=_status(span),
            start_time=span.start,
            end_time=span.end if span.end is not None else span.start,
            instrumentation_scope=self._scope,
        )

    def _resource(self, source: str) -> Resource:
        from opentelemetry.sdk.resources import Resource

        instance = f"{self._runtime}/{source}" if self._runtime else source
        own = {
            "service.version": package_version(),
            "service.instance.id": instance,
            names.LLMGINE_SOURCE: source,
            **({names.LLMGINE_RUNTIME: self._runtime} if self._runtime else {}),
            **self._given,
        }
        found = Resource.create(own, SCHEMA_URL)  # OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME included
        if str(found.attributes.get("service.name", "")).startswith("unknown_service"):
            found = found.merge(Resource({"service.name": SCOPE}))
        return found


@functools.cache
def package_version() -> str:
    try:
        return version("llmgine-ray")
    except PackageNotFoundError:
        return ""


def _context(trace_id: int, span_id: int) -> SpanContext:
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _status(span: Span) -> Status:
    from opentelemetry.trace import Status, StatusCode

    if span.error is None:
        return Status(StatusCode.UNSET)
    return Status(StatusCode.ERROR, span.message or span.error)


def _event(event: SpanEvent) -> Event:
    from opentelemetry.sdk.trace import Event

    return Event(event.name, plain_attributes(event.attributes), event.time)


def _link(link: SpanLink) -> Link:
    from opentelemetry.trace import Link

    return Link(_context(link.trace_id, link.span_id))


def _attributes(span: Span) -> dict[str, Any]:
    found = plain_attributes(span.attributes)
    if span.session:
        found.setdefault(names.SESSION_ID, span.session)
    if names.GEN_AI_OPERATION_NAME not in found:  # Phoenix shows what it cannot tell the kind of as unknown
        found.setdefault(names.OPENINFERENCE_SPAN_KIND, "CHAIN")
    if span.error is not None:
        found.setdefault(names.ERROR_TYPE, span.error)
    return found


def plain_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes without what the protocol has no value for."""
    return {key: _value(value) for key, value in attributes.items() if value is not None}


def _value(value: Any) -> Any:
    if isinstance(value, int) and value not in _INT64:
        return str(value)
    if isinstance(value, list | tuple):
        return [_value(item) for item in value if item is not None]
    if isinstance(value, dict):
        return plain_attributes(value)
    return value
