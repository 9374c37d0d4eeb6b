"""Spans and metrics of one process, recorded for a microsecond and drained in batches.

Recording never waits, never raises for what it is given, and never grows: records stand in a ring,
and when it is full the oldest goes and is counted. What it costs to make records plain, small and
clean is paid in `drain`, off the recorded work.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

from llmgine.telemetry.context import SAMPLED, TraceContext, random_bits
from llmgine.telemetry.metrics import Metrics
from llmgine.telemetry.names import (
    CANCELLED,
    CONTENT_ATTRIBUTES,
    EXCEPTION_MESSAGE,
    METRIC_REDACTION_FAILED,
    METRIC_SPANS_LOST,
    METRIC_SPANS_STRIPPED,
    SPAN_KINDS,
    SpanKind,
)
from llmgine.telemetry.records import Batch, SpanRecord
from llmgine.telemetry.redact import (
    Mask,
    RedactionHook,
    as_json,
    is_content,
    mask_secrets,
    masking_also,
    plain,
    plain_mapping,
    without_content,
)

_KINDS = {kind: index for index, kind in enumerate(SPAN_KINDS)}
_BITS64, _BITS128 = 2**64 - 1, 2**128 - 1
_SHORT = 256  # characters of a name, a session id, an error
MAX_EVENTS = 128  # of one span; what comes later is not kept
MAX_LINKS = 128


class OpenSpan:
    """Work that has begun. `end` closes it once; leaving a `with` block does so too.

    It stands in the ring itself. `taken` says that the ring has let go of it, so that its end must
    enter anew; `taken` is set before `ended` is looked at, and `ended` before `taken`, so whichever
    thread comes first, the end is shipped.
    """

    __slots__ = (
        "_recorder",
        "attributes",
        "ended",
        "error",
        "events",
        "finish",
        "flags",
        "kind",
        "links",
        "mask",
        "name",
        "parent_id",
        "session",
        "span_id",
        "start",
        "taken",
        "trace_id",
    )

    # One flat constructor: it is half of what a span costs.
    def __init__(
        self,
        recorder: SpanRecorder,
        name: str,
        kind: int,
        trace_id: int,
        parent_id: int,
        flags: int,
        session: str,
        attributes: dict[str, Any] | None,
        span_id: int,
        start: int,
        mask: Mask | None = None,
    ) -> None:
        self._recorder = recorder
        self.name = name
        self.kind = kind
        self.trace_id = trace_id
        self.parent_id = parent_id
        self.flags = flags
        self.session = session
        self.attributes = attributes
        self.span_id = span_id
        self.start = start
        self.mask = mask
        self.finish = 0
        self.error: str | None = None
        self.links: list[TraceContext] | None = None
        self.events: list[tuple[int, str, dict[str, Any] | None]] | None = None
        self.ended = self.taken = False

    @property
    def recorder(self) -> SpanRecorder:
        """What takes this span, and those below it in this process."""
        return self._recorder

    @property
    def context(self) -> TraceContext:
        """What children of this span take as their parent, in this process or another."""
        return TraceContext(self.trace_id, self.span_id, self.flags)

    def set(self, attributes: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """Add or replace attributes; after the end it changes nothing."""
        if self.ended:
            return
        added = {**attributes, **named} if attributes else named
        self.attributes = {**self.attributes, **added} if self.attributes else added

    def event(self, name: str, attributes: Mapping[str, Any] | None = None, /, **named: Any) -> None:
        """Something happens now, within this span; after the end nothing does."""
        if self.ended:
            return
        events = self.events = self.events or []
        if len(events) < MAX_EVENTS:
            events.append((self._recorder.clock(), name, {**(attributes or {}), **named} or None))

    def link(self, other: TraceContext | str) -> None:
        """This span has to do with another one, which is not its parent.

        A `traceparent` that cannot be read links to nothing, as W3C asks.
        """
        found = TraceContext.parse(other) if isinstance(other, str) else other
        if found is not None and not self.ended:
            self.links = [*(self.links or ()), found][:MAX_LINKS]

    def end(
        self,
        *,
        error: str | None = None,
        message: str = "",
        attributes: dict[str, Any] | None = None,
    ) -> None:
        """The work is over; `error` is a short kind for `error.type`. Only the first call counts.

        `message` is what the error says. It may quote anything, so it is content.
        """
        if self.ended:
            return
        recorder = self._recorder
        if message and recorder.content:
            attributes = {**(attributes or {}), EXCEPTION_MESSAGE: message}
        self.finish = recorder.clock()
        self.error = error
        if attributes:
            own = self.attributes
            self.attributes = {**own, **attributes} if own else attributes
        # Content that will not be shipped is not held in the ring either.
        if self.attributes and not recorder.content and not CONTENT_ATTRIBUTES.isdisjoint(self.attributes):
            self.attributes = without_content(self.attributes)
        self.ended = True
        if self.taken:
            recorder.put(self)

    def __enter__(self) -> OpenSpan:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.end()
        else:
            self.end(error=error_type(error), message=error_text(error) if self._recorder.content else "")


def error_type(error: BaseException) -> str:
    """The value of `error.type` for an error: its own `error_type` where it has one, else its class.

    Its text is not told, it may hold content.
    """
    try:
        own = getattr(error, "error_type", None)
    except Exception:  # its own class may fail at that
        own = None
    if isinstance(own, str):
        return own
    name = type(error).__name__
    return CANCELLED if name in ("CancelledError", "GeneratorExit") else name


def error_text(error: BaseException) -> str:
    """What an exception says; its own class may fail at that."""
    try:
        return str(error)
    except Exception as failed:
        return f"[{type(error).__name__} without text: {type(failed).__name__}]"


class SpanRecorder:
    """Everything that one process records, until it is drained.

    `content` says whether attributes that hold content are kept; ask it before making such text.
    `redact` sees each record's attributes in this process, after masking, and returns what may leave;
    where it fails, the record leaves without attributes, and that is counted.
    Spans may start and end in any thread; `drain` is for one caller at a time.
    """

    def __init__(
        self,
        source: str,
        capacity: int = 8192,
        clock: Callable[[], int] = time.time_ns,
        *,
        content: bool = False,
        redact: RedactionHook | None = None,
        max_value: int = 4096,
        max_content: int = 65_536,
        bits: Callable[[int], int] = random_bits,
    ) -> None:
        self.source = source
        self.instance = bits(63)
        self.capacity = capacity
        self.clock = clock
        self.content = content
        self.metrics = Metrics()
        self.ring: deque[OpenSpan] = deque()
        self.threshold = capacity + 1
        self.lost = 0
        self._redact = redact
        self._max_value = max_value
        self._max_content = max_content
        self._bits = bits
        self._next = 0  # number of the next record, losses included
        self._told_lost = 0
        self._batches = 0
        self._overflow = threading.Lock()
        self._notify: Callable[[], None] | None = None
        self._mark = capacity + 1

    def start(
        self,
        name: str,
        *,
        kind: SpanKind = "internal",
        parent: TraceContext | None = None,
        session: str = "",
        attributes: dict[str, Any] | None = None,
        mask: Mask | None = None,
    ) -> OpenSpan:
        """Work begins: under `parent`, or as the root of a new trace.

        `mask` takes out of each text of the span what is known to be secret where it is recorded.
        """
        bits = self._bits
        if parent is None:
            trace_id, parent_id, flags = bits(128) or 1, 0, SAMPLED
        else:
            trace_id, parent_id, flags = parent
        span = OpenSpan(
            self,
            name,
            _KINDS.get(kind, 0),
            trace_id,
            parent_id,
            flags,
            session,
            attributes,
            bits(64) or 1,
            self.clock(),
            mask,
        )
        ring = self.ring
        ring.append(span)
        if len(ring) >= self.threshold:
            self._crossed()
        return span

    def put(self, span: OpenSpan) -> None:
        """Take a span in once more: it has ended after its start was drained."""
        self.ring.append(span)
        if len(self.ring) >= self.threshold:
            self._crossed()

    def adopt(self, batch: Batch) -> None:
        """Take in what another process has recorded for this one, whose records then are this one's own.

        Its figures are added to this one's, so they are to come once, in its last batch.
        """
        for record in batch.spans:
            span = OpenSpan(
                self,
                record.name,
                record.kind,
                int.from_bytes(record.trace_id, "big"),
                record.parent_id,
                SAMPLED,
                record.session,
                record.attributes,
                record.span_id,
                record.start,
            )
            span.links = [
                TraceContext(int.from_bytes(trace, "big"), other) for trace, other in record.links or ()
            ]
            span.events = list(record.events or ())
            span.finish, span.error, span.ended = record.end, record.error, bool(record.end)
            self.put(span)
        for series in batch.metrics:
            if series.name == METRIC_SPANS_LOST:
                with self._overflow:
                    self.lost += int(series.value)
                continue
            with contextlib.suppress(ValueError):  # it does not fit what is counted here
                self.metrics.take_in(series)

    def count(self, name: str, value: float = 1, **labels: str) -> None:
        """Add to a counter. Where it is hot, keep `metrics.counter(…)` and call its `add`."""
        self.metrics.counter(name, **labels).add(value)

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self.metrics.gauge(name, **labels).set(value)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Put a value into a histogram."""
        self.metrics.histogram(name, **labels).observe(value)

    @property
    def pending(self) -> int:
        """How many records wait to be drained."""
        return len(self.ring)

    def notify_at(self, count: int, notify: Callable[[], None]) -> None:
        """Call `notify`, in the recording thread, once each time that `count` records have gathered."""
        self._notify, self._mark = notify, min(count, self.capacity)
        self.threshold = self._mark

    def _crossed(self) -> None:
        """The ring has reached the mark, or is full."""
        if len(self.ring) > self.capacity:
            # Suppressed: another thread may have drained the ring meanwhile.
            with self._overflow, contextlib.suppress(IndexError):
                while len(self.ring) > self.capacity:
                    self.ring.popleft().taken = True
                    self.lost += 1
        elif self._notify is not None and self.threshold != self.capacity + 1:
            self.threshold = self.capacity + 1
            self._notify()

    def drain(self, limit: int = 1024, *, metrics: bool = True) -> Batch | None:
        """Take up to `limit` records and, with `metrics`, each that changed; None without anything to say.

        What cannot be read of a span is left out of its record, and that is counted.
        """
        records: list[SpanRecord] = []
        pop = self.ring.popleft
        while len(records) < limit:
            try:
                span = pop()
            except IndexError:
                break
            span.taken = True
            records.append(self._record(span))
        self.threshold = self._mark
        lost = self.lost
        if lost != self._told_lost:
            self.metrics.counter(METRIC_SPANS_LOST).add(lost - self._told_lost)
        changed = self.metrics.changed() if metrics else ()
        if not records and not changed and lost == self._told_lost:
            return None
        first = self._next + lost - self._told_lost
        self._told_lost = lost
        self._next = first + len(records)
        self._batches += 1
        return Batch(self.source, self.instance, self._batches, first, lost, tuple(records), changed)

    def _record(self, span: OpenSpan) -> SpanRecord:
        name, session, attributes = span.name, span.session, span.attributes
        ended = span.ended
        mask = mask_secrets if span.mask is None else masking_also(span.mask)
        told: dict[str, Any] | None = None
        links = events = None
        try:
            told = self._clean(name, attributes, mask) if attributes else None
            links = None if span.links is None else tuple([_link(other) for other in span.links])
            events = (
                None if span.events is None else tuple([self._event(mask, *event) for event in span.events])
            )
        except Exception:  # values of the user's own classes may do anything when they are read
            self.metrics.counter(METRIC_SPANS_STRIPPED).add()
        return SpanRecord(
            (span.trace_id & _BITS128).to_bytes(16, "big"),
            span.span_id,
            span.parent_id & _BITS64,
            _short(name, mask),
            span.kind,
            _short(session),
            span.start,
            max(span.start, span.finish) if ended else 0,  # the clock may have been set back
            _short(span.error, mask) if ended and span.error is not None else None,
            told,
            links,
            events,
        )

    def _event(
        self, mask: Mask, time: int, name: str, attributes: dict[str, Any] | None
    ) -> tuple[int, str, dict[str, Any] | None]:
        return time, _short(name, mask), self._clean(name, attributes, mask) if attributes else None

    def _clean(self, name: str, attributes: dict[str, Any], mask: Mask) -> dict[str, Any] | None:
        clean = plain_mapping(attributes, self._max_value, mask=mask)
        if not self.content and any(map(is_content, clean)):
            clean = without_content(clean)
        if self._redact is not None:
            try:
                clean = plain_mapping(self._redact(name, clean), self._max_value)
            except Exception:  # the user's hook: what it did not pass must not leave
                self.metrics.counter(METRIC_REDACTION_FAILED).add()
                return None
        return as_json(clean, self._max_content) if self.content else clean


def _link(other: TraceContext) -> tuple[bytes, int]:
    return (other.trace_id & _BITS128).to_bytes(16, "big"), other.span_id & _BITS64


def _short(text: str, mask: Mask = mask_secrets) -> str:
    if type(text) is str and len(text) <= _SHORT and text.isascii():
        return mask(text)
    return str(plain(text, _SHORT, mask=mask))
