"""Batches of many sources in, traces and sessions out.

The result does not depend on the order of batches or on repeats: a span's end wins over its start,
records are counted once by their numbers, and a gap in them is a loss. Spans of a source that is
gone are closed for it. Memory is bounded, and what had to be forgotten is counted.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from llmgine.telemetry import names
from llmgine.telemetry.metrics import MergedMetrics
from llmgine.telemetry.options import TelemetryOptions
from llmgine.telemetry.records import Batch, Span, SpanRecord
from llmgine.telemetry.rollup import Rollup, session_name
from llmgine.telemetry.sources import Source

_FOLDED_REMEMBERED = 4096
_TRACES_REMEMBERED = 10_000

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Held:
    spans: dict[int, Span] = field(default_factory=dict)
    owners: dict[int, int] = field(default_factory=dict)  # span to instance, while its own end is awaited
    sessions: dict[str, None] = field(default_factory=dict)
    over_limit: int = 0
    cuts: dict[int, Cut] = field(default_factory=dict)  # by instance


@dataclass(frozen=True, slots=True)
class Cut:
    """A process died while it worked for a trace: of what it did, this is the last that is known."""

    source: str
    instance: int
    last: int  # number of the last record that arrived; -1 for none


@dataclass(frozen=True, slots=True)
class Trace:
    """The spans of one trace, by start; `over_limit` more were not kept.

    It is incomplete where processes died meanwhile: `cuts` say which, and how far they are known.
    """

    trace_id: int
    spans: tuple[Span, ...]
    sessions: tuple[str, ...]
    over_limit: int = 0
    cuts: tuple[Cut, ...] = ()


class Assembler:
    """Joins records to spans, spans to traces, traces to sessions."""

    def __init__(self, options: TelemetryOptions | None = None) -> None:
        self._options = options or TelemetryOptions()
        self._sources: OrderedDict[int, Source] = OrderedDict()  # the longest silent first
        self._folded: OrderedDict[int, None] = OrderedDict()
        self._traces: OrderedDict[int, _Held] = OrderedDict()  # the longest quiet first
        self._sessions: dict[str, dict[int, None]] = {}
        self._forgotten: OrderedDict[int, frozenset[str]] = OrderedDict()  # sessions, counted
        self._spans = 0
        self._finished: list[Span] = []
        self._changed: list[Span] = []
        self._evicted: list[Trace] = []
        self._counts = dict.fromkeys(
            (
                "batches",
                "records",
                "lost",
                "reported_lost",
                "repeated",
                "late",
                "traces_evicted",
                "spans_evicted",
                "spans_over_limit",
                "passed_over",
                "refused",
                "closed_for_source",
                "sources_folded",
            ),
            0,
        )
        self.metrics = MergedMetrics()
        self.rollup = Rollup()

    # What arrives.

    def add(self, batch: Batch, now: int, *, paused: bool = False) -> list[Span]:
        """Take a batch; returns the spans that it ended. While paused only those end that run already."""
        self._counts["batches"] += 1
        if batch.instance in self._folded:
            self._counts["late"] += len(batch.spans)
            return []
        source = self._source(batch.source, batch.instance, now)
        source.reported = max(source.reported, batch.lost)
        new = 0
        for start, stop in source.sequence.add(batch.first, len(batch.spans)):
            new += stop - start
            for record in batch.spans[start - batch.first : stop - batch.first]:
                if paused and not self._runs(record):
                    self._counts["passed_over"] += 1
                else:
                    self._take(record, source)
        self._counts["records"] += new
        self._counts["repeated"] += len(batch.spans) - new
        self.metrics.update(batch.instance, batch.number, batch.metrics)
        self._bound()
        return self._take_finished()

    def here(self, source: str, instance: int, now: int, before: int = 0) -> None:
        """The source can be heard: if it was given up, its running spans run again.

        One that is new here has had so many records taken `before`, by another assembler.
        """
        if instance in self._folded:
            return
        is_new = instance not in self._sources
        known = self._source(source, instance, now)
        if is_new:
            known.before = before
        if known.gone is None:
            return
        known.gone = known.error = None
        self.metrics.back(instance)
        for trace_id, span_id in known.closed:
            held = self._traces[trace_id]
            self.rollup.take_back(held.spans[span_id])
            running = held.spans[span_id] = replace(held.spans[span_id], end=None, error=None)
            self._changed.append(running)
            held.cuts.pop(instance, None)
        known.running.update(known.closed)
        known.closed.clear()

    def gone(self, instance: int, now: int, error: str = names.ACTOR_DIED) -> list[Span]:
        """The source is no more: its running spans end now, with that error; returns them."""
        source = self._sources.get(instance)
        if source is not None:
            self._give_up(source, now, error)
        return self._take_finished()

    # What is asked.

    def trace(self, trace_id: int) -> Trace | None:
        held = self._traces.get(trace_id)
        return None if held is None else _whole(trace_id, held)

    def session(self, session: str) -> list[Trace]:
        """The traces in which a session took part, by start."""
        traces = [self.trace(trace_id) for trace_id in self._sessions.get(session, ())]
        return sorted((trace for trace in traces if trace), key=lambda trace: trace.spans[0].start)

    def traces(self) -> list[Trace]:
        """Every trace that is held, the one that changed last first."""
        return [_whole(trace_id, held) for trace_id, held in reversed(self._traces.items())]

    def sessions(self) -> list[str]:
        """The sessions that took part in any trace that is held."""
        return list(self._sessions)

    def traces_of(self, session: str) -> Collection[int]:
        """The ids of the traces in which a session took part."""
        return self._sessions.get(session, {}).keys()

    def take_rollup(self) -> Rollup:
        """What the spans came to that have ended since this was asked the last time."""
        rollup, self.rollup = self.rollup, Rollup()
        return rollup

    def take_evicted(self) -> list[Trace]:
        """The traces that had to be forgotten since this was asked the last time, as they were then."""
        evicted, self._evicted = self._evicted, []
        return evicted

    def running(self) -> Counter[str]:
        """How many spans run now, by session."""
        keys = (key for source in self._sources.values() for key in source.running)
        return Counter(session_name(self._traces[trace].spans[span]) for trace, span in keys)

    def take_changed(self) -> list[Span]:
        """The spans that have begun, ended or begun to run again since this was asked the last time."""
        changed, self._changed = self._changed, []
        return changed

    def counters(self) -> dict[str, int]:
        """What was received, lost and forgotten, and what is held now."""
        sources = self._sources.values()
        counts = dict(self._counts)
        counts["lost"] += sum(source.lost for source in sources)
        counts["reported_lost"] += sum(source.reported for source in sources)
        return counts | {
            "traces": len(self._traces),
            "spans": self._spans,
            "running": sum(len(source.running) for source in sources),
            "sessions": len(self._sessions),
            "sources": len(self._sources),
            "sources_gone": sum(source.gone is not None for source in sources),
        }

    def sources(self) -> list[dict[str, Any]]:
        """Each source with what arrived of it and what is missing; a loss is never silent."""
        return [
            {
                "source": source.name,
                "instance": source.instance,
                "received": source.sequence.received,
                "lost": source.lost,
                "running": len(source.running),
                "gone": source.gone,
            }
            for source in self._sources.values()
        ]

    # How it is kept.

    def _take(self, record: SpanRecord, source: Source) -> None:
        try:
            self._put(Span.from_record(record, source.name), source)
        except Exception:  # whatever one record holds, those around it are taken
            self._counts["refused"] += 1
            logger.exception("a record of %s cannot be taken", source.name)

    def _put(self, span: Span, source: Source) -> None:
        held = self._traces.get(span.trace_id)
        if held is None:
            held = self._traces[span.trace_id] = _Held()
        self._traces.move_to_end(span.trace_id)
        known = held.spans.get(span.span_id)
        if span.end is None:
            if known is None and self._store(held, span):
                held.owners[span.span_id] = source.instance
                source.running[span.trace_id, span.span_id] = None
                self._changed.append(span)
                if source.gone is not None:
                    self._close(held, span, source)
            return
        owner = self._sources.get(held.owners.pop(span.span_id, -1))
        if known is not None and owner is None:
            return  # it has ended already
        if owner is not None:
            owner.running.pop((span.trace_id, span.span_id), None)
            if owner.closed.pop((span.trace_id, span.span_id), 0) is None and known is not None:
                self.rollup.take_back(known)  # it was counted when it was closed for its process
        if known is not None:
            held.spans[span.span_id] = span
            self._index(held, span)
        else:
            self._store(held, span)
        self.rollup.add(span)
        self._finished.append(span)
        self._changed.append(span)

    def _runs(self, record: SpanRecord) -> bool:
        held = self._traces.get(int.from_bytes(record.trace_id, "big"))
        return held is not None and record.span_id in held.owners

    def _store(self, held: _Held, span: Span) -> bool:
        self._index(held, span)
        if len(held.spans) >= self._options.max_trace_spans:
            if span.end is not None:  # its begin may have come apart from it, and there is no room to note it
                held.over_limit += 1
                self._counts["spans_over_limit"] += 1
            return False
        held.spans[span.span_id] = span
        self._spans += 1
        return True

    def _index(self, held: _Held, span: Span) -> None:
        session = session_name(span)
        if session and session not in held.sessions:
            held.sessions[session] = None
            self._sessions.setdefault(session, {})[span.trace_id] = None
            if session not in self._forgotten.get(span.trace_id, ()):
                self.rollup.began(session, span.start)

    def _close(self, held: _Held, span: Span, source: Source) -> None:
        key = (span.trace_id, span.span_id)
        closed = replace(span, end=max(span.start, source.gone or 0), error=source.error)
        held.spans[span.span_id] = closed
        source.running.pop(key, None)
        source.closed[key] = None
        if source.error == names.ACTOR_DIED:
            held.cuts[source.instance] = Cut(source.name, source.instance, source.sequence.next - 1)
        self._counts["closed_for_source"] += 1
        self.rollup.add(closed)
        self._finished.append(closed)
        self._changed.append(closed)

    def _take_finished(self) -> list[Span]:
        finished, self._finished = self._finished, []
        return finished

    def _source(self, name: str, instance: int, now: int) -> Source:
        source = self._sources.get(instance)
        if source is None:
            source = self._sources[instance] = Source(name, instance)
        source.seen = now
        self._sources.move_to_end(instance)
        while len(self._sources) > self._options.max_sources:
            self._fold(now)
        return source

    def _give_up(self, source: Source, now: int, error: str) -> None:
        if source.gone is not None:
            return
        source.gone, source.error = now, error
        self.metrics.gone(source.instance)
        for trace_id, span_id in list(source.running):
            held = self._traces[trace_id]
            self._close(held, held.spans[span_id], source)

    def _fold(self, now: int) -> None:
        """Forget one source: a gone one, else the one that has been silent the longest."""
        candidates = (source for source in self._sources.values() if source.gone is not None)
        source = next(candidates, next(iter(self._sources.values())))
        self._give_up(source, now, names.ACTOR_DIED)
        for trace_id, span_id in source.closed:
            self._traces[trace_id].owners.pop(span_id, None)
        del self._sources[source.instance]
        self.metrics.fold(source.instance)
        self._counts["lost"] += source.lost
        self._counts["reported_lost"] += source.reported
        self._counts["sources_folded"] += 1
        self._folded[source.instance] = None
        if len(self._folded) > _FOLDED_REMEMBERED:
            self._folded.popitem(last=False)

    def _bound(self) -> None:
        options = self._options
        while len(self._traces) > options.max_traces or (
            self._spans > options.max_spans and len(self._traces) > 1
        ):
            trace_id, held = self._traces.popitem(last=False)
            self._evicted.append(_whole(trace_id, held))
            self._forget(trace_id, held)
            self._counts["traces_evicted"] += 1
            self._counts["spans_evicted"] += len(held.spans)
            self._spans -= len(held.spans)
            for span_id, instance in held.owners.items():
                source = self._sources[instance]
                source.running.pop((trace_id, span_id), None)
                source.closed.pop((trace_id, span_id), None)
            for session in held.sessions:
                traces = self._sessions[session]
                del traces[trace_id]
                if not traces:
                    del self._sessions[session]

    def _forget(self, trace_id: int, held: _Held) -> None:
        if held.sessions:
            known = self._forgotten.pop(trace_id, frozenset())
            self._forgotten[trace_id] = known.union(held.sessions)
            if len(self._forgotten) > _TRACES_REMEMBERED:
                self._forgotten.popitem(last=False)


def _whole(trace_id: int, held: _Held) -> Trace:
    return Trace(
        trace_id,
        _by_start(held.spans.values()),
        tuple(sorted(held.sessions)),
        held.over_limit,
        tuple(held.cuts.values()),
    )


def _by_start(spans: Iterable[Span]) -> tuple[Span, ...]:
    return tuple(sorted(spans, key=lambda span: (span.start, span.span_id)))
