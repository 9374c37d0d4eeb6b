"""Where a session's records go, and where it finds them again: as much of the store as sessions use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from llmgine.actors.sessions.journal.records import JournalRecord, TurnEnded
from llmgine.actors.sessions.turns.events import TurnDone, TurnFailed
from llmgine.actors.store import StoreError
from llmgine.actors.store.operations import Operation
from llmgine.actors.store.rows import ApprovalRow, SessionRow, TurnRow


class Journal(Protocol):
    """The session's own record of what it does.

    `append` only hands a record over; `flush` returns when all that was handed over is durable, and
    raises where it will not be. Once `closed` nothing is written any more: the session lives elsewhere,
    or sleeps, and whatever still runs here must neither go on nor be told.
    """

    @property
    def closed(self) -> bool: ...

    def append(self, record: JournalRecord) -> None: ...

    def end(self, record: TurnEnded, event: TurnDone | TurnFailed) -> None:
        """Appends a turn's last record, together with what its readers are told."""
        ...

    async def flush(self) -> None: ...


class SessionStore(Protocol):
    """A `StoreClient`, as far as sessions use it."""

    away: str | None

    async def write(self, operations: Sequence[Operation], *, timeout: float | None = None) -> None: ...

    def write_soon(
        self,
        operations: Sequence[Operation],
        on_done: Callable[[], None],
        on_failed: Callable[[StoreError], None],
    ) -> None: ...

    async def session(self, id: str, /) -> SessionRow | None: ...

    async def snapshot(self, session: str, /) -> tuple[int, bytes] | None: ...

    def entries(self, session: str, after: int = 0, /) -> AsyncIterator[tuple[tuple[int, bytes], ...]]: ...

    async def turn(self, session: str, id: str, /) -> TurnRow | None: ...

    async def approval(self, id: str, /) -> ApprovalRow | None: ...

    async def blob(self, hash: str, /) -> bytes | None: ...
