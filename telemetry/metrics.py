"""Counters, gauges and fixed-bucket histograms that say exactly what happened.

An instrument belongs to one process. Values travel whole, never as differences, so a batch that
arrives twice or never changes no sum: the latest of each source holds, and sources are added up.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from operator import add
from typing import Any, ClassVar, NamedTuple, TypeVar

from llmgine.telemetry.names import (
    FORBIDDEN_LABELS,
    MESSAGING_SECONDS,
    METRIC_BREAKER_STATE,
    METRIC_SERIES_OVERFLOW,
    METRICS,
)
from llmgine.telemetry.records import SeriesRecord

MAX_SERIES = 512
_STATES = frozenset({METRIC_BREAKER_STATE})  # gauges whose values are no amounts
OVERFLOW_LABELS = (("overflow", "true"),)

Labels = tuple[tuple[str, str], ...]
Number = int | float


class Counter:
    """What only grows."""

    kind: ClassVar[str] = "counter"
    __slots__ = ("labels", "name", "shipped", "value")

    def __init__(self, name: str, labels: Labels = ()) -> None:
        self.name, self.labels = name, labels
        self.value: Number = 0
        self.shipped: Any = None

    def add(self, amount: Number = 1) -> None:
        self.value += amount

    def rise_to(self, total: Number) -> None:
        """What is counted elsewhere in this process has come to that total."""
        self.value = max(self.value, total)

    def read(self) -> Any:
        return self.value


class Gauge:
    """What stands at a level."""

    kind: ClassVar[str] = "gauge"
    __slots__ = ("labels", "name", "shipped", "value")

    def __init__(self, name: str, labels: Labels = ()) -> None:
        self.name, self.labels = name, labels
        self.value: Number = 0
        self.shipped: Any = None

    def set(self, value: Number) -> None:
        self.value = value

    def add(self, amount: Number = 1) -> None:
        self.value += amount

    def read(self) -> Any:
        return self.value


class Histogram:
    """How often a value fell under each bound; the last bucket is for all above the last bound."""

    kind: ClassVar[str] = "histogram"
    __slots__ = ("bounds", "counts", "labels", "name", "shipped", "sum")

    def __init__(self, name: str, labels: Labels = (), bounds: tuple[float, ...] = ()) -> None:
        self.name, self.labels = name, labels
        self.bounds = bounds or MESSAGING_SECONDS
        self.counts = [0] * (len(self.bounds) + 1)
        self.sum: float = 0.0
        self.shipped: Any = None

    @property
    def count(self) -> int:
        return sum(self.counts)

    def observe(self, value: Number) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def observe_least(self, count: int, total: Number) -> None:
        """So many values that fall under the first bound, so much in all."""
        self.counts[0] += count
        self.sum += total

    def take_in(self, total: float, counts: Iterable[int], bounds: tuple[float, ...]) -> None:
        """Values that were observed elsewhere; ValueError where they stand in other buckets."""
        if tuple(bounds) != self.bounds:
            raise ValueError(f"{self.name} has other buckets here")
        self.counts = [own + other for own, other in zip(self.counts, counts, strict=True)]
        self.sum += total

    def read(self) -> Any:
        return (self.sum, tuple(self.counts), self.bounds)


Instrument = Counter | Gauge | Histogram


class Metrics:
    """The instruments of one process.

    Labels are of low cardinality: names of unbounded values are refused, and past MAX_SERIES label
    sets of one metric all further ones share one series labelled `overflow`.
    """

    def __init__(self, max_series: int = MAX_SERIES) -> None:
        self._max_series = max_series
        self._instruments: dict[tuple[str, Labels], Instrument] = {}
        self._series: dict[str, int] = {}
        self._resolved: dict[tuple[Any, ...], Instrument] = {}

    def counter(self, name: str, /, **labels: str) -> Counter:
        """The counter of that name and labels; the same object each time."""
        return self._instrument(Counter, name, labels)

    def gauge(self, name: str, /, **labels: str) -> Gauge:
        return self._instrument(Gauge, name, labels)

    def histogram(self, name: str, /, **labels: str) -> Histogram:
        """The histogram of that name and labels, with the buckets that the table of names gives it."""
        return self._instrument(Histogram, name, labels)

    def take_in(self, record: SeriesRecord) -> None:
        """Add what was counted elsewhere; ValueError where it does not fit what is counted here."""
        labels = dict(record.labels)
        match record.kind:
            case "counter":
                self._instrument(Counter, record.name, labels).add(record.value)
            case "gauge":
                self._instrument(Gauge, record.name, labels).set(record.value)
            case _:
                self._instrument(Histogram, record.name, labels).take_in(*record.value)

    def read(self) -> dict[tuple[str, Labels], Any]:
        """Every series and its value now."""
        return {key: instrument.read() for key, instrument in self._instruments.items()}

    def changed(self) -> tuple[SeriesRecord, ...]:
        """The series whose value differs from what was last returned here."""
        records = []
        for instrument in list(self._instruments.values()):
            value = instrument.read()
            if value != instrument.shipped:
                instrument.shipped = value
                records.append(SeriesRecord(instrument.kind, instrument.name, instrument.labels, value))
        return tuple(records)

    def ship_all(self) -> None:
        """Let the next `changed` return every series: whoever reads them has lost its memory."""
        for instrument in list(self._instruments.values()):
            instrument.shipped = None

    def _instrument(self, kind: type[_I], name: str, labels: Mapping[str, Any]) -> _I:
        cached = (name, *labels.items())
        try:
            found = self._resolved.get(cached)
        except TypeError:  # a label value that cannot be hashed
            cached, found = (), None
        if found is None:
            found = self._add(kind, name, labels)
            if cached and len(self._resolved) < 8 * self._max_series:
                self._resolved[cached] = found
        if not isinstance(found, kind):
            raise ValueError(f"{name} is a {found.kind}; it cannot also be a {kind.kind}")
        return found

    def _add(self, kind: type[_I], name: str, labels: Mapping[str, Any]) -> Instrument:
        if refused := FORBIDDEN_LABELS.intersection(labels):
            raise ValueError(
                f"{name}: label {', '.join(sorted(refused))} is unbounded; put it on a span instead"
            )
        known = METRICS.get(name)
        if known is not None and known.kind != kind.kind:
            raise ValueError(f"{name} is a {known.kind}; it cannot also be a {kind.kind}")
        ordered: Labels = tuple(sorted((key, str(value)) for key, value in labels.items()))
        found = self._instruments.get((name, ordered))
        if found is not None:
            return found
        if self._series.get(name, 0) >= self._max_series and ordered != OVERFLOW_LABELS:
            self.counter(METRIC_SERIES_OVERFLOW).add()
            return self._add(kind, name, dict(OVERFLOW_LABELS))
        made: Instrument = (
            Histogram(name, ordered, known.buckets if known else ())
            if kind is Histogram
            else kind(name, ordered)
        )
        self._instruments[name, ordered] = made
        self._series[name] = self._series.get(name, 0) + 1
        return made


_I = TypeVar("_I", Counter, Gauge, Histogram)


class Series(NamedTuple):
    """One series over all sources; a histogram's value is (sum, counts, bounds)."""

    kind: str
    name: str
    labels: Labels
    value: Any


class MergedMetrics:
    """The metrics of many sources as one set, whatever order their batches arrive in.

    Counters and histograms of a source that is gone stay in the sums; its gauges end with it.
    Whoever bounds the number of sources folds old ones into the sums.
    """

    def __init__(self) -> None:
        self._sources: dict[int, dict[tuple[str, Labels], tuple[int, SeriesRecord]]] = {}
        self._folded: dict[tuple[str, Labels], Series] = {}
        self._gone: set[int] = set()
        self._mismatched = 0  # of sources that are folded
        # Series whose kind or bounds differ between sources, in what was read last; the first one's hold.
        self.mismatched = 0

    def update(self, instance: int, number: int, records: Iterable[SeriesRecord]) -> None:
        """Take over what a source says in its batch `number`; a later number wins."""
        known = self._sources.setdefault(instance, {})
        for record in records:
            key = (record.name, record.labels)
            held = known.get(key)
            if held is None or held[0] < number:
                known[key] = (number, record)

    def gone(self, instance: int) -> None:
        """The source is no more: its gauges count no longer."""
        self._gone.add(instance)

    def back(self, instance: int) -> None:
        """The source was only away."""
        self._gone.discard(instance)

    def fold(self, instance: int) -> None:
        """Forget the source one by one and keep its counters and histograms in the sums."""
        for _, record in self._sources.pop(instance, {}).values():
            if record.kind != "gauge":
                self._mismatched += not self._merge(self._folded, record)
        self._gone.discard(instance)

    def read(self) -> list[Series]:
        """Every series summed over its sources, sorted by name and labels.

        Of what is told as a state, the highest of all sources holds.
        """
        total, self.mismatched = dict(self._folded), self._mismatched
        for instance, known in self._sources.items():
            for _, record in known.values():
                ended = record.kind == "gauge" and instance in self._gone
                self.mismatched += not self._merge(total, record._replace(value=0) if ended else record)
        return [total[key] for key in sorted(total)]

    def _merge(self, into: dict[tuple[str, Labels], Series], record: SeriesRecord) -> bool:
        """Whether the record could be added."""
        key = (record.name, record.labels)
        held = into.get(key)
        if held is None:
            into[key] = Series(record.kind, record.name, record.labels, record.value)
            return True
        if held.kind != record.kind:
            return False
        if record.name in _STATES:
            into[key] = held._replace(value=max(held.value, record.value))
        elif record.kind != "histogram":
            into[key] = held._replace(value=held.value + record.value)
        elif tuple(held.value[2]) != tuple(record.value[2]):
            return False
        else:
            counts = tuple(map(add, held.value[1], record.value[1]))
            into[key] = held._replace(value=(held.value[0] + record.value[0], counts, held.value[2]))
        return True
