"""What is written into the store; a batch of operations is committed whole or not at all.

Every operation may arrive twice and then changes nothing the second time. Times are nanoseconds since
1970; bodies stay opaque.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from llmgine.actors.store.rows import JournalRow, LetterRow, ResponseRow, ScheduleRow
from llmgine.actors.store.session_operations import (
    Activate,
    AnswerApproval,
    AppendEntries,
    DropBlobs,
    DropSession,
    KeepCode,
    PutApproval,
    PutBlob,
    PutSession,
    PutSnapshot,
    PutTurn,
    SetEntriesAside,
)


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


@dataclass(frozen=True, slots=True)
class KeepResponse:
    """Keep a model's answer, in place of the one that was kept for the same request."""

    code: ClassVar[str] = "response"
    row: ResponseRow


@dataclass(frozen=True, slots=True)
class DropResponses:
    """Forget every kept answer of a pool."""

    code: ClassVar[str] = "responses_gone"
    pool: str


@dataclass(frozen=True, slots=True)
class KeepNote:
    """Remember something small under a name, in place of what was remembered there, until it expires."""

    code: ClassVar[str] = "note"
    name: str
    body: bytes
    expires: int


BusOperation = (
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
SessionOperation = (
    Activate
    | PutSession
    | AppendEntries
    | PutSnapshot
    | SetEntriesAside
    | PutTurn
    | PutApproval
    | AnswerApproval
    | PutBlob
    | DropBlobs
    | KeepCode
    | DropSession
)
Operation = BusOperation | SessionOperation | KeepResponse | DropResponses | KeepNote
