"""What sessions write. Whoever writes as (session, epoch) is refused with `Fenced` once another has it.

Epochs only rise: the process that activates a session chooses one above the session's, and above the
time, so that no two activations ever share one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Final

from llmgine.actors.store.rows import ApprovalRow, ApprovalState, TurnRow

# What `PutSession` may change.
CHANGEABLE: Final = frozenset({"state", "opening", "record", "pending", "turns", "messages", "active"})


@dataclass(frozen=True, slots=True)
class Activate:
    """Take the session for `owner`, from `expected` to `epoch`; refused where its epoch is another.

    `expected` is 0 for a session that is not there, which is made. What is left of its journal, where its
    row was set aside, is its own again.
    """

    code: ClassVar[str] = "activate"
    session: str
    expected: int
    epoch: int
    owner: str
    time: int


@dataclass(frozen=True, slots=True)
class PutSession:
    """New values of fields of the session's row: `state`, `opening`, `record`, `active`, and the counts."""

    code: ClassVar[str] = "session"
    session: str
    epoch: int
    changes: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AppendEntries:
    """Entries of the session's journal, numbered from `first` on; they follow on those that are there."""

    code: ClassVar[str] = "entries"
    session: str
    epoch: int
    first: int
    bodies: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class PutSnapshot:
    """What the entries up to `upto` come to; it takes their place, and that of an earlier snapshot."""

    code: ClassVar[str] = "snapshot"
    session: str
    epoch: int
    upto: int
    body: bytes


@dataclass(frozen=True, slots=True)
class SetEntriesAside:
    """The journal from `first` on goes to what is set aside, with the reason; it goes on from there.

    The snapshot goes too where it reaches to `first`, and with it all that builds on it.
    """

    code: ClassVar[str] = "entries_aside"
    session: str
    epoch: int
    first: int
    reason: str


@dataclass(frozen=True, slots=True)
class PutTurn:
    """Keep a turn, or what has become of it."""

    code: ClassVar[str] = "turn"
    epoch: int
    row: TurnRow

    @property
    def session(self) -> str:
        return self.row.session


@dataclass(frozen=True, slots=True)
class PutApproval:
    """Ask for leave; one that was asked for before stays as it is."""

    code: ClassVar[str] = "approval"
    epoch: int
    row: ApprovalRow

    @property
    def session(self) -> str:
        return self.row.session


@dataclass(frozen=True, slots=True)
class AnswerApproval:
    """Answer a pending approval; `AlreadyAnswered` where somebody has, or its time is over."""

    code: ClassVar[str] = "answer"
    id: str
    state: ApprovalState
    by: str
    note: str
    time: int


@dataclass(frozen=True, slots=True)
class PutBlob:
    """Keep a large value under its hash for as long as this session, or another, refers to it."""

    code: ClassVar[str] = "blob"
    session: str
    epoch: int
    hash: str
    body: bytes


@dataclass(frozen=True, slots=True)
class DropBlobs:
    """The session refers to these no more."""

    code: ClassVar[str] = "blobs_gone"
    session: str
    epoch: int
    hashes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeepCode:
    """Keep a session's code under its hash; it goes when no session's `record["code"]` names it."""

    code: ClassVar[str] = "code"
    hash: str
    body: bytes
    time: int


@dataclass(frozen=True, slots=True)
class DropSession:
    """Forget the session whole: its row, all that it wrote, and what the bus keeps in its scope."""

    code: ClassVar[str] = "session_gone"
    session: str
