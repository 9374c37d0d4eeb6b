"""What is written into the store, as plain values; a batch of operations is committed whole or not at all.

Every operation may arrive twice and then changes nothing the second time. Times are nanoseconds since
1970; bodies stay opaque.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, ClassVar, Final


@dataclass(frozen=True, slots=True)
class JournalRow:
    """A durable message until all of its durable handlers are done.

    `pending` are the keys of those handlers. `handed` says that a command was about to be given to its
    handler: after a crash nobody knows whether it ran.
    """

    producer: str
    epoch: int
    session: str
    sequence: int
    lineage: str
    flags: int
    depth: int
    body: bytes
    pending: tuple[str, ...]
    time: int
    replay_of: str | None = None
    handed: bool = False

    @property
    def id(self) -> str:
        return f"{self.producer}:{self.epoch}:{self.session}:{self.sequence}"


@dataclass(frozen=True, slots=True)
class LetterRow:
    """A message that did not reach one of its handlers, or that this handler could not handle.

    `id` is the message's id and the handler's name; `attempts` counts those made, `errors` holds each
    one's `[kind, text, time]`; `key` is the handler's in the table of subscriptions, "" where there was none.
    """

    id: str
    message: str
    lineage: str
    session: str
    handler: str
    key: str
    command: bool
    reason: str
    attempts: int
    errors: tuple[tuple[str, str, int], ...]
    time: int
    published: int
    trace: bytes | None
    body: bytes


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """An event that shall be published later, once or again and again.

    `at` is when it is due next, `fired` how often it has been published. Exactly one of `every`
    (seconds) and `cron` (with `zone`, an IANA name) is set for a recurring one. `until` ends it.
    """

    id: str
    session: str
    lineage: str
    body: bytes
    at: int
    fired: int = 0
    every: float | None = None
    cron: str | None = None
    zone: str = "UTC"
    misfire: str = "fire"
    until: int | None = None
    created: int = 0
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PutJournal:
    """Keep a durable message."""

    code: ClassVar[str] = "journal"
    row: JournalRow


@dataclass(frozen=True, slots=True)
class HandlerDone:
    """One durable handler of a kept message is done; the last one takes the message away."""

    code: ClassVar[str] = "done"
    message: str
    key: str


@dataclass(frozen=True, slots=True)
class MarkHanded:
    """A durable command is about to be given to its handler."""

    code: ClassVar[str] = "handed"
    message: str


@dataclass(frozen=True, slots=True)
class DropJournal:
    """A kept message that nobody shall get any more, whichever handlers are left."""

    code: ClassVar[str] = "journal_gone"
    message: str


@dataclass(frozen=True, slots=True)
class PutLetter:
    """Keep a dead letter."""

    code: ClassVar[str] = "letter"
    row: LetterRow


@dataclass(frozen=True, slots=True)
class DropLetters:
    """Dead letters that were handled after all, or discarded."""

    code: ClassVar[str] = "letters_gone"
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PutSchedule:
    """Keep a scheduled event, or move it on to its next time."""

    code: ClassVar[str] = "schedule"
    row: ScheduleRow


@dataclass(frozen=True, slots=True)
class DropSchedule:
    """A scheduled event that has fired for the last time, or was cancelled."""

    code: ClassVar[str] = "schedule_gone"
    id: str


@dataclass(frozen=True, slots=True)
class PutSubscription:
    """Keep a durable subscription, in its wire form."""

    code: ClassVar[str] = "subscription"
    key: str
    record: dict[str, Any]


@dataclass(frozen=True, slots=True)
class DropSubscription:
    """A durable subscription that was removed."""

    code: ClassVar[str] = "subscription_gone"
    key: str


@dataclass(frozen=True, slots=True)
class SetAside:
    """A row that its reader cannot understand goes to the damaged ones, with the reason.

    `kind` is the code of the operation that put it there, `id` what it is known by there.
    """

    code: ClassVar[str] = "aside"
    kind: str
    id: str
    reason: str


Row = JournalRow | LetterRow | ScheduleRow
Operation = (
    PutJournal
    | HandlerDone
    | MarkHanded
    | DropJournal
    | PutLetter
    | DropLetters
    | PutSchedule
    | DropSchedule
    | PutSubscription
    | DropSubscription
    | SetAside
)

_ROWS: Final[dict[str, type[Row]]] = {"journal": JournalRow, "letter": LetterRow, "schedule": ScheduleRow}
_CLASSES: Final[dict[str, Any]] = {one.code: one for one in Operation.__args__}


def _reader(of: type[Any]) -> Callable[[Any], Sequence[Any]]:
    names = [one.name for one in fields(of)]
    read = attrgetter(*names)
    return read if len(names) > 1 else lambda value: (read(value),)


_READERS: Final = {one: _reader(one) for one in (*_ROWS.values(), *_CLASSES.values())}


def to_wire(operation: Operation) -> list[Any]:
    """`[code, values]`, of msgpack values in the order of the fields."""
    if isinstance(operation, PutJournal | PutLetter | PutSchedule):
        return [operation.code, row_to_wire(operation.row)]
    return [operation.code, _READERS[type(operation)](operation)]


def from_wire(wire: Sequence[Any]) -> Operation:
    """The operation; ValueError or TypeError for what is none."""
    code, values = wire
    row = _ROWS.get(code)
    made = _CLASSES.get(code)
    if made is None:
        raise ValueError(f"the store has no operation {code!r}")
    operation: Operation
    if row is not None:
        operation = made(row_from_wire(row, values))
    elif made is DropLetters:
        operation = DropLetters(tuple(values[0]))
    else:
        operation = made(*values)
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


_COUNTS: Final = {row: len(fields(row)) for row in _ROWS.values()}
_PENDING: Final = [one.name for one in fields(JournalRow)].index("pending")
_ERRORS: Final = [one.name for one in fields(LetterRow)].index("errors")


def size_of(operation: Operation) -> int:
    """About how many bytes the operation takes up on its way and in memory."""
    if isinstance(operation, PutJournal | PutLetter | PutSchedule):
        return len(operation.row.body) + _ROW_BYTES
    if isinstance(operation, DropLetters):
        return _ROW_BYTES * (1 + len(operation.ids))
    return _ROW_BYTES


_ROW_BYTES: Final = 256
