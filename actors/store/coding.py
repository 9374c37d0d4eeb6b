"""Rows and operations as msgpack values and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, Final

from llmgine.actors.store import operations as ops
from llmgine.actors.store import session_operations as session_ops
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

# The last field of these operations is a row.
_ROWS: Final[dict[Any, type[Row]]] = {
    ops.PutJournal: JournalRow,
    ops.PutLetter: LetterRow,
    ops.PutSchedule: ScheduleRow,
    session_ops.PutTurn: TurnRow,
    session_ops.PutApproval: ApprovalRow,
    ops.KeepResponse: ResponseRow,
}
# The last field of these is a tuple.
_TUPLES: Final = (ops.DropLetters, session_ops.AppendEntries, session_ops.DropBlobs)
_CLASSES: Final[dict[str, Any]] = {one.code: one for one in ops.Operation.__args__}
_ROW_BYTES: Final = 256


def to_wire(operation: ops.Operation) -> list[Any]:
    """`[code, values]`, of msgpack values in the order of the fields."""
    values = _READERS[type(operation)](operation)
    if type(operation) in _ROWS:
        values = [*values[:-1], row_to_wire(values[-1])]
    return [operation.code, values]


def from_wire(wire: Sequence[Any]) -> ops.Operation:
    """The operation; ValueError or TypeError for what is none."""
    code, values = wire
    made = _CLASSES.get(code)
    if made is None:
        raise ValueError(f"the store has no operation {code!r}")
    row = _ROWS.get(made)
    if row is not None:
        values = [*values[:-1], row_from_wire(row, values[-1])]
    elif made in _TUPLES:
        values = [*values[:-1], tuple(values[-1])]
    operation: ops.Operation = made(*values)
    return operation


def row_to_wire(row: Row) -> Sequence[Any]:
    """The row's fields in their order."""
    return _READERS[type(row)](row)


def row_from_wire(row: type[Any], values: Sequence[Any]) -> Any:
    """A row of that class, its lists as tuples; TypeError where the fields are not its own."""
    made = list(values)
    if len(made) != _COUNTS[row]:
        raise TypeError(f"a {row.__name__} has {_COUNTS[row]} fields, not {len(made)}")
    if row is JournalRow:
        made[_PENDING] = tuple(made[_PENDING])
    elif row is LetterRow:
        made[_ERRORS] = tuple((kind, text, time) for kind, text, time in made[_ERRORS])
    return row(*made)


def size_of(operation: ops.Operation) -> int:
    """About how many bytes the operation takes up on its way and in memory."""
    match operation:
        case ops.PutJournal(row) | ops.PutLetter(row) | ops.PutSchedule(row) | ops.KeepResponse(row):
            return _ROW_BYTES + len(row.body)
        case session_ops.PutTurn(_, turn):
            return _ROW_BYTES + len(turn.request) + len(turn.outcome or b"")
        case session_ops.PutApproval(_, approval):
            return _ROW_BYTES + len(approval.arguments)
        case session_ops.PutSnapshot() | session_ops.PutBlob() | session_ops.KeepCode() | ops.KeepNote():
            return _ROW_BYTES + len(operation.body)
        case session_ops.AppendEntries():
            return _ROW_BYTES + sum(map(len, operation.bodies))
        case ops.DropLetters(ids) | session_ops.DropBlobs(hashes=ids):
            return _ROW_BYTES * (1 + len(ids))
    return _ROW_BYTES


def _reader(of: type[Any]) -> Callable[[Any], Sequence[Any]]:
    names = [one.name for one in fields(of)]
    read = attrgetter(*names)
    return read if len(names) > 1 else lambda value: (read(value),)


_ALL_ROWS: Final = (*_ROWS.values(), SessionRow)
_READERS: Final = {one: _reader(one) for one in (*_ALL_ROWS, *_CLASSES.values())}
_COUNTS: Final = {row: len(fields(row)) for row in _ALL_ROWS}
_PENDING: Final = [one.name for one in fields(JournalRow)].index("pending")
_ERRORS: Final = [one.name for one in fields(LetterRow)].index("errors")
