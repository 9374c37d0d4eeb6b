"""Which traces are kept, decided when it is known what became of them. Pure.

A trace is kept for a span that failed, for one that took long or a whole that did, for a chosen session, or
because its id is among a share of all ids. As soon as there is a reason, all that has ended of the trace may
be passed on; until then it waits. A trace is settled once nothing of it runs and it has been quiet for a
moment; with a reason also once it has been quiet for long, whatever runs. What runs takes its time, so it may
become slow in silence, and nothing of it is given up as long as it can be held.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal, get_args

from llmgine.telemetry.context import RANDOM_BITS
from llmgine.telemetry.options import TelemetryOptions
from llmgine.telemetry.records import Span
from llmgine.telemetry.rollup import session_name

Reason = Literal["error", "slow", "session", "ratio"]
REASONS: tuple[Reason, ...] = get_args(Reason)  # the one that says the most first

_SETTLED_REMEMBERED = 10_000
_MAX_CHOSEN = 1000


@dataclass(frozen=True, slots=True)
class Settled:
    """A trace of which enough is known; `because` is empty where it is not kept."""

    trace_id: int
    because: Reason | Literal[""]
    released: tuple[Span, ...] = ()  # spans of it that waited and may be passed on by this


@dataclass(slots=True)
class _Open:
    changed: int
    start: int
    end: int = 0
    running: set[int] = field(default_factory=set)
    waiting: list[Span] = field(default_factory=list)
    reasons: set[Reason] = field(default_factory=set)


class TailSampler:
    """Takes every change of spans in; gives out which spans may go on, and what became of traces."""

    def __init__(self, options: TelemetryOptions | None = None) -> None:
        self._options = options or TelemetryOptions()
        self._threshold = round((1 - self._options.sample_ratio) * 2**RANDOM_BITS)
        self._settle = int(self._options.sample_settle * 1e9)
        self._grace = int(self._options.sample_grace * 1e9)
        self._open: OrderedDict[int, _Open] = OrderedDict()  # the longest quiet first
        self._settled: OrderedDict[int, frozenset[Reason]] = OrderedDict()
        self._chosen: dict[str, None] = dict.fromkeys(self._options.sample_sessions)
        self.kept = dict.fromkeys(REASONS, 0)
        self.dropped = 0
        self.dropped_spans = 0

    def choose(self, session: str) -> None:
        """Keep the traces of a session, or of those that a pattern with `*` meets, from now on.

        The last thousand choices hold.
        """
        self._chosen.pop(session, None)
        self._chosen[session] = None
        if len(self._chosen) > _MAX_CHOSEN:
            del self._chosen[next(iter(self._chosen))]

    def add(self, spans: Iterable[Span], now: int) -> list[Span]:
        """Spans have begun or ended; returns the ended ones that may be passed on by now."""
        released: list[Span] = []
        for span in spans:
            known = self._known(span, now)
            if span.end is None:
                known.running.add(span.span_id)
            else:
                known.running.discard(span.span_id)
                if len(known.waiting) < self._options.max_trace_spans:
                    known.waiting.append(span)
                else:
                    self.dropped_spans += 1
                known.end = max(known.end, span.end)
            self._judge(known, span)
            if known.reasons and known.waiting:
                released += known.waiting
                known.waiting.clear()
        return released

    def due(self, now: int) -> list[Settled]:
        """The traces that are settled by now; each is told again where more of it comes later."""
        due = []
        for trace_id, known in self._open.items():
            quiet = now - known.changed
            if quiet < self._settle:
                break
            if known.running:
                self._time(known, now)
            if not known.running or (quiet >= self._grace and known.reasons):
                due.append(trace_id)
        return [self._take(trace_id, now) for trace_id in due]

    def settle(self, trace_id: int, now: int) -> Settled | None:
        """Decide now, as the trace cannot be held any longer; None where it is settled already."""
        return self._take(trace_id, now) if trace_id in self._open else None

    def settle_all(self, now: int) -> list[Settled]:
        """Decide on everything that is open."""
        return [self._take(trace_id, now) for trace_id in list(self._open)]

    def because(self, trace_id: int) -> Reason | Literal[""]:
        """Why a trace is kept, as far as it is known."""
        known = self._open.get(trace_id)
        return _first(self._settled.get(trace_id, ()) if known is None else known.reasons)

    def counted(self) -> dict[str, int]:
        """How many traces were kept, by the reason that says the most, and what was not kept."""
        kept = {f"kept_{reason}": count for reason, count in self.kept.items()}
        return kept | {"dropped_traces": self.dropped, "dropped_spans": self.dropped_spans}

    def counters(self) -> dict[str, int]:
        """What was counted, and how many traces stand open."""
        return self.counted() | {
            "undecided_traces": sum(not known.reasons for known in self._open.values()),
            "unsettled_traces": len(self._open),
        }

    def open_traces(self) -> list[int]:
        """The traces that are not settled."""
        return list(self._open)

    def _known(self, span: Span, now: int) -> _Open:
        known = self._open.get(span.trace_id)
        if known is None:
            before = self._settled.get(span.trace_id, ())
            known = self._open[span.trace_id] = _Open(now, span.start, reasons=set(before))
        known.changed = now
        known.start = min(known.start, span.start)
        self._open.move_to_end(span.trace_id)
        return known

    def _judge(self, known: _Open, span: Span) -> None:
        if span.error is not None and self._options.sample_errors:
            known.reasons.add("error")
        self._time(known, known.end)
        if self._chosen and self._is_chosen(session_name(span)):
            known.reasons.add("session")
        if span.trace_id & (2**RANDOM_BITS - 1) >= self._threshold:
            known.reasons.add("ratio")

    def _time(self, known: _Open, end: int) -> None:
        slow = self._options.sample_slow
        if slow is not None and end - known.start >= slow * 1e9:
            known.reasons.add("slow")

    def _is_chosen(self, session: str) -> bool:
        return session in self._chosen or any(fnmatchcase(session, pattern) for pattern in self._chosen)

    def _take(self, trace_id: int, now: int) -> Settled:
        known = self._open.pop(trace_id)
        if known.running:
            self._time(known, now)
        because = _first(known.reasons)
        again = trace_id in self._settled
        if because:
            if not self._settled.get(trace_id):
                self.kept[because] += 1
                self.dropped -= again  # it had no reason before
        else:
            self.dropped += not again
            self.dropped_spans += len(known.waiting)
        self._settled[trace_id] = frozenset(known.reasons)
        self._settled.move_to_end(trace_id)
        if len(self._settled) > _SETTLED_REMEMBERED:
            self._settled.popitem(last=False)
        return Settled(trace_id, because, tuple(known.waiting) if because else ())


def _first(reasons: Iterable[Reason]) -> Reason | Literal[""]:
    found = set(reasons)
    return next((reason for reason in REASONS if reason in found), "")
