"""Filters at work in the router, made from their wire form. Pure.

Whatever is wrong with a filter shows when it is made; evaluating one raises nothing and is bounded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pydantic_core import SchemaError, SchemaValidator, core_schema

from llmgine.actors.bus.errors import InvalidFilter
from llmgine.actors.bus.messages import LINEAGE_SEPARATOR
from llmgine.actors.bus.pacing import TokenBucket

# Filters within filters, and types for which a rate is counted at a time.
DEPTH = 32
BUCKETS = 1_024


class Subject:
    """What a filter may know of one message; its metadata are read only when a filter asks.

    `paid` is what a rate says of a message that may have passed it before, and must not get lost over
    being counted twice; None where it has to be counted.
    """

    __slots__ = ("_metadata", "_read", "lineage", "paid", "session")

    def __init__(
        self,
        lineage: str,
        session: str,
        read: Callable[[], Mapping[str, Any] | None],
        paid: bool | None = None,
    ) -> None:
        self.paid = paid
        self.lineage = lineage
        self.session = session
        self._read = read
        self._metadata: Mapping[str, Any] | None = None

    @property
    def name(self) -> str:
        return self.lineage.partition(LINEAGE_SEPARATOR)[0]

    @property
    def metadata(self) -> Mapping[str, Any]:
        if self._metadata is None:
            self._metadata = self._read() or {}
        return self._metadata


class Compiled(Protocol):
    """A filter at work; `lasting` says that its answer for one lineage and session never changes."""

    lasting: bool

    def admits(self, subject: Subject, now: float) -> bool: ...


class _Types:
    lasting = True

    def __init__(self, include: list[str], exclude: list[str]) -> None:
        self._include, self._exclude = frozenset(_texts(include)), frozenset(_texts(exclude))

    def admits(self, subject: Subject, now: float) -> bool:
        names = subject.lineage.split(LINEAGE_SEPARATOR)
        return self._exclude.isdisjoint(names) and not (self._include and self._include.isdisjoint(names))


class _Sessions:
    lasting = True

    def __init__(self, include: list[str], exclude: list[str]) -> None:
        self._include, self._exclude = frozenset(_texts(include)), frozenset(_texts(exclude))

    def admits(self, subject: Subject, now: float) -> bool:
        session = subject.session
        return session not in self._exclude and (not self._include or session in self._include)


class _Patterns:
    lasting = True

    def __init__(self, include: list[str], exclude: list[str], case_sensitive: bool) -> None:
        self._include = [_pattern(text, case_sensitive) for text in _texts(include)]
        self._exclude = [_pattern(text, case_sensitive) for text in _texts(exclude)]

    def admits(self, subject: Subject, now: float) -> bool:
        names = {subject.name, subject.name.rpartition(".")[2]}
        return not _found(self._exclude, names) and (not self._include or _found(self._include, names))


def _pattern(text: str, case_sensitive: bool) -> SchemaValidator:
    pattern = text if case_sensitive else f"(?i){text}"
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))
    except SchemaError as error:
        reason = str(error).strip().rpartition("\n")[2]
        raise InvalidFilter(f"pattern {text!r} cannot be used: {reason}") from error


def _found(patterns: list[SchemaValidator], names: set[str]) -> bool:
    return any(pattern.isinstance_python(name) for pattern in patterns for name in names)


class _Metadata:
    lasting = False

    def __init__(self, required: dict[str, Any]) -> None:
        if not required or not isinstance(required, dict):
            raise InvalidFilter("MetadataFilter needs at least one key with its value")
        for key, value in required.items():
            if not (isinstance(key, str) and _is_plain(value)):
                raise InvalidFilter(f"metadata {key!r} cannot be compared with {value!r}, which is not plain")
        self._required = required

    def admits(self, subject: Subject, now: float) -> bool:
        metadata = subject.metadata
        return all(key in metadata and metadata[key] == value for key, value in self._required.items())


class _Rate:
    lasting = False

    def __init__(self, rate: float, burst: int, per_type: bool) -> None:
        if isinstance(rate, bool) or not (isinstance(rate, int | float) and 0 < rate < math.inf):
            raise InvalidFilter(f"RateFilter needs a rate above 0, not {rate!r}")
        if isinstance(burst, bool) or not (isinstance(burst, int) and burst >= 1):
            raise InvalidFilter(f"RateFilter needs a burst of at least 1, not {burst!r}")
        self._rate, self._burst, self._per_type = rate, burst, per_type
        self._buckets: dict[str, TokenBucket] = {}

    def admits(self, subject: Subject, now: float) -> bool:
        if subject.paid is not None:
            return subject.paid
        key = subject.name if self._per_type else ""
        # Taken out and put in again, the one at the front is that of the longest silence.
        bucket = self._buckets.pop(key, None)
        if bucket is None:
            bucket = TokenBucket(self._rate, self._burst)
            if len(self._buckets) >= BUCKETS:
                del self._buckets[next(iter(self._buckets))]
        self._buckets[key] = bucket
        return bucket.take(now)


class _All:
    def __init__(self, parts: list[Compiled]) -> None:
        self._parts = _some(parts)
        self.lasting = all(part.lasting for part in parts)

    def admits(self, subject: Subject, now: float) -> bool:
        return all(part.admits(subject, now) for part in self._parts)


class _Any:
    def __init__(self, parts: list[Compiled]) -> None:
        self._parts = _some(parts)
        self.lasting = all(part.lasting for part in parts)

    def admits(self, subject: Subject, now: float) -> bool:
        return any(part.admits(subject, now) for part in self._parts)


def _some(parts: list[Compiled]) -> list[Compiled]:
    if not parts:
        raise InvalidFilter("AllOf and AnyOf need at least one filter")
    return parts


class _Not:
    def __init__(self, part: Compiled) -> None:
        self._part = part
        self.lasting = part.lasting

    def admits(self, subject: Subject, now: float) -> bool:
        if subject.paid is None:
            return not self._part.admits(subject, now)
        opposite = Subject(subject.lineage, subject.session, lambda: subject.metadata, not subject.paid)
        return not self._part.admits(opposite, now)


def _texts(given: list[str]) -> list[str]:
    if not isinstance(given, list | tuple) or not all(one and isinstance(one, str) for one in given):
        raise InvalidFilter(f"a filter includes and excludes texts that are not empty, not {given!r}")
    return list(given)


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or type(value) in (str, int, float, bool, bytes)


_MAKERS: dict[str, Callable[..., Compiled]] = {
    "type": _Types,
    "session": _Sessions,
    "pattern": _Patterns,
    "metadata": _Metadata,
    "rate": _Rate,
    "all": _All,
    "any": _Any,
    "not": _Not,
}


def compile_filter(wire: Mapping[str, Any], depth: int = DEPTH) -> Compiled:
    """The filter at work, with buckets of its own; raises InvalidFilter, whatever is wrong with it."""
    kind = wire.get("kind") if isinstance(wire, Mapping) else None
    if not isinstance(kind, str) or kind not in _MAKERS:
        raise InvalidFilter(f"not a filter: {wire!r}")
    if depth == 0:
        raise InvalidFilter(f"filters stand within one another, at most {DEPTH} deep")
    fields = {name: value for name, value in wire.items() if name != "kind"}
    try:
        if "filters" in fields:
            fields["parts"] = [compile_filter(part, depth - 1) for part in fields.pop("filters")]
        elif "filter" in fields:
            fields["part"] = compile_filter(fields.pop("filter"), depth - 1)
        return _MAKERS[kind](**fields)
    except TypeError as error:
        raise InvalidFilter(f"not a filter of kind {kind!r}: {error}") from error
