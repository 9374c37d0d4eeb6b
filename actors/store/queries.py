"""What can be asked of the store: rows by what they have in common, and everything by pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from llmgine.actors.store.operations import SetAside
from llmgine.actors.store.rows import ApprovalRow, ApprovalState, LetterRow, SessionRow, SessionState

R = TypeVar("R")

LINEAGE_SEPARATOR: Final = "|"
# A page ends where its rows reach this, but has one row at least.
PAGE_BYTES: Final = 256 << 10
MAX_PAGE_ROWS: Final = 2_000


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which dead letters are meant; what is None says nothing.

    `handler` is the handler's name, `type` a wire name of the message's class or an ancestor; `since` and
    `until` are nanoseconds since 1970, of which the first belongs to the span.
    """

    handler: str | None = None
    reason: str | None = None
    session: str | None = None
    type: str | None = None
    since: int | None = None
    until: int | None = None

    def admits(self, row: LetterRow) -> bool:
        return (
            self.handler in (None, row.handler)
            and self.reason in (None, row.reason)
            and self.session in (None, row.session)
            and (self.type is None or self.type in row.lineage.split(LINEAGE_SEPARATOR))
            and (self.since is None or row.time >= self.since)
            and (self.until is None or row.time < self.until)
        )

    def to_wire(self) -> list[Any]:
        return [self.handler, self.reason, self.session, self.type, self.since, self.until]

    @classmethod
    def from_wire(cls, wire: list[Any]) -> LetterFilter:
        """The filter; TypeError for what is none."""
        return cls(*wire)


@dataclass(frozen=True, slots=True)
class SessionFilter:
    """Which sessions are meant; what is None says nothing.

    `pending` says whether there are turns that were taken on and have not ended; `prefix` begins the id,
    `part` stands in it, `parent` stands in the record.
    """

    state: SessionState | None = None
    pending: bool | None = None
    prefix: str | None = None
    parent: str | None = None
    part: str | None = None

    def admits(self, row: SessionRow) -> bool:
        return (
            self.state in (None, row.state)
            and self.pending in (None, row.pending > 0)
            and row.id.startswith(self.prefix or "")
            and self.parent in (None, row.record.get("parent"))
            and (self.part or "") in row.id
        )

    def to_wire(self) -> list[Any]:
        return [self.state, self.pending, self.prefix, self.parent, self.part]

    @classmethod
    def from_wire(cls, wire: list[Any]) -> SessionFilter:
        """The filter; TypeError for what is none."""
        return cls(*wire)


@dataclass(frozen=True, slots=True)
class ApprovalFilter:
    """Which approvals are meant; what is None says nothing."""

    state: ApprovalState | None = None
    session: str | None = None

    def admits(self, row: ApprovalRow) -> bool:
        return self.state in (None, row.state) and self.session in (None, row.session)

    def to_wire(self) -> list[Any]:
        return [self.state, self.session]

    @classmethod
    def from_wire(cls, wire: list[Any]) -> ApprovalFilter:
        """The filter; TypeError for what is none."""
        return cls(*wire)


@dataclass(frozen=True, slots=True)
class Entries:
    """Some entries of a journal with their numbers, which rise by one.

    `next` is the number after which the others follow, None at the end. `damage` says why the entry after
    the last one here cannot be read; then there is no `next`.
    """

    rows: tuple[tuple[int, bytes], ...]
    next: int | None = None
    damage: str | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """Some rows in their order.

    `next` is the cursor of those that follow, None at the end; `damaged` are rows that cannot be read,
    which are not among `rows`.
    """

    rows: tuple[R, ...]
    next: int | None
    damaged: tuple[SetAside, ...] = ()
