"""Dead letters as users see them, and the event that tells of each."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, ClassVar, Literal, get_args

from llmgine.actors.bus.errors import UndecodableMessage
from llmgine.actors.bus.messages import LINEAGE_SEPARATOR, Event
from llmgine.actors.bus.payload import read_body
from llmgine.actors.store.rows import LetterRow

Reason = Literal[
    "handler",  # the handler raised or returned a failure, as often as it may be tried
    "deadline",  # each attempt took too long and was cancelled
    "stuck",  # an attempt took too long and cannot be cancelled
    "cancelled",  # the handler was cancelled by something else
    "undecodable",  # the body does not validate as the registered class
    "invalid",  # a validation before the handler refused it, or its result is not what the class says
    "expired",  # a command's own deadline passed, or a scheduled event came too late
    "overflow",  # no room in the mailbox within the time that its policy allows
    "dropped",  # made room for a newer event of its durable handler
    "depth",  # too many publishes caused one another
    "breaker",  # the handler's breaker was open for too long
    "no_handler",  # nobody handles it, or its subscription went
    "outcome_unknown",  # the handler's process died with a command in hand
    "store",  # a durable message that the store did not take
]

REASONS: tuple[str, ...] = get_args(Reason)

DEAD_LETTERED = "llmgine.DeadLettered"


class DeadLettered(Event):
    """A message did not reach one of its handlers, or that handler could not handle it; `letter` is its id.

    It belongs to the session of that message. No such event is about another one of its kind.
    """

    __wire_name__: ClassVar[str] = DEAD_LETTERED

    letter: str
    message: str
    type: str
    handler: str
    reason: str
    attempts: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class LetterError:
    """How one attempt failed; `kind` is the exception's class name or the reason."""

    kind: str
    text: str
    time: datetime


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up for one handler.

    `id` names the letter in `show`, `replay` and `discard`, `message` the message itself; `type` is its
    wire name, `time` when it was given up. `fields` and `metadata` are plain values, for the message's
    class need not be known here; both are empty where `undecodable` says why.
    """

    id: str
    message: str
    type: str
    session: str
    handler: str
    command: bool
    reason: str
    attempts: int
    errors: tuple[LetterError, ...]
    time: datetime
    published: datetime
    metadata: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    undecodable: str = ""
    row: LetterRow | None = field(default=None, repr=False, compare=False)

    @classmethod
    def from_row(cls, row: LetterRow) -> DeadLetter:
        metadata: dict[str, Any] = {}
        fields: dict[str, Any] = {}
        undecodable = ""
        try:
            body = read_body(row.body)
            metadata, fields = body.metadata, body.fields
        except UndecodableMessage as error:
            undecodable = str(error)
        return cls(
            id=row.id,
            message=row.message,
            type=row.lineage.partition(LINEAGE_SEPARATOR)[0],
            session=row.session,
            handler=row.handler,
            command=row.command,
            reason=row.reason,
            attempts=row.attempts,
            errors=tuple(LetterError(kind, text, moment(at)) for kind, text, at in row.errors),
            time=moment(row.time),
            published=moment(row.published),
            metadata=metadata,
            fields=fields,
            undecodable=undecodable,
            row=row,
        )

    def to_json(self) -> dict[str, Any]:
        """Everything as values that JSON has."""
        values: dict[str, Any] = {
            "id": self.id,
            "message": self.message,
            "type": self.type,
            "session": self.session,
            "handler": self.handler,
            "command": self.command,
            "reason": self.reason,
            "attempts": self.attempts,
            "errors": [{"kind": one.kind, "text": one.text, "time": one.time} for one in self.errors],
            "time": self.time,
            "published": self.published,
            "metadata": self.metadata,
            "fields": self.fields,
        }
        if self.undecodable:
            values["undecodable"] = self.undecodable
            values["body"] = self.row.body if self.row is not None else b""
        plain: dict[str, Any] = to_plain(values)
        return plain


def moment(time: int) -> datetime:
    """Nanoseconds since 1970 as a time in UTC, cut to microseconds."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time // 1_000)


def to_plain(value: Any) -> Any:
    """The value in JSON's own types: bytes as base64, times as ISO texts, endless numbers as texts."""
    match value:
        case None | bool() | str() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case bytes():
            return base64.b64encode(value).decode("ascii")
        case Mapping():
            return {_key(name): to_plain(inner) for name, inner in value.items()}
        case list() | tuple():
            return [to_plain(inner) for inner in value]
        case set() | frozenset():
            return sorted((to_plain(inner) for inner in value), key=str)
        case Decimal():
            return str(value)
    return str(value)


def _key(name: Any) -> str:
    return name if isinstance(name, str) else str(to_plain(name))
