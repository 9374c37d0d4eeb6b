"""What spans look like between recording and showing: a tuple, a batch of them, an assembled span.

A record that ends a span is whole by itself, and so is one that starts it: whichever arrives, in
whichever order and however often, says all that was known when it was made.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgpack

from llmgine.telemetry.names import EXCEPTION_MESSAGE, SPAN_KINDS

BATCH_VERSION = 2


class SpanRecord(NamedTuple):
    """One span as it travels; `end` is 0 while the work runs, times are nanoseconds since 1970."""

    trace_id: bytes  # 16 bytes: msgpack's integers end at 64 bits
    span_id: int
    parent_id: int  # 0: the root of its trace
    name: str
    kind: int  # index into SPAN_KINDS
    session: str
    start: int
    end: int
    error: str | None  # a value for error.type
    attributes: dict[str, Any] | None
    links: tuple[tuple[bytes, int], ...] | None = None  # trace id and span id of each
    events: tuple[tuple[int, str, dict[str, Any] | None], ...] | None = None  # time, name, attributes


class SeriesRecord(NamedTuple):
    """One metric series of one source: its whole value since the source began, never a difference."""

    kind: str  # counter, gauge, histogram
    name: str
    labels: tuple[tuple[str, str], ...]
    value: Any  # a number; for histograms [sum, counts per bucket, bucket bounds]


class MalformedBatch(ValueError):
    """Bytes that are no batch of this version; nothing of them is used."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What one source recorded between two drains.

    Records are numbered from 0 by source and instance, `first` is the number of this batch's first
    one. Records that a full ring dropped take numbers too, so a gap is a loss; `lost` is their total
    so far. `number` counts batches from 1, for metrics, where the later value holds.
    """

    source: str
    instance: int  # drawn when the source began: a restarted process of the same name is another one
    number: int
    first: int
    lost: int
    spans: tuple[SpanRecord, ...] = ()
    metrics: tuple[SeriesRecord, ...] = ()

    @property
    def next(self) -> int:
        """The number that follows this batch's last record."""
        return self.first + len(self.spans)

    def pack(self) -> bytes:
        """The batch as msgpack."""
        head = (BATCH_VERSION, self.source, self.instance, self.number, self.first, self.lost)
        packed: bytes = msgpack.packb((*head, self.spans, self.metrics))
        return packed

    @classmethod
    def unpack(cls, wire: bytes) -> Batch:
        """The batch in these bytes; MalformedBatch where there is none."""
        try:
            version, source, instance, number, first, lost, spans, metrics = msgpack.unpackb(
                wire, use_list=False, strict_map_key=False
            )
        except (ValueError, TypeError, msgpack.UnpackException) as error:
            raise MalformedBatch(f"no batch of telemetry: {error}") from error
        if version != BATCH_VERSION:
            raise MalformedBatch(f"batch version {version}; this side reads {BATCH_VERSION}")
        if not isinstance(source, str) or not all(
            isinstance(value, int) and value >= 0 for value in (instance, number, first, lost)
        ):
            raise MalformedBatch("the head of a batch is a source and four counts")
        try:
            return cls(
                source,
                instance,
                number,
                first,
                lost,
                tuple([_span_record(record) for record in spans]),
                tuple([_series_record(series) for series in metrics]),
            )
        except (TypeError, ValueError) as error:
            raise MalformedBatch(f"a record of {source} is malformed: {error}") from error


# What msgpack gives is of these types exactly; one look at all of them is a third of the price.
_SPAN_TYPES = (bytes, int, int, str, int, str, int, int)
_TEXT_OR_NONE = frozenset({str, type(None)})
_MAP_OR_NONE = frozenset({dict, type(None)})
_NUMBERS = frozenset({int, float})


def _span_record(wire: tuple[Any, ...]) -> SpanRecord:
    record = SpanRecord(*wire)
    if not (
        tuple(map(type, wire[:8])) == _SPAN_TYPES
        and len(record.trace_id) == 16
        and not (record.start | record.end) >> 63  # neither below zero nor beyond what a database takes
        and 0 <= record.kind < len(SPAN_KINDS)
        and type(record.error) in _TEXT_OR_NONE
        and type(record.attributes) in _MAP_OR_NONE
        and (not record.links or all(_is_link(*link) for link in record.links))
        and (not record.events or all(_is_event(*event) for event in record.events))
    ):
        raise ValueError("fields of a span record")
    return record


def _is_link(trace_id: Any, span_id: Any) -> bool:
    return isinstance(trace_id, bytes) and len(trace_id) == 16 and isinstance(span_id, int)


def _is_event(time: Any, name: Any, attributes: Any) -> bool:
    in_time = isinstance(time, int) and not time >> 63
    return in_time and isinstance(name, str) and isinstance(attributes, dict | None)


def _series_record(wire: tuple[Any, ...]) -> SeriesRecord:
    record = SeriesRecord(*wire)
    if record.kind == "histogram":
        total, counts, bounds = record.value
        numbers = (total, *counts, *bounds)
    else:
        numbers = (record.value,)
    if not (
        record.kind in ("counter", "gauge", "histogram")
        and isinstance(record.name, str)
        and isinstance(record.labels, tuple)
        and all(isinstance(key, str) and isinstance(value, str) for key, value in record.labels)
        and _NUMBERS.issuperset(map(type, numbers))
    ):
        raise ValueError("fields of a metric series")
    return record


class SpanLink(NamedTuple):
    """Another span that this one has to do with, in whatever trace, and which is not its parent."""

    trace_id: int
    span_id: int


class SpanEvent(NamedTuple):
    """Something that happened at one moment within a span."""

    time: int
    name: str
    attributes: dict[str, Any] = {}  # noqa: RUF012 - never changed


@dataclass(frozen=True, slots=True)
class Span:
    """A span as it is kept, shown and exported; `end` is None while it runs."""

    trace_id: int
    span_id: int
    parent_id: int  # 0: the root of its trace
    name: str
    kind: str
    session: str
    source: str
    start: int
    end: int | None
    error: str | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    links: tuple[SpanLink, ...] = ()
    events: tuple[SpanEvent, ...] = ()

    @classmethod
    def from_record(cls, record: SpanRecord, source: str) -> Span:
        return cls(
            int.from_bytes(record.trace_id, "big"),
            record.span_id,
            record.parent_id,
            record.name,
            SPAN_KINDS[record.kind],
            record.session,
            source,
            record.start,
            record.end or None,
            record.error,
            record.attributes or {},
            tuple([SpanLink(int.from_bytes(trace, "big"), span) for trace, span in record.links or ()]),
            tuple([SpanEvent(time, name, given or {}) for time, name, given in record.events or ()]),
        )

    @property
    def message(self) -> str:
        """What its error says, for a span's status; empty where that is not known or may not be told."""
        text = self.attributes.get(EXCEPTION_MESSAGE, "")
        return text if self.error is not None and isinstance(text, str) else ""

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it runs."""
        return None if self.end is None else (self.end - self.start) / 1e9

    def to_wire(self) -> list[Any]:
        """Plain values that `from_wire` turns back into an equal span."""
        return [
            f"{self.trace_id:032x}",
            self.span_id,
            self.parent_id,
            self.name,
            self.kind,
            self.session,
            self.source,
            self.start,
            self.end,
            self.error,
            self.attributes,
            [[f"{link.trace_id:032x}", link.span_id] for link in self.links],
            [[event.time, event.name, event.attributes] for event in self.events],
        ]

    @classmethod
    def from_wire(cls, wire: list[Any] | tuple[Any, ...]) -> Span:
        trace_id, *rest, links, events = wire
        linked = tuple(SpanLink(int(trace, 16), span) for trace, span in links)
        return cls(int(trace_id, 16), *[*rest, linked, tuple(SpanEvent(*event) for event in events)])
