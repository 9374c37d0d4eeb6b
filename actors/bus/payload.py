"""Messages as bytes: msgpack with extension types for what plain msgpack cannot hold.

A body is `[time, trace, metadata, fields]`. The first three can be read without decoding the
fields. Values keep their Python type also where a field is declared Any: a tuple stays a tuple.
Enum members travel as their values, nested models as their fields; the registered class makes
them whole again.
"""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import msgpack
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import MultiHostUrl, Url

from llmgine.actors.bus.errors import BusError, UndecodableMessage, UnsendableMessage
from llmgine.actors.bus.messages import Message, lineage
from llmgine.providers.mistakes import mistakes

_DATETIME, _DATE, _TIME, _TIMEDELTA, _DECIMAL, _UUID, _SET, _FROZENSET, _TUPLE, _INTEGER, _COMPLEX = range(
    1, 12
)


def _pack(value: Any) -> bytes:
    # The default buffer of a quarter megabyte costs more than packing a small value.
    options: dict[str, Any] = {"default": _encode, "strict_types": True, "buf_size": 256}
    packed: bytes = msgpack.Packer(**options).pack(value)
    return packed


def _unpack(packed: bytes) -> Any:
    return msgpack.unpackb(packed, ext_hook=_decode, strict_map_key=False)


def _zoned(value: datetime | time) -> bytes:
    zone = value.tzinfo
    if isinstance(zone, ZoneInfo) and zone.key:
        return _pack([value.replace(tzinfo=None).isoformat(), zone.key, value.fold])
    return _pack([value.isoformat(), "", value.fold])


def _unzoned(kind: type[datetime] | type[time], packed: bytes) -> datetime | time:
    text, zone, fold = _unpack(packed)
    value = kind.fromisoformat(text).replace(fold=fold)
    return value.replace(tzinfo=ZoneInfo(zone)) if zone else value


def check_sendable(value: Any, what: str, refusal: type[BusError]) -> None:
    """Raises `refusal` where the value is not made of plain msgpack, as the bus's own messages are.

    One that cannot be encoded would stand in the way of all that is to be sent after it.
    """
    try:
        msgpack.packb(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise refusal(f"{what} cannot be sent: {error}") from None


# What subclasses of msgpack's own types travel as.
_ROOTS: tuple[Any, ...] = (str, int, float, bytes, dict, list, tuple)

_WRITERS: dict[type, Callable[[Any], Any]] = {
    datetime: lambda value: msgpack.ExtType(_DATETIME, _zoned(value)),
    date: lambda value: msgpack.ExtType(_DATE, value.isoformat().encode()),
    time: lambda value: msgpack.ExtType(_TIME, _zoned(value)),
    timedelta: lambda value: msgpack.ExtType(
        _TIMEDELTA, _pack([value.days, value.seconds, value.microseconds])
    ),
    Decimal: lambda value: msgpack.ExtType(_DECIMAL, str(value).encode()),
    UUID: lambda value: msgpack.ExtType(_UUID, value.bytes),
    set: lambda value: msgpack.ExtType(_SET, _pack(list(value))),
    frozenset: lambda value: msgpack.ExtType(_FROZENSET, _pack(list(value))),
    tuple: lambda value: msgpack.ExtType(_TUPLE, _pack(list(value))),
    int: lambda value: msgpack.ExtType(_INTEGER, str(value).encode()),
    complex: lambda value: msgpack.ExtType(_COMPLEX, _pack([value.real, value.imag])),
    bytearray: bytes,
    memoryview: bytes,
}


def _encode(value: Any) -> Any:
    """msgpack asks this for every value that is not exactly one of its own types."""
    writer = _WRITERS.get(type(value))
    if writer is not None:
        return writer(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, BaseModel):
        return value.model_dump(mode="python", round_trip=True, warnings=False)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, PurePath | Url | MultiHostUrl):
        return str(value)
    for kind in _ROOTS:
        if isinstance(value, kind):
            return kind(value)
    raise TypeError(f"{type(value).__module__}.{type(value).__qualname__} cannot cross to another process")


def _decode(code: int, data: bytes) -> Any:
    match code:
        case 1:
            return _unzoned(datetime, data)
        case 2:
            return date.fromisoformat(data.decode())
        case 3:
            return _unzoned(time, data)
        case 4:
            return timedelta(*_unpack(data))
        case 5:
            return Decimal(data.decode())
        case 6:
            return UUID(bytes=data)
        case 7:
            return set(_unpack(data))
        case 8:
            return frozenset(_unpack(data))
        case 9:
            return tuple(_unpack(data))
        case 10:
            return int(data)
        case 11:
            return complex(*_unpack(data))
    raise ValueError(f"unknown extension type {code}")


_PLAIN = frozenset(
    {str, int, float, bool, bytes, type(None), datetime, date, time, timedelta, Decimal, UUID, Any, complex}
    | {dict, list, set, frozenset, tuple}
)


def _is_plain(annotation: Any) -> bool:
    """Whether values of this annotation pack as they stand, without pydantic's serialisation."""
    if annotation in _PLAIN or annotation is ...:
        return True
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return True
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return True
    if origin in _PLAIN or origin in (typing.Union, types.UnionType):
        return all(_is_plain(argument) for argument in typing.get_args(annotation))
    return False


class Encoder:
    """Turns messages of one class into bodies; made once per class and client."""

    __slots__ = ("_class", "_max_bytes", "_packer", "_plain", "lineage", "name")

    def __init__(self, message_class: type[Message], max_bytes: int) -> None:
        self._class = message_class
        self._max_bytes = max_bytes
        self._packer = msgpack.Packer(default=_encode, strict_types=True)
        self.lineage = lineage(message_class)
        self.name = message_class.__wire_name__
        decorators = message_class.__pydantic_decorators__
        self._plain = (
            not decorators.field_serializers
            and not decorators.model_serializers
            and message_class.model_config.get("extra") != "allow"
            and all(
                _is_plain(field.annotation) and not field.exclude and not _serialises(field.metadata)
                for field in message_class.model_fields.values()
            )
        )

    def encode(self, message: Message, time: int, trace: bytes | None) -> bytes:
        """The body; raises UnsendableMessage naming class and field."""
        if self._plain:
            fields = message.__dict__.copy()
        else:
            fields = message.model_dump(mode="python", round_trip=True, warnings=False)
        del fields["session_id"]
        metadata = fields.pop("metadata", None)
        try:
            body: bytes = self._packer.pack([time, trace, metadata or None, fields])
        except Exception as error:
            # After a failure the packer's buffer is undefined.
            self._packer = msgpack.Packer(default=_encode, strict_types=True)
            raise self._unsendable({**fields, "metadata": metadata}, error) from error
        if len(body) > self._max_bytes:
            raise UnsendableMessage(
                f"{self._class.__qualname__} takes {len(body)} bytes, more than bus option"
                f" max_payload_bytes={self._max_bytes}; keep large data elsewhere and send a reference"
            )
        return body

    def _unsendable(self, fields: dict[str, Any], error: Exception) -> UnsendableMessage:
        for name, value in fields.items():
            try:
                _pack(value)
            except Exception as cause:
                return UnsendableMessage(f"{self._class.__qualname__}.{name} cannot be sent: {cause}")
        return UnsendableMessage(f"{self._class.__qualname__} cannot be sent: {error}")


def _serialises(metadata: list[Any]) -> bool:
    return any(
        type(item).__name__ in ("PlainSerializer", "WrapSerializer", "SerializeAsAny") for item in metadata
    )


class Decoder:
    """Makes messages of the registered class out of bodies, also out of unknown subclasses' bodies."""

    __slots__ = ("_class", "_known", "_validate")

    def __init__(self, message_class: type[Message]) -> None:
        self._class = message_class
        self._validate = message_class.__pydantic_validator__.validate_python
        forbids = message_class.model_config.get("extra") == "forbid"
        self._known = frozenset(message_class.model_fields) if forbids else None

    def decode(self, body: bytes, session: str, exact: bool) -> tuple[Message, int, bytes | None]:
        """The message, its time and its trace; `exact` where the body is of the very class.

        Raises UndecodableMessage, whatever is wrong with the bytes.
        """
        try:
            time, trace, metadata, fields = msgpack.unpackb(body, ext_hook=_decode, strict_map_key=False)
            if not exact and self._known is not None:
                fields = {name: value for name, value in fields.items() if name in self._known}
            fields["session_id"] = session
            if metadata is not None:
                fields["metadata"] = metadata
            message: Message = self._validate(fields, strict=False, by_alias=False, by_name=True)
        except ValidationError as error:
            raise UndecodableMessage(
                f"{self._class.__qualname__}: {error.error_count()} invalid: {mistakes(error, most=5)}"
            ) from error
        except Exception as error:
            raise UndecodableMessage(f"{self._class.__qualname__}: not a message body: {error}") from error
        return message, time, trace


class Body(typing.NamedTuple):
    """A body as plain values, nothing of it checked; values of classes that only the sender has are dicts."""

    time: int
    trace: bytes | None
    metadata: dict[str, Any]
    fields: dict[str, Any]


def read_body(body: bytes) -> Body:
    """What a body holds, without its class; raises UndecodableMessage."""
    try:
        time, trace, metadata, fields = _unpack(body)
        return Body(int(time), trace, dict(metadata or {}), dict(fields))
    except Exception as error:
        raise UndecodableMessage(f"not a message body: {error}") from error


def read_head(body: bytes) -> tuple[int, bytes | None, dict[str, Any]]:
    """Time, trace and metadata, without a look at the fields; raises UndecodableMessage."""
    try:
        unpacker = msgpack.Unpacker(ext_hook=_decode, strict_map_key=False, max_buffer_size=0)
        unpacker.feed(body)
        unpacker.read_array_header()
        time, trace, metadata = unpacker.unpack(), unpacker.unpack(), unpacker.unpack()
        return int(time), trace, dict(metadata or {})
    except Exception as error:
        raise UndecodableMessage(f"not a message body: {error}") from error


def stamped_again(body: bytes, time: int) -> bytes:
    """The same body with another time; raises UndecodableMessage."""
    unpacker = msgpack.Unpacker(ext_hook=_decode, strict_map_key=False, max_buffer_size=0)
    unpacker.feed(body)
    try:
        count = unpacker.read_array_header()
        unpacker.skip()
    except Exception as error:
        raise UndecodableMessage(f"not a message body: {error}") from error
    packer = msgpack.Packer(autoreset=False)
    packer.pack_array_header(count)
    packer.pack(time)
    return packer.bytes() + body[unpacker.tell() :]


class ResultCodec:
    """A command's result as bytes and back, by the R of its class."""

    __slots__ = ("_adapter", "_max_bytes", "_name")

    def __init__(self, name: str, result: Any, max_bytes: int) -> None:
        self._name = name
        self._max_bytes = max_bytes
        self._adapter: TypeAdapter[Any] | None = None if result is Any else TypeAdapter(result)

    def dump(self, value: Any) -> bytes:
        """Raises ValidationError where the value is no R, UnsendableMessage where it cannot cross."""
        if self._adapter is not None:
            value = self._adapter.dump_python(
                self._adapter.validate_python(value), mode="python", round_trip=True, warnings=False
            )
        try:
            packed = _pack(value)
        except Exception as error:
            raise UnsendableMessage(f"the result of {self._name} cannot be sent: {error}") from error
        if len(packed) > self._max_bytes:
            raise UnsendableMessage(
                f"the result of {self._name} takes {len(packed)} bytes, more than bus option"
                f" max_payload_bytes={self._max_bytes}"
            )
        return packed

    def load(self, packed: bytes) -> Any:
        value = _unpack(packed)
        return value if self._adapter is None else self._adapter.validate_python(value)
