"""What stands in the store, as plain values. Times are nanoseconds since 1970; bodies stay opaque."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

SessionState = Literal["open", "closed"]
TurnState = Literal["waiting", "running", "suspended", "done", "failed", "cancelled"]
ApprovalState = Literal["pending", "approved", "denied", "expired"]


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
class SessionRow:
    """A session for as long as it is not deleted; `record` is what it was opened with.

    `epoch` and `owner` say whose it is to write, or was last. `opening` counts its openings, `head` is the
    number of the last entry of its journal, `pending` counts the turns taken on and not ended, `active` is
    the time of its last activity.
    """

    id: str
    epoch: int
    owner: str
    state: SessionState = "open"
    opening: int = 0
    record: dict[str, Any] = field(default_factory=dict)
    head: int = 0
    pending: int = 0
    turns: int = 0
    messages: int = 0
    created: int = 0
    active: int = 0


@dataclass(frozen=True, slots=True)
class TurnRow:
    """A turn from its acceptance on; `outcome` is the event that ended it, `ended` the time of that."""

    id: str
    session: str
    state: TurnState
    request: bytes
    outcome: bytes | None = None
    trace: str = ""
    created: int = 0
    ended: int | None = None

    @property
    def key(self) -> str:
        """What is unique in the store."""
        return f"{self.session}/{self.id}"


@dataclass(frozen=True, slots=True)
class ApprovalRow:
    """A tool call that waits for somebody's leave, and the answer; without `expires` it waits for ever."""

    id: str
    session: str
    turn: str
    call: str
    tool: str
    arguments: bytes
    reason: str
    state: ApprovalState = "pending"
    created: int = 0
    expires: int | None = None
    answered: int | None = None
    by: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class ResponseRow:
    """A model's answer that is kept for equal requests to one pool, under their hash."""

    key: str
    pool: str
    body: bytes
    made: int
    expires: int


BusRow = JournalRow | LetterRow | ScheduleRow
Row = BusRow | SessionRow | TurnRow | ApprovalRow | ResponseRow
