"""Which messages a handler, or the whole bus, wants at all: data, evaluated in the router.

A filter looks at a message's type, session and metadata, never at its fields. Filters compose by
`AllOf`, `AnyOf` and `Not`, or `&`, `|` and `~`. They are evaluated from left to right and no further
than needed, so a `RateFilter` spends a token only on what reached it: put it last. Within `Not` it
admits what is beyond the rate. Its buckets belong to one handler and one router, and are full again
after a restart.

Patterns are regular expressions of Rust's dialect, as in pydantic's `pattern`: matched in linear time,
so that none can stop the router, but without look-around and backreferences.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from llmgine.actors.bus.errors import InvalidFilter
from llmgine.actors.bus.filtering import compile_filter
from llmgine.actors.bus.messages import Message, wire_name
from llmgine.actors.bus.payload import check_sendable


class Filter:
    """The common root; a filter is a value that is checked when it is made."""

    def to_wire(self) -> dict[str, Any]:
        raise NotImplementedError

    def __and__(self, other: Filter) -> AllOf:
        return AllOf(self, other)

    def __or__(self, other: Filter) -> AnyOf:
        return AnyOf(self, other)

    def __invert__(self) -> Not:
        return Not(self)


Named = type[Message] | str


@dataclass(frozen=True)
class TypeFilter(Filter):
    """Messages of these classes and their subclasses, given as classes or wire names; exclusion wins.

    Without `include` every type is included.
    """

    include: Iterable[Named] = ()
    exclude: Iterable[Named] = ()

    def __post_init__(self) -> None:
        for name in ("include", "exclude"):
            object.__setattr__(self, name, tuple(map(_type_name, _several(getattr(self, name)))))
        _check(self)

    def to_wire(self) -> dict[str, Any]:
        return {"kind": "type", "include": [*self.include], "exclude": [*self.exclude]}


@dataclass(frozen=True)
class SessionFilter(Filter):
    """Messages of these sessions, by id; exclusion wins. Without `include` every session is included."""

    include: Iterable[str] = ()
    exclude: Iterable[str] = ()

    def __post_init__(self) -> None:
        for name in ("include", "exclude"):
            object.__setattr__(self, name, _several(getattr(self, name)))
        _check(self)

    def to_wire(self) -> dict[str, Any]:
        return {"kind": "session", "include": [*self.include], "exclude": [*self.exclude]}


@dataclass(frozen=True)
class PatternFilter(Filter):
    """Messages in whose type name any of the patterns is found; exclusion wins.

    A pattern is searched in the wire name and in its last part after a dot, which is mostly the class's
    own name: `^Order` finds `shop.events.OrderPlaced`. Without `include` every type is included.
    """

    include: Iterable[str] = ()
    exclude: Iterable[str] = ()
    case_sensitive: bool = False

    def __post_init__(self) -> None:
        for name in ("include", "exclude"):
            object.__setattr__(self, name, _several(getattr(self, name)))
        _check(self)

    def to_wire(self) -> dict[str, Any]:
        return {
            "kind": "pattern",
            "include": [*self.include],
            "exclude": [*self.exclude],
            "case_sensitive": self.case_sensitive,
        }


@dataclass(frozen=True)
class MetadataFilter(Filter):
    """Messages whose metadata have all of these keys with these values; values are plain."""

    required: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not isinstance(self.required, Mapping):
            raise InvalidFilter(f"MetadataFilter takes keys with their values, not {self.required!r}")
        object.__setattr__(self, "required", dict(self.required))
        _check(self)

    def __hash__(self) -> int:
        return hash(frozenset(self.required))

    def to_wire(self) -> dict[str, Any]:
        return {"kind": "metadata", "required": dict(self.required)}


@dataclass(frozen=True)
class RateFilter(Filter):
    """At most `rate` messages a second in the long run, and `burst` at once; the others do not pass.

    With `per_type` each type has a rate and a burst of its own. Each router counts for itself, and anew
    after a restart: what it is sent again then passes, so that nothing that had passed is lost, and what
    had been refused may come behind later ones.
    """

    rate: float
    burst: int = 1
    per_type: bool = False

    def __post_init__(self) -> None:
        _check(self)

    def to_wire(self) -> dict[str, Any]:
        return {"kind": "rate", "rate": self.rate, "burst": self.burst, "per_type": self.per_type}


@dataclass(frozen=True, init=False)
class AllOf(Filter):
    """Messages that pass every one of the filters."""

    filters: tuple[Filter, ...]

    def __init__(self, *filters: Filter) -> None:
        object.__setattr__(self, "filters", _filters(filters))
        _check(self)

    def to_wire(self) -> dict[str, Any]:
        return {"kind": "all", "filters": [one.to_wire() for one in self.filters]}


@dataclass(frozen=True, init=False)
class AnyOf(Filter):
    """Messages that pass at least one of the filters."""

    filters: tuple[Filter, ...]

    def __init__(self, *filters: Filter) -> None:
        object.__setattr__(self, "filters", _filters(filters))
        _check(self)

    def to_wire(self) -> dict[str, Any]:
        return {"kind": "any", "filters": [one.to_wire() for one in self.filters]}


@dataclass(frozen=True)
class Not(Filter):
    """Messages that do not pass the filter."""

    filter: Filter

    def __post_init__(self) -> None:
        _filters((self.filter,))
        _check(self)

    def to_wire(self) -> dict[str, Any]:
        return {"kind": "not", "filter": self.filter.to_wire()}


def _check(new: Filter) -> None:
    wire = new.to_wire()
    compile_filter(wire)
    check_sendable(wire, type(new).__name__, InvalidFilter)


def _several(given: Any) -> tuple[Any, ...]:
    if isinstance(given, str | type):
        return (given,)
    if not isinstance(given, Iterable):
        raise InvalidFilter(f"a filter includes and excludes one or several, not {given!r}")
    return tuple(given)


def _type_name(given: Any) -> Any:
    if not isinstance(given, type):
        return given
    if not issubclass(given, Message) or given is Message:
        raise InvalidFilter(f"TypeFilter takes Event, Command and their subclasses, not {given.__qualname__}")
    return wire_name(given)


def _filters(given: tuple[Any, ...]) -> tuple[Filter, ...]:
    for one in given:
        if not isinstance(one, Filter):
            raise InvalidFilter(f"{one!r} is no filter; rules that are code belong into a middleware")
    return given
