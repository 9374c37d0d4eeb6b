"""Filters, as users write them and as the router evaluates them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.actors.bus.errors import InvalidFilter
from llmgine.actors.bus.filtering import BUCKETS, DEPTH, Subject, compile_filter
from llmgine.actors.bus.filters import (
    AllOf,
    AnyOf,
    Filter,
    MetadataFilter,
    Not,
    PatternFilter,
    RateFilter,
    SessionFilter,
    TypeFilter,
)
from llmgine.actors.bus.messages import Command, Event, Message, lineage


class Order(Event):
    __wire_name__ = "shop.events.Order"


class OrderPlaced(Order):
    __wire_name__ = "shop.events.OrderPlaced"


class Refund(Event):
    __wire_name__ = "shop.events.Refund"


def subject(
    message_class: type[Message] = Order, session: str = "BUS", metadata: Mapping[str, Any] | None = None
) -> Subject:
    return Subject(lineage(message_class), session, lambda: metadata)


def admits(filter: Filter, *args: Any, **kwargs: Any) -> bool:
    """As a router would see it: the filter has crossed a link."""
    wire = msgpack.unpackb(msgpack.packb(filter.to_wire()))
    return compile_filter(wire).admits(subject(*args, **kwargs), 0.0)


def test_a_type_filter_takes_classes_and_their_subclasses() -> None:
    """By class or by wire name; nothing is included by default but everything."""
    includes: list[Any] = [[Order], [Order.__wire_name__], Order, "shop.events.Order"]
    for include in includes:
        placed = TypeFilter(include=include)
        assert [admits(placed, one) for one in (Order, OrderPlaced, Refund)] == [True, True, False]
    assert admits(TypeFilter(), Refund)
    assert admits(TypeFilter([Event]), Refund)
    assert not admits(TypeFilter([OrderPlaced]), Order)


def test_exclusion_wins_over_inclusion() -> None:
    """For types, sessions and patterns alike."""
    assert not admits(TypeFilter([OrderPlaced], exclude=[Order]), OrderPlaced)
    assert not admits(SessionFilter(["a", "b"], exclude=["b"]), session="b")
    assert not admits(PatternFilter(["Order"], exclude=["Placed$"]), OrderPlaced)
    assert admits(PatternFilter(["Order"], exclude=["Placed$"]), Order)


def test_a_session_filter_goes_by_id() -> None:
    """Included ones only, where any are named; all but the excluded ones otherwise."""
    assert [admits(SessionFilter(["a"]), session=one) for one in ("a", "b")] == [True, False]
    assert [admits(SessionFilter(exclude="a"), session=one) for one in ("a", "b")] == [False, True]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("order", True),
        ("^Order", True),
        ("^shop\\.events", True),
        ("PLACED$", True),
        ("refund|placed", True),
        ("^events", False),
        ("Order$", False),
    ],
)
def test_a_pattern_is_searched_in_the_type_name(pattern: str, found: bool) -> None:
    """In the wire name and in its last part, without regard to case."""
    assert admits(PatternFilter(pattern), OrderPlaced) is found


def test_a_pattern_minds_the_case_where_asked() -> None:
    """`order` is not found in `shop.events.OrderPlaced` then."""
    assert not admits(PatternFilter("order", case_sensitive=True), OrderPlaced)
    assert admits(PatternFilter("Order", case_sensitive=True), OrderPlaced)


def test_no_pattern_can_stop_the_router() -> None:
    """A pattern over which a backtracking engine would take for ever answers at once."""
    screen = compile_filter(PatternFilter(["(a+)+$", "(a|a)*b", "(.*)*x$"]).to_wire())
    began = time.perf_counter()
    assert not screen.admits(Subject("a" * 5_000 + "!", "BUS", dict), 0.0)
    assert time.perf_counter() - began < 1


def test_a_metadata_filter_needs_all_keys_and_values() -> None:
    """A missing key, another value, or no metadata at all does not pass."""
    wanted = MetadataFilter({"tenant": "a", "tags": ["x", {"y": None}]})
    whole = {"tenant": "a", "tags": ["x", {"y": None}], "more": 1}
    assert admits(wanted, metadata=whole)
    assert not admits(wanted, metadata={**whole, "tenant": "b"})
    assert not admits(wanted, metadata={"tenant": "a"})
    assert not admits(wanted, metadata=None)
    assert not admits(MetadataFilter({"key": None}), metadata={})


def test_metadata_are_read_once_and_only_when_asked_for() -> None:
    """A message that fails by its type never has its metadata read."""
    reads = []

    def read() -> dict[str, Any]:
        reads.append(1)
        return {"a": 1, "b": 2}

    both = MetadataFilter({"a": 1}) & MetadataFilter({"b": 2})
    screen = compile_filter((TypeFilter([Order]) & both).to_wire())
    assert not screen.admits(Subject(lineage(Refund), "BUS", read), 0.0)
    assert reads == []
    assert screen.admits(Subject(lineage(Order), "BUS", read), 0.0)
    assert reads == [1]


def test_a_rate_filter_admits_its_burst_rejects_beyond_and_recovers() -> None:
    """Three at once, then two a second, and after a long rest three again."""
    screen = compile_filter(RateFilter(2, burst=3).to_wire())

    def passed(now: float) -> int:
        return sum(screen.admits(subject(), now) for _ in range(10))

    assert [passed(now) for now in (100, 100, 100.25, 100.5, 101, 101.5, 200)] == [3, 0, 0, 1, 1, 1, 3]


def test_rates_per_type_are_independent() -> None:
    """One type's flood leaves the other's burst alone; without `per_type` all share one."""
    screen = compile_filter(RateFilter(1, burst=2, per_type=True).to_wire())
    assert [screen.admits(subject(Order), 0) for _ in range(3)] == [True, True, False]
    assert [screen.admits(subject(Refund), 0) for _ in range(3)] == [True, True, False]
    shared = compile_filter(RateFilter(1, burst=2).to_wire())
    assert [shared.admits(subject(one), 0) for one in (Order, Refund, Order)] == [True, True, False]


def test_a_flood_of_types_takes_bounded_memory() -> None:
    """The bucket of the type that was silent for the longest goes first."""
    screen: Any = compile_filter(RateFilter(1, per_type=True).to_wire())
    for number in range(2 * BUCKETS):
        assert screen.admits(Subject(f"type{number}", "BUS", dict), 0.0)
        assert screen.admits(Subject("steady", "BUS", dict), 0.0) is (number == 0)
    assert len(screen._buckets) == BUCKETS


def test_a_rate_is_spent_only_by_what_reaches_it() -> None:
    """Filters are evaluated from left to right, no further than needed; Not admits what is beyond."""
    screen = compile_filter((TypeFilter([Order]) & RateFilter(1)).to_wire())
    assert [screen.admits(subject(one), 0) for one in (Refund, Order, Order)] == [False, True, False]
    screen = compile_filter((TypeFilter([Order]) | RateFilter(1)).to_wire())
    assert [screen.admits(subject(one), 0) for one in (Order, Refund, Refund)] == [True, True, False]
    screen = compile_filter((~RateFilter(1)).to_wire())
    assert [screen.admits(subject(), 0) for _ in range(3)] == [False, True, True]


LEAVES: list[tuple[Filter, bool]] = [
    (TypeFilter([Order]), True),
    (TypeFilter([Refund]), False),
    (SessionFilter(["s"]), True),
    (PatternFilter("refund"), False),
    (MetadataFilter({"a": 1}), True),
]


@st.composite
def trees(draw: st.DrawFn, depth: int = 3) -> tuple[Filter, bool]:
    """A filter, and whether it admits the message of the test."""
    kind = draw(st.sampled_from(["leaf", "all", "any", "not", "and", "or"])) if depth else "leaf"
    if kind == "leaf":
        return draw(st.sampled_from(LEAVES))
    parts = [draw(trees(depth - 1)) for _ in range(draw(st.integers(1, 3)))]
    filters, answers = [part for part, _ in parts], [answer for _, answer in parts]
    if kind == "not":
        return ~filters[0], not answers[0]
    if kind == "and":
        return filters[0] & filters[-1], answers[0] and answers[-1]
    if kind == "or":
        return filters[0] | filters[-1], answers[0] or answers[-1]
    return (AllOf(*filters), all(answers)) if kind == "all" else (AnyOf(*filters), any(answers))


@given(trees())
def test_filters_compose(tree: tuple[Filter, bool]) -> None:
    """All, any and not, by name or by operator, to any reasonable depth."""
    filter, expected = tree
    assert admits(filter, OrderPlaced, session="s", metadata={"a": 1}) is expected


def test_what_lasts_is_known() -> None:
    """Answers by type and session may be kept with a route; those by metadata or rate may not."""
    lasting = AllOf(TypeFilter(), SessionFilter(), Not(PatternFilter("x")))
    assert compile_filter(lasting.to_wire()).lasting
    for passing in (MetadataFilter({"a": 1}), RateFilter(1)):
        assert not compile_filter((lasting & passing).to_wire()).lasting
        assert not compile_filter((lasting | ~passing).to_wire()).lasting


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: PatternFilter("("), "unclosed group"),
        (lambda: PatternFilter(exclude=["(a)\\1"]), "backreferences"),
        (lambda: PatternFilter("(?=a)"), "look-around"),
        (lambda: PatternFilter("(x{1000}){1000}"), "size limit"),
        (lambda: TypeFilter([int]), "int"),  # type: ignore[list-item]  # the mistake
        (lambda: TypeFilter([Message]), "Message"),
        (lambda: TypeFilter([""]), "empty"),
        (lambda: SessionFilter([1]), "1"),  # type: ignore[list-item]  # the mistake
        (lambda: SessionFilter(1), "1"),  # type: ignore[arg-type]  # the mistake
        (lambda: MetadataFilter(1), "1"),  # type: ignore[arg-type]  # the mistake
        (lambda: MetadataFilter({"a": 1 << 70}), "cannot be sent"),
        (lambda: MetadataFilter({}), "at least one"),
        (lambda: MetadataFilter({"a": object()}), "'a'"),
        (lambda: RateFilter(0), "rate"),
        (lambda: RateFilter(float("nan")), "rate"),
        (lambda: RateFilter(1, burst=0), "burst"),
        (AllOf, "at least one"),
        (AnyOf, "at least one"),
        (lambda: Not(print), "no filter"),  # type: ignore[arg-type]  # the mistake
    ],
)
def test_a_filter_that_cannot_work_is_refused_when_made(make: Any, named: str) -> None:
    """The error names what is wrong; nothing reaches a router."""
    with pytest.raises(InvalidFilter, match=named):
        make()


def test_filters_too_deep_within_one_another_are_refused() -> None:
    """So deep a one could exhaust the router's stack."""
    filter: Filter = TypeFilter([Command])
    for _ in range(DEPTH - 1):
        filter = ~filter
    with pytest.raises(InvalidFilter, match="deep"):
        Not(filter)


@pytest.mark.parametrize(
    "wire",
    [
        None,
        [],
        {},
        {"kind": "code"},
        {"kind": ["type"]},
        {"kind": "type", "include": "Order", "exclude": []},
        {"kind": "type", "include": []},
        {"kind": "rate", "rate": 1, "burst": 1, "per_type": False, "more": 1},
        {"kind": "all", "filters": 5},
        {"kind": "all", "filters": [None]},
        {"kind": "not"},
        {"kind": "pattern", "filter": {"kind": "all", "filters": []}},
    ],
)
def test_a_damaged_filter_is_refused(wire: Any) -> None:
    """What no filter has written raises InvalidFilter and nothing else."""
    with pytest.raises(InvalidFilter):
        compile_filter(wire)


def test_filters_are_values() -> None:
    """Equal filters are equal and hash alike, and show what they are made of."""
    one, other = (TypeFilter([Order]) & MetadataFilter({"a": 1}) for _ in range(2))
    assert (one, hash(one)) == (other, hash(other))
    assert repr(TypeFilter([Order])) == "TypeFilter(include=('shop.events.Order',), exclude=())"
