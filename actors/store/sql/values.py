"""The store's rows as they stand in its tables, and back."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Final

import msgpack
import sqlalchemy as sa

from llmgine.actors.store.rows import (
    ApprovalRow,
    JournalRow,
    LetterRow,
    ResponseRow,
    Row,
    ScheduleRow,
    SessionRow,
    TurnRow,
)
from llmgine.actors.store.sql.tables import (
    APPROVALS,
    ENTRIES,
    JOURNAL,
    LETTERS,
    RESPONSES,
    SCHEDULES,
    SESSIONS,
    SUBSCRIPTIONS,
    TURNS,
)

# Fields that hold more than one value stand packed.
_PACKED: Final = frozenset({"pending", "errors", "extra", "record"})
BY_ROW: Final[dict[type[Row], sa.Table]] = {
    JournalRow: JOURNAL,
    LetterRow: LETTERS,
    ScheduleRow: SCHEDULES,
    SessionRow: SESSIONS,
    TurnRow: TURNS,
    ApprovalRow: APPROVALS,
    ResponseRow: RESPONSES,
}
# What a row of each kind is known by.
NAMES: Final[dict[str, sa.ColumnElement[str]]] = {
    "journal": JOURNAL.c.id,
    "letter": LETTERS.c.id,
    "schedule": SCHEDULES.c.id,
    "subscription": SUBSCRIPTIONS.c.key,
    "session": SESSIONS.c.id,
    "turn": TURNS.c.session + "/" + TURNS.c.id,
    "approval": APPROVALS.c.id,
}
BY_KIND: Final = {
    "journal": JOURNAL,
    "letter": LETTERS,
    "schedule": SCHEDULES,
    "subscription": SUBSCRIPTIONS,
    "session": SESSIONS,
    "turn": TURNS,
    "approval": APPROVALS,
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


def values_of(row: LetterRow | ScheduleRow | TurnRow | ApprovalRow | ResponseRow) -> dict[str, Any]:
    """The values of the row's columns by name."""
    return {
        one.name: pack(getattr(row, one.name)) if one.name in _PACKED else getattr(row, one.name)
        for one in fields(row)
    }


def row_of(kind: type[Row], found: sa.Row[Any]) -> Any:
    """The row as it was put in; ValueError, with the reason, for one that nobody here can have put in."""
    values, columns = found._mapping, BY_ROW[kind].c
    # A session's head is a question to its journal.
    return kind(
        **{one.name: _read(columns.get(one.name, ENTRIES.c.number), values[one.name]) for one in fields(kind)}
    )


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
    if column.name not in _PACKED or not isinstance(value, bytes):
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
