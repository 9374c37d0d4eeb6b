"""Messages, their identity and names, and their way through bytes."""

from __future__ import annotations

import enum
import pickle
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, ClassVar, Generic, Literal, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError, computed_field, field_serializer

from llmgine.actors.bus import (
    Command,
    CommandFailed,
    CommandResult,
    Envelope,
    Event,
    NotPublished,
    UnsendableMessage,
    errors,
)
from llmgine.actors.bus.errors import AskRefused, UndecodableMessage
from llmgine.actors.bus.messages import BUS, lineage, result_type, stamp
from llmgine.actors.bus.payload import Decoder, Encoder, ResultCodec
from llmgine.actors.bus.schema import fingerprint
from llmgine.providers.errors import LlmgineError

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"


class Inner(BaseModel):
    size: int


class Rich(Event):
    moment: datetime
    day: date = date(2024, 2, 29)
    clock: time = time(1, 2, 3, 4)
    span: timedelta = timedelta(days=-1, microseconds=5)
    price: Decimal = Decimal("1.10")
    key: UUID = UUID(int=7)
    names: frozenset[str] = frozenset({"a"})
    pair: tuple[int, str] = (1, "x")
    blob: bytes = b"\x00\xff"
    huge: int = 2**100
    colour: Colour = Colour.RED
    anything: Any = None
    inner: Inner | None = None


class Wrapped(Event, Generic[T]):
    value: T


class Ask(Command[T], Generic[T]):
    pass


class AskNumber(Ask[int]):
    pass


def crossed(event: Event, target: type[Event] | None = None) -> Any:
    body = Encoder(type(event), 1 << 20).encode(event, 5, None)
    exact = target is None or target is type(event)
    return Decoder(target or type(event)).decode(body, event.session_id, exact)[0]


def test_a_message_is_frozen_and_has_no_identity_before_it_is_published() -> None:
    """Fields cannot be changed; id and timestamp say clearly that they do not exist yet."""
    event = Rich(moment=datetime.now(UTC))
    assert event.session_id == BUS
    with pytest.raises(ValidationError):
        event.price = Decimal(0)  # type: ignore[misc]
    with pytest.raises(NotPublished, match="publish"):
        _ = event.id
    with pytest.raises(NotPublished, match="Rich"):
        _ = event.timestamp


def test_identity_comes_from_the_envelope() -> None:
    """Id and aware UTC timestamp follow from the envelope; a copy has none."""
    event = Wrapped[int](value=1)
    stamp(event, Envelope("p", 3, "s", 9, 1_700_000_000_123_456_789))
    assert event.id == "p:3:s:9"
    assert event.timestamp == datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)
    assert event == Wrapped[int](value=1)
    with pytest.raises(NotPublished):
        _ = event.model_copy().id
    assert pickle.loads(pickle.dumps(AskNumber())) == AskNumber()


@pytest.mark.parametrize(
    "event",
    [
        Rich(moment=datetime(2024, 1, 1, tzinfo=UTC)),
        Rich(
            moment=datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
            inner=Inner(size=3),
        ),
        Rich(
            moment=datetime(2024, 1, 1),
            anything={"t": (1, (2,)), "s": {1, 2}, "u": UUID(int=1), (1, 2): Decimal(1)},
            metadata={"n": None, "d": datetime(2024, 1, 1, tzinfo=UTC)},
            session_id="s1",
        ),
    ],
)
def test_what_plain_msgpack_cannot_hold_crosses(event: Rich) -> None:
    """Dates, decimals, sets, tuples, enums, big integers and nested models arrive equal, also under Any."""
    got = crossed(event)
    assert got == event
    assert type(got.anything) is type(event.anything)
    assert got.moment.utcoffset() == event.moment.utcoffset()


leaves = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
values = st.recursive(
    leaves | st.decimals(allow_nan=False) | st.datetimes() | st.timedeltas() | st.uuids(),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner) | st.frozensets(leaves)
    ),
    max_leaves=10,
)


@given(values)
def test_any_nesting_of_plain_values_crosses(value: Any) -> None:
    """Whatever is made of the types that can cross arrives equal and of the same type."""
    got = crossed(Wrapped[Any](value=value)).value
    assert got == value
    assert type(got) is type(value)


def test_what_cannot_cross_is_refused_by_class_and_field() -> None:
    """An object that has no wire form, or a message over the bound, is refused naming what is wrong."""
    with pytest.raises(UnsendableMessage, match=r"Rich\.anything.*object"):
        crossed(Rich(moment=datetime(2024, 1, 1), anything=object()))
    encoder = Encoder(Rich, 1_000)
    with pytest.raises(UnsendableMessage, match="max_payload_bytes"):
        encoder.encode(Rich(moment=datetime(2024, 1, 1), blob=bytes(2_000)), 0, None)
    encoder.encode(Rich(moment=datetime(2024, 1, 1)), 0, None)


def test_serialisers_and_computed_fields_are_respected() -> None:
    """A class's own serialiser is used, computed fields are not sent."""

    class Odd(Event):
        model_config = ConfigDict(extra="forbid")
        secret: str

        @field_serializer("secret")
        def hide(self, value: str) -> str:
            return value[::-1]

        @computed_field  # type: ignore[prop-decorator]
        @property
        def length(self) -> int:
            return len(self.secret)

    assert crossed(Odd(secret="abc")).secret == "cba"


def test_a_subclass_arrives_as_the_registered_class() -> None:
    """Fields that the registered class does not know are left out, also where it forbids extras."""

    class Base(Event):
        model_config = ConfigDict(extra="forbid")
        a: int

    class Derived(Base):
        b: int

    got = crossed(Derived(a=1, b=2), Base)
    assert type(got) is Base
    assert got.a == 1


def test_garbage_is_undecodable() -> None:
    """Bytes that are no message, or do not validate, raise UndecodableMessage and nothing else."""
    decoder = Decoder(Rich)
    for body in (b"", b"\xc1", b"\x01", b"\x94\x00\xc0\xc0\x80", b"\x94\x00\xc0\xc0\xc7\x01\x02x"):
        with pytest.raises(UndecodableMessage, match="Rich"):
            decoder.decode(body, BUS, True)


def test_wire_names() -> None:
    """`__wire_name__` wins and is not inherited; else module and name; the lineage lists ancestors."""

    class Named(Event):
        __wire_name__: ClassVar[str] = "shop.Named"

    class Child(Named):
        pass

    assert lineage(Named) == "shop.Named|llmgine.Event"
    assert lineage(Child).split("|") == [
        f"{__name__}.test_wire_names.<locals>.Child",
        "shop.Named",
        "llmgine.Event",
    ]
    assert lineage(AskNumber).split("|")[0].endswith("AskNumber")
    assert "Command[" not in lineage(AskNumber)
    with pytest.raises(TypeError, match="wire_name"):

        class Bad(Event):
            __wire_name__: ClassVar[str] = "a|b"


def test_result_types() -> None:
    """R is found through subclasses and generic classes in between; Any where there is none."""
    assert result_type(AskNumber) is int
    assert result_type(Command) is Any
    codec = ResultCodec("X", list[Inner], 1_000)
    assert codec.load(codec.dump([Inner(size=1)])) == [Inner(size=1)]
    with pytest.raises(ValidationError):
        codec.dump("no list")


def test_fingerprints_see_fields_and_not_texts() -> None:
    """Equal fields give equal fingerprints, whatever the docstring; another type another one."""

    def make(kind: Any, text: str) -> type[Event]:
        return type(
            "Made", (Event,), {"__annotations__": {"title": kind}, "__doc__": text, "__module__": "m"}
        )

    assert fingerprint(make(int, "a")) == fingerprint(make(int, "b"))
    assert fingerprint(make(int, "a")) != fingerprint(make(Literal["x"], "a"))


def test_unwrap_raises_the_failure() -> None:
    """A failure can be turned into an exception by who wants one."""
    assert CommandResult.succeeded(3).unwrap() == 3
    with pytest.raises(CommandFailed, match="busy: later") as caught:
        CommandResult.failed("busy", "later", retryable=True).unwrap()
    assert caught.value.retryable


@pytest.mark.parametrize("kind", [kind for kind in vars(errors).values() if isinstance(kind, type)])
def test_every_error_survives_pickling(kind: type[Exception]) -> None:
    """Type, text and attributes are the same on the other side."""
    if kind is LlmgineError:
        return
    error = kind("kind", "text") if kind in (AskRefused, CommandFailed) else kind("text")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (str(again), again.__dict__) == (str(error), error.__dict__)
