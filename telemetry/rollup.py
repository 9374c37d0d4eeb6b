"""Tokens, money, waiting and failures, added up from the spans that ended. Pure.

One span per model call bears a `gen_ai.operation.name` of inference or embeddings; these are counted as
calls. Spans around them (pool, session) bear other operations: of these the wait for a provider actor
counts, and that they failed. Sums are of hours, so that a span of time can be asked for; those of one
`Rollup` may be added to another's, in any order.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple, Self

from llmgine.telemetry import names
from llmgine.telemetry.records import Span
from llmgine.telemetry.sketch import Sketch

MAX_KEYS = 20_000
HOUR = 3_600_000_000_000
OTHER = "other"
_MAX_ERROR_TYPES = 32
_OPERATIONS = names.INFERENCE_OPERATIONS | {names.OPERATION_EMBEDDINGS}
# What ended as its process was given up: when that was says nothing of how long it took or waited, and it
# may yet prove to live.
_CLOSED = frozenset({names.ACTOR_DIED, names.UNFINISHED})
_MOST_TOKENS = 10**15  # of one call; whoever says more is mistaken, and sums have 64 bits
_LEAST, _MOST = Decimal("1e-15"), Decimal("1e12")  # what lies beyond is no cost, and would not add exactly


class Calls(NamedTuple):
    """Whose calls are added up; `hour` is their end in nanoseconds, cut to the hour."""

    hour: int
    session: str
    provider: str
    model: str


@dataclass(slots=True)
class Spent:
    """What some calls came to. `cost` is in US dollars, over the `priced` calls alone."""

    calls: int = 0
    failed: int = 0
    input: int = 0
    output: int = 0
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0
    unmetered: int = 0  # calls that reported no tokens
    cost: Decimal = Decimal(0)
    priced: int = 0

    @classmethod
    def of(cls, span: Span) -> Self:
        """What one call came to."""
        told = span.attributes
        cost = _cost(told)
        metered = names.GEN_AI_USAGE_INPUT_TOKENS in told or names.GEN_AI_USAGE_OUTPUT_TOKENS in told
        return cls(
            1,
            int(span.error is not None),
            _count(told, names.GEN_AI_USAGE_INPUT_TOKENS),
            _count(told, names.GEN_AI_USAGE_OUTPUT_TOKENS),
            _count(told, names.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS),
            _count(
                told,
                names.GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS,
                names.GEN_AI_USAGE_CACHE_CREATION_INPUT_TOKENS,
            ),
            _count(told, names.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS),
            int(not metered),
            cost or Decimal(0),
            int(cost is not None),
        )

    def add(self, other: Spent, sign: int = 1) -> None:
        """Add what other calls came to, or with `sign` -1 take it away."""
        self.calls += sign * other.calls
        self.failed += sign * other.failed
        self.input += sign * other.input
        self.output += sign * other.output
        self.cached += sign * other.cached
        self.cache_write += sign * other.cache_write
        self.reasoning += sign * other.reasoning
        self.unmetered += sign * other.unmetered
        self.cost += sign * other.cost
        self.priced += sign * other.priced


_SPENT = tuple(one.name for one in fields(Spent))


@dataclass(slots=True)
class ModelUsage:
    """What the calls of one model came to, how they failed, and how long what took."""

    provider: str
    model: str
    spent: Spent = field(default_factory=Spent)
    errors: dict[str, int] = field(default_factory=dict)
    duration: Sketch = field(default_factory=Sketch)
    first_chunk: Sketch = field(default_factory=Sketch)
    per_chunk: Sketch = field(default_factory=Sketch)
    queue_wait: Sketch = field(default_factory=Sketch)
    tokens_per_second: Sketch = field(default_factory=Sketch)

    def add(self, span: Span, spent: Spent) -> None:
        """Count a call."""
        self.spent.add(spent)
        if span.error is not None:
            count_error(self.errors, span.error)
        told = span.attributes
        if span.seconds is None or span.error in _CLOSED or names.LLMGINE_BATCH_ID in told:
            return  # its end is when its process was given up, or its batch read
        first = _number(told.get(names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK))
        self.duration.observe(span.seconds)
        _observe(self.first_chunk, first)
        _observe(self.per_chunk, _number(told.get(names.LLMGINE_RESPONSE_TIME_PER_CHUNK)))
        _observe(self.queue_wait, _number(told.get(names.LLMGINE_QUEUE_WAIT)))
        streaming = span.seconds - (first or 0.0)
        if spent.output and streaming > 0 and span.error is None and not told.get(names.LLMGINE_CACHED):
            self.tokens_per_second.observe(spent.output / streaming)

    def merge(self, other: ModelUsage) -> None:
        """Add what other calls came to."""
        self.spent.add(other.spent)
        for error, count in other.errors.items():
            count_error(self.errors, error, count)
        for name in SKETCHES:
            getattr(self, name).merge(getattr(other, name))

    def to_wire(self) -> list[Any]:
        """Plain values that `from_wire` turns back into an equal usage."""
        spent = [getattr(self.spent, name) for name in _SPENT]
        spent[_SPENT.index("cost")] = format(self.spent.cost, "f")
        sketches = [getattr(self, name).to_wire() for name in SKETCHES]
        return [self.provider, self.model, spent, self.errors, sketches]

    @classmethod
    def from_wire(cls, wire: list[Any]) -> Self:
        provider, model, spent, errors, sketches = wire
        told = Spent(*spent)
        told.cost = Decimal(told.cost)
        return cls(provider, model, told, errors, *map(Sketch.from_wire, sketches))


SKETCHES = tuple(one.name for one in fields(ModelUsage) if one.default_factory is Sketch)


@dataclass(slots=True)
class SessionTally:
    """What the spans of one session came to."""

    started: int
    last: int
    traces: int = 0
    spans: int = 0
    errors: int = 0

    def merge(self, other: SessionTally) -> None:
        """Add what other spans of the session came to."""
        self.started, self.last = min(self.started, other.started), max(self.last, other.last)
        self.traces += other.traces
        self.spans += other.spans
        self.errors += other.errors


class Rollup:
    """Sums of all spans that ended; past MAX_KEYS of a kind all further ones share `other`."""

    def __init__(self) -> None:
        self.spent: dict[Calls, Spent] = {}
        self.models: dict[tuple[int, str, str], ModelUsage] = {}
        self.waits: dict[tuple[int, str], Sketch] = {}
        self.errors: dict[tuple[int, str], int] = {}
        self.sessions: dict[str, SessionTally] = {}
        self.spans = 0

    def __bool__(self) -> bool:
        return bool(self.spans or self.sessions)

    def add(self, span: Span) -> None:
        """Count a span that has ended."""
        self.spans += 1
        hour = (span.end or 0) // HOUR * HOUR
        if span.error is not None:
            self._error((hour, span.error), 1)
        self._tally(span, 1)
        told = span.attributes
        if is_call(span):
            calls = self._calls(span, hour)
            spent = Spent.of(span)
            self.spent.setdefault(calls, Spent()).add(spent)
            self._model((hour, calls.provider, calls.model)).add(span, spent)
        elif span.error not in _CLOSED and (wait := _number(told.get(names.LLMGINE_QUEUE_WAIT))) is not None:
            self._wait((hour, _name(told, names.LLMGINE_POOL))).observe(wait)
            if names.GEN_AI_REQUEST_MODEL in told:
                self._model((hour, *model_of(span))).queue_wait.observe(wait)

    def take_back(self, span: Span) -> None:
        """Uncount a span that was closed for a process that lives after all."""
        self.spans -= 1
        hour = (span.end or 0) // HOUR * HOUR
        if span.error is not None:
            self._error((hour, span.error), -1)
        self._tally(span, -1)
        if is_call(span):
            calls = self._calls(span, hour)
            spent = Spent.of(span)
            self.spent.setdefault(calls, Spent()).add(spent, -1)
            usage = self._model((hour, calls.provider, calls.model))
            usage.spent.add(spent, -1)
            if span.error is not None:
                count_error(usage.errors, span.error, -1)

    def began(self, session: str, start: int) -> None:
        """A session has taken part in one more trace."""
        if (tally := self._session(session, start)) is not None:
            tally.started, tally.last = min(tally.started, start), max(tally.last, start)
            tally.traces += 1

    def merge(self, other: Rollup) -> None:
        """Add another's sums."""
        self.spans += other.spans
        for calls, spent in other.spent.items():
            self.spent.setdefault(self._kept(calls), Spent()).add(spent)
        for key, usage in other.models.items():
            self._model(key).merge(usage)
        for pool, sketch in other.waits.items():
            self._wait(pool).merge(sketch)
        for error, count in other.errors.items():
            self._error(error, count)
        for session, tally in other.sessions.items():
            if (own := self._session(session, tally.started)) is not None:
                own.merge(tally)

    def _calls(self, span: Span, hour: int) -> Calls:
        return self._kept(Calls(hour, session_name(span), *model_of(span)))

    def _kept(self, calls: Calls) -> Calls:
        return calls if calls in self.spent or self._has_room() else Calls(calls.hour, OTHER, OTHER, OTHER)

    def _model(self, key: tuple[int, str, str]) -> ModelUsage:
        if key not in self.models and len(self.models) >= MAX_KEYS:
            key = key[0], OTHER, OTHER
        return self.models.setdefault(key, ModelUsage(*key[1:]))

    def _wait(self, key: tuple[int, str]) -> Sketch:
        known = key in self.waits or self._has_room()
        return self.waits.setdefault(key if known else (key[0], OTHER), Sketch())

    def _error(self, key: tuple[int, str], count: int) -> None:
        key = key if key in self.errors or self._has_room() else (key[0], OTHER)
        self.errors[key] = self.errors.get(key, 0) + count

    def _tally(self, span: Span, sign: int) -> None:
        if session := session_name(span):
            tally = self._session(session, span.start)
            if tally is not None:
                tally.started = min(tally.started, span.start)
                tally.last = max(tally.last, span.end or span.start)
                tally.spans += sign
                tally.errors += sign * (span.error is not None)

    def _session(self, session: str, start: int) -> SessionTally | None:
        """What is added up of a session; None for one more than there is room for."""
        known = self.sessions.get(session)
        if known is None and self._has_room():
            known = self.sessions[session] = SessionTally(start, start)
        return known

    def _has_room(self) -> bool:
        return len(self.spent) + len(self.sessions) + len(self.errors) + len(self.waits) < MAX_KEYS


def is_call(span: Span) -> bool:
    """Whether a span is one call of a model, and no span around it."""
    operation = span.attributes.get(names.GEN_AI_OPERATION_NAME)
    return isinstance(operation, str) and operation in _OPERATIONS


def model_of(span: Span) -> tuple[str, str]:
    """The provider and the model that a call asked for."""
    told = span.attributes
    return _name(told, names.GEN_AI_PROVIDER_NAME), _name(told, names.GEN_AI_REQUEST_MODEL)


def session_name(span: Span) -> str:
    """The session that a span belongs to; empty for none."""
    name = span.session or span.attributes.get(names.GEN_AI_CONVERSATION_ID)
    return name if isinstance(name, str) else ""


def count_error(errors: dict[str, int], error: str, count: int = 1) -> None:
    """Count a kind of error; past 32 kinds all further ones are `other`."""
    kind = error if error in errors or len(errors) < _MAX_ERROR_TYPES else OTHER
    errors[kind] = errors.get(kind, 0) + count
    if not errors[kind]:
        del errors[kind]


def usage_of(spans: Iterable[Span]) -> list[ModelUsage]:
    """What the calls among these spans came to by model, such as one session's."""
    rollup = Rollup()
    for span in spans:
        if span.end is not None:
            rollup.add(span)
    return by_model(rollup.models.values())


def by_model(usages: Iterable[ModelUsage]) -> list[ModelUsage]:
    """One for each provider and model, sorted by these."""
    models: dict[tuple[str, str], ModelUsage] = {}
    for usage in usages:
        key = usage.provider, usage.model
        models.setdefault(key, ModelUsage(*key)).merge(usage)
    return [models[key] for key in sorted(models)]


def _name(attributes: dict[str, Any], key: str) -> str:
    value = attributes.get(key)
    return value if isinstance(value, str) and value else "unknown"


def _count(attributes: dict[str, Any], *keys: str) -> int:
    for key in keys:
        value = attributes.get(key)
        if isinstance(value, int) and 0 <= value < _MOST_TOKENS:
            return int(value)
    return 0


def _number(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9
    return float(value) if known else None


def _observe(sketch: Sketch, value: float | None) -> None:
    if value is not None:
        sketch.observe(value)


def _cost(attributes: dict[str, Any]) -> Decimal | None:
    value = attributes.get(names.LLMGINE_COST_USD)
    if value is None or isinstance(value, bool):
        return None
    try:
        cost = Decimal(str(value))
    except InvalidOperation:
        return None
    return cost if not cost or (cost.is_finite() and _LEAST <= cost < _MOST) else None
