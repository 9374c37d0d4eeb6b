"""What is written into the store, as plain values; a batch of operations is committed whole or not at all.

Every operation may arrive twice and then changes nothing the second time. Times are nanoseconds since
1970; bodies stay opaque.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar


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


Operation = (
    PutJournal
    | HandlerDone
    | MarkHanded
    | PutLetter
    | DropLetters
    | PutSchedule
    | DropSchedule
    | PutSubscription
    | DropSubscription
)

_ROWS: dict[str, type[JournalRow] | type[LetterRow] | type[ScheduleRow]] = {
    "journal": JournalRow,
    "letter": LetterRow,
    "schedule": ScheduleRow,
}
_CLASSES: dict[str, Any] = {
    one.code: one
    for one in (
        PutJournal,
        HandlerDone,
        MarkHanded,
        PutLetter,
        DropLetters,
        PutSchedule,
        DropSchedule,
        PutSubscription,
        DropSubscription,
    )
}


def to_wire(operation: Operation) -> list[Any]:
    """`[code, fields]`, of msgpack values."""
    return [operation.code, asdict(operation)]


def from_wire(wire: list[Any]) -> Operation:
    """The operation; ValueError or TypeError for what is none."""
    code, values = wire
    if code not in _CLASSES:
        raise ValueError(f"the store has no operation {code!r}")
    if code in _ROWS:
        values = {"row": row_from_wire(_ROWS[code], values["row"])}
    elif code == "letters_gone":
        values = {"ids": tuple(values["ids"])}
    operation: Operation = _CLASSES[code](**values)
    return operation


def row_from_wire(row: type[Any], values: dict[str, Any]) -> Any:
    """A row of that class, its lists as tuples."""
    known = {one.name for one in fields(row)}
    made = {name: value for name, value in values.items() if name in known}
    if "pending" in made:
        made["pending"] = tuple(made["pending"])
    if "errors" in made:
        made["errors"] = tuple((kind, text, time) for kind, text, time in made["errors"])
    return row(**made)
