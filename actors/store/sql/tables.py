"""The tables of the store, and its rows as they stand there."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final

import msgpack
import sqlalchemy as sa

from llmgine.actors.store.rows import JournalRow, LetterRow, Row, ScheduleRow

METADATA: Final = sa.MetaData()


def _number() -> sa.Column[int]:
    """Rows in the order of their arrival."""
    return sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True)


def _text(name: str, *, unique: bool = False, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, unique=unique or None, nullable=null)


def _integer(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=null)


def _bytes(name: str, *, null: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=null)


META: Final = sa.Table("meta", METADATA, sa.Column("name", sa.Text, primary_key=True), _text("value"))

WRITERS: Final = sa.Table(
    "writers",
    METADATA,
    sa.Column("writer", sa.Text, primary_key=True),
    _integer("ticket"),
    _integer("time"),
)

JOURNAL: Final = sa.Table(
    "journal",
    METADATA,
    _number(),
    _text("id", unique=True),
    _text("producer"),
    _integer("epoch"),
    _text("session"),
    _integer("sequence"),
    _text("lineage"),
    _integer("flags"),
    _integer("depth"),
    _bytes("body"),
    _bytes("pending"),
    _integer("time"),
    _text("replay_of", null=True),
    sa.Column("handed", sa.Boolean, nullable=False),
)

LETTERS: Final = sa.Table(
    "letters",
    METADATA,
    _number(),
    _text("id", unique=True),
    _text("message"),
    _text("lineage"),
    _text("session"),
    _text("handler"),
    _text("key"),
    sa.Column("command", sa.Boolean, nullable=False),
    _text("reason"),
    _integer("attempts"),
    _bytes("errors"),
    _integer("time"),
    _integer("published"),
    _bytes("trace", null=True),
    _bytes("body"),
    sa.Index("letters_by_time", "time"),
)

SCHEDULES: Final = sa.Table(
    "schedules",
    METADATA,
    _number(),
    _text("id", unique=True),
    _text("session"),
    _text("lineage"),
    _bytes("body"),
    _integer("at"),
    _integer("fired"),
    sa.Column("every", sa.Double, nullable=True),
    _text("cron", null=True),
    _text("zone"),
    _text("misfire"),
    _integer("until", null=True),
    _integer("created"),
    _bytes("extra"),
)

SUBSCRIPTIONS: Final = sa.Table(
    "subscriptions", METADATA, _number(), _text("key", unique=True), _bytes("record")
)

DAMAGED: Final = sa.Table(
    "damaged", METADATA, _number(), _text("kind"), _text("id"), _text("reason"), _bytes("content")
)

# Fields that hold more than one value stand packed.
_PACKED: Final = frozenset({"pending", "errors", "extra", "record"})
BY_ROW: Final[dict[type[Row], sa.Table]] = {
    JournalRow: JOURNAL,
    LetterRow: LETTERS,
    ScheduleRow: SCHEDULES,
}
BY_KIND: Final = {
    "journal": JOURNAL,
    "letter": LETTERS,
    "schedule": SCHEDULES,
    "subscription": SUBSCRIPTIONS,
}
# What a row of each kind is known by.
NAMES: Final = {
    "journal": JOURNAL.c.id,
    "letter": LETTERS.c.id,
    "schedule": SCHEDULES.c.id,
    "subscription": SUBSCRIPTIONS.c.key,
}
_TYPES: Final[dict[type[Any], type | tuple[type, ...]]] = {
    sa.Text: str,
    sa.BigInteger: int,
    sa.LargeBinary: bytes,
    sa.Boolean: bool,
    sa.Double: (int, float),
}


def pack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value)
    return packed


def journal_values(row: JournalRow) -> tuple[Any, ...]:
    """The values of the table's columns but the number, in their order."""
    return (
        row.id,
        row.producer,
        row.epoch,
        row.session,
        row.sequence,
        row.lineage,
        row.flags,
        row.depth,
        row.body,
        pack(row.pending),
        row.time,
        row.replay_of,
        row.handed,
    )


def values_of(row: LetterRow | ScheduleRow) -> dict[str, Any]:
    """The values of the row's columns by name."""
    return {
        one.name: pack(getattr(row, one.name)) if one.name in _PACKED else getattr(row, one.name)
        for one in fields(row)
    }


def row_of(kind: type[Row], found: sa.Row[Any]) -> Any:
    """The row as it was put in; ValueError, with the reason, for one that nobody here can have put in."""
    values = found._mapping
    return kind(**{one.name: _read(BY_ROW[kind].c[one.name], values[one.name]) for one in fields(kind)})


def record_of(found: sa.Row[Any]) -> dict[str, Any]:
    """A subscription's record; ValueError for what is none."""
    _read(SUBSCRIPTIONS.c.key, found.key)
    record: dict[str, Any] = _read(SUBSCRIPTIONS.c.record, found.record)
    return record


def _read(column: sa.Column[Any], value: Any) -> Any:
    if value is None and column.nullable:
        return None
    if not isinstance(value, _TYPES[type(column.type)]):
        raise ValueError(f"{column.name} is a {type(value).__name__}")
    if isinstance(value, str) and not value.isascii():
        value.encode()  # what is no UTF-8 was read with surrogates, which raises here
    if column.name not in _PACKED:
        return value
    try:
        unpacked = msgpack.unpackb(value)
    except Exception as error:  # msgpack has errors of many kinds
        raise ValueError(f"{column.name} cannot be unpacked: {error}") from None
    return _CHECKS[column.name](unpacked)


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(value)
    raise ValueError("pending is no list of texts")


def _errors(value: Any) -> tuple[tuple[str, str, int], ...]:
    if isinstance(value, list) and all(isinstance(one, list) and len(one) == 3 for one in value):
        return tuple((kind, text, time) for kind, text, time in value)
    raise ValueError("errors is no list of [kind, text, time]")


def _table(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    raise ValueError("it is no table of values")


_CHECKS: Final = {"pending": _texts, "errors": _errors, "extra": _table, "record": _table}
