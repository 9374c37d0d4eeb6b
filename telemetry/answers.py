"""What is told of traces, sessions and costs: shapes that travel as plain values. Pure.

Times are nanoseconds since 1970, durations seconds, costs exact US dollars. A cost is None where no call
was priced; `unpriced` counts the calls whose price is not known, which a cost leaves out.
`to_wire` and `from_wire` are each other's inverse; `to_json` tells times as ISO 8601 and costs as text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Generic, Literal, Self, TypeVar

from llmgine.telemetry.records import Span

CostBy = Literal["session", "model", "provider"]
ExportFormat = Literal["otlp-json", "jsonl"]

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class _Told:
    """Plain values of a dataclass, both ways."""

    __slots__: tuple[str, ...] = ()

    def to_wire(self) -> dict[str, Any]:
        """Plain values that `from_wire` turns back into an equal one."""
        return {name: _plain(getattr(self, name)) for name in self.__slots__}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        return cls(**wire)

    def to_json(self) -> dict[str, Any]:
        """Plain values, times as ISO 8601 and costs as text."""
        wire = self.to_wire()
        return wire | {name: iso(wire[name]) for name in ("start", "end", "started", "last") if name in wire}


@dataclass(frozen=True, slots=True)
class Tokens(_Told):
    """Tokens of model calls; `input` includes the cached ones, `output` those of reasoning."""

    input: int = 0
    output: int = 0
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Latency(_Told):
    """How `count` values were spread; the percentiles are None where there is none."""

    count: int = 0
    sum: float = 0.0
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True)
class TraceQuery(_Told):
    """Which traces are asked for: those that meet all that is given.

    `error` True are those with a span that failed, `model` is a model's name or a part of it, `text` stands
    in the name of a span or in an attribute's value, whatever its case; `since` and `until` bound the start.
    """

    session: str | None = None
    error: bool | None = None
    min_seconds: float | None = None
    model: str | None = None
    text: str | None = None
    since: int | None = None
    until: int | None = None


@dataclass(frozen=True, slots=True)
class TraceSummary(_Told):
    """A trace in one line.

    `end` and `seconds` are None while something in it runs. `incomplete` says that a process died over
    it or that more spans came than are kept. `kept_because` is why it stays: "error", "slow", "session" or
    "ratio"; it is empty while that is not decided, and the trace in memory only.
    """

    id: str
    name: str
    session: str
    start: int
    end: int | None
    seconds: float | None
    spans: int
    errors: int
    running: int
    incomplete: bool
    tokens: Tokens = field(default_factory=Tokens)
    cost: Decimal | None = None
    unpriced: int = 0
    models: tuple[str, ...] = ()
    error: str | None = None
    kept_because: str = ""

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        return cls(**{**wire, **_read(wire)})


@dataclass(frozen=True, slots=True)
class SessionSummary(_Told):
    """A session as its spans show it; `running` spans have begun and not ended."""

    session: str
    started: int
    last: int
    traces: int
    spans: int
    errors: int
    running: int
    tokens: Tokens = field(default_factory=Tokens)
    cost: Decimal | None = None
    unpriced: int = 0
    models: tuple[str, ...] = ()

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        return cls(**{**wire, **_read(wire)})


@dataclass(frozen=True, slots=True)
class CostRow(_Told):
    """What the calls of one session, model or provider came to, named by `key`."""

    key: str
    calls: int
    tokens: Tokens
    cost: Decimal | None
    unpriced: int

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        return cls(**{**wire, **_read(wire)})


@dataclass(frozen=True, slots=True)
class ModelStats(_Told):
    """The calls of one model: what they came to, how they failed, and how long what took.

    `duration` is the whole call, `first_chunk` the time to the first chunk, `per_chunk` the time between two,
    `queue_wait` the wait for a provider actor; `tokens_per_second` counts from the first chunk on.
    """

    provider: str
    model: str
    calls: int
    errors: dict[str, int]
    tokens: Tokens
    unmetered: int
    cost: Decimal | None
    unpriced: int
    duration: Latency
    first_chunk: Latency
    per_chunk: Latency
    queue_wait: Latency
    tokens_per_second: Latency

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        return cls(**{**wire, **_read(wire)})


@dataclass(frozen=True, slots=True)
class Stats(_Told):
    """Everything that was counted, sampled or not: over all models, by model, and by pool.

    `queue_waits` is the wait for a provider actor by pool, `errors` counts spans that failed by their kind.
    """

    total: ModelStats
    models: tuple[ModelStats, ...] = ()
    queue_waits: dict[str, Latency] = field(default_factory=dict)
    errors: dict[str, int] = field(default_factory=dict)
    spans: int = 0
    sessions: int = 0
    traces: dict[str, int] = field(default_factory=dict)

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        waits = {pool: Latency.from_wire(wait) for pool, wait in wire["queue_waits"].items()}
        models = tuple(map(ModelStats.from_wire, wire["models"]))
        total = ModelStats.from_wire(wire["total"])
        return cls(**{**wire, "total": total, "models": models, "queue_waits": waits})


@dataclass(frozen=True, slots=True)
class Change:
    """Spans of one trace that have begun or ended; `missed` more this watcher has not been told of so far."""

    trace: str
    spans: tuple[Span, ...]
    missed: int = 0

    def to_wire(self) -> dict[str, Any]:
        return {"trace": self.trace, "spans": [span.to_wire() for span in self.spans], "missed": self.missed}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Self:
        return cls(wire["trace"], tuple(map(Span.from_wire, wire["spans"])), wire["missed"])


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some of many; `next` is the cursor of those that follow, None at the end."""

    items: tuple[T, ...] = ()
    next: str | None = None

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any], read: Callable[[Mapping[str, Any]], T]) -> Page[T]:
        return cls(tuple(map(read, wire["items"])), wire["next"])


def page_to_wire(items: tuple[Any, ...], next: str | None) -> dict[str, Any]:
    """A page as plain values; its items are shapes of this module."""
    return {"items": [item.to_wire() for item in items], "next": next}


def iso(time: int | None) -> str | None:
    """Nanoseconds as ISO 8601 in UTC, with microseconds."""
    return None if time is None else datetime.fromtimestamp(time / 1e9, UTC).isoformat()


def nanoseconds(moment: datetime | None) -> int | None:
    """A moment as nanoseconds since 1970, cut to microseconds; one that 64 bits do not reach is the last."""
    if moment is None:
        return None
    return max(0, min((moment - _EPOCH) // timedelta(microseconds=1) * 1_000, 2**63 - 1))


def _plain(value: Any) -> Any:
    match value:
        case None | str() | int() | float():
            return value
        case Decimal():
            return format(value, "f")
        case _Told():
            return value.to_wire()
        case tuple():
            return [_plain(item) for item in value]
        case dict():
            return {key: _plain(item) for key, item in value.items()}
    return value


def _read(wire: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a wire that are no plain values."""
    read: dict[str, Any] = {}
    for name, value in wire.items():
        if name == "tokens":
            read[name] = Tokens.from_wire(value)
        elif name == "cost":
            read[name] = None if value is None else Decimal(value)
        elif name == "models":
            read[name] = tuple(value)
        elif name in _LATENCIES:
            read[name] = Latency.from_wire(value)
    return read


_LATENCIES = frozenset({"duration", "first_chunk", "per_chunk", "queue_wait", "tokens_per_second"})
