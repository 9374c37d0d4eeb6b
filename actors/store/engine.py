"""What keeps rows: an interface of blocking calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Protocol

from llmgine.actors.store.batches import Batch, Refusal
from llmgine.actors.store.operations import SetAside
from llmgine.actors.store.queries import ApprovalFilter, Entries, LetterFilter, Page, SessionFilter
from llmgine.actors.store.rows import (
    ApprovalRow,
    JournalRow,
    LetterRow,
    ResponseRow,
    ScheduleRow,
    SessionRow,
    TurnRow,
)

NS: Final = 1_000_000_000


class Engine(Protocol):
    """Where rows are kept. `commit` and `tidy` are called by one thread, the questions by another.

    All may raise `StoreUnavailable`, after which the same call may succeed, and `StoreDamaged`.
    """

    @property
    def blocks(self) -> bool:
        """Whether calls may take long, so that a loop must not make them itself."""
        ...

    def commit(self, batches: Sequence[Batch], now: int) -> list[Refusal]:
        """Keeps all batches, together, but those refused; what was committed before is not done again."""
        ...

    def tidy(self, now: int) -> bool:
        """Removes some of what is too old or too much, and gives space back; whether there is more to do.

        A commit may come in between, and no call takes long.
        """
        ...

    @property
    def sessions(self) -> SessionQuestions:
        """What is asked about sessions, as all questions by the other thread."""
        ...

    def last_message(self) -> int:
        """The number of the latest kept message."""
        ...

    def journal(self, after: int, upto: int, limit: int) -> Page[JournalRow]:
        """Kept messages in the order of their arrival, numbered above `after` and not above `upto`."""
        ...

    def letters(self, wanted: LetterFilter, before: int | None, limit: int) -> Page[LetterRow]:
        """Dead letters, the newest first, numbered below `before`."""
        ...

    def letter(self, id: str) -> LetterRow | None: ...

    def count_letters(self, wanted: LetterFilter) -> int: ...

    def schedules(self, after: int, limit: int) -> Page[ScheduleRow]: ...

    def subscriptions(self, after: int, limit: int) -> Page[dict[str, Any]]: ...

    def response(self, key: str) -> ResponseRow | None:
        """A model's answer that is kept, which may have expired."""
        ...

    def note(self, name: str) -> bytes | None:
        """What is remembered under that name."""
        ...

    def aside(self, limit: int) -> list[SetAside]:
        """What was set aside, the latest first."""
        ...

    def status(self) -> dict[str, Any]:
        """Where the rows are, how many of each kind, and what was removed; plain values."""
        ...

    def close(self) -> None: ...


class SessionQuestions(Protocol):
    """What an engine is asked about sessions. A page of one row, or none, where there is one at most."""

    def session(self, id: str) -> Page[SessionRow]: ...

    def sessions(self, wanted: SessionFilter, after: int, limit: int) -> Page[SessionRow]:
        """In the order of their making."""
        ...

    def newest_sessions(self, wanted: SessionFilter, before: int | None, limit: int) -> Page[SessionRow]:
        """The newest first, numbered below `before`."""
        ...

    def count_sessions(self, wanted: SessionFilter) -> int: ...

    def snapshot(self, session: str) -> tuple[int, bytes] | None:
        """The number of the last entry in it, and its body; `EntryDamaged` where it cannot be read."""
        ...

    def entries(self, session: str, after: int, limit: int) -> Entries: ...

    def turn(self, session: str, id: str) -> Page[TurnRow]: ...

    def turns(self, session: str, before: int | None, limit: int) -> Page[TurnRow]:
        """The newest first, numbered below `before`."""
        ...

    def approval(self, id: str) -> Page[ApprovalRow]: ...

    def approvals(self, wanted: ApprovalFilter, after: int, limit: int) -> Page[ApprovalRow]:
        """In the order of their asking."""
        ...

    def blob(self, hash: str) -> bytes | None: ...

    def code(self, hash: str) -> bytes | None: ...
