"""The journal of a live session: writes what its turns say, in order and together, into the store.

What is appended within 20 ms is one batch, unless somebody flushes: a turn that is over sooner is written
once. Nothing else waits for it: a model is called before the writing of what was asked begins.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import msgpack

from llmgine.actors.sessions.errors import SessionMoved, TurnError
from llmgine.actors.sessions.journal.entries import Entry, write_entry
from llmgine.actors.sessions.journal.keeping import SessionStore
from llmgine.actors.sessions.journal.loading import Loaded
from llmgine.actors.sessions.journal.records import (
    ApprovalAsked,
    JournalRecord,
    TurnBegan,
    TurnEnded,
    TurnQueued,
)
from llmgine.actors.sessions.options import SessionOptions
from llmgine.actors.sessions.turns.events import TurnDone, TurnFailed, to_wire
from llmgine.actors.sessions.turns.turn import TurnState
from llmgine.actors.store import Fenced, OperationRefused, StoreError, StoreUnavailable
from llmgine.actors.store.operations import Operation
from llmgine.actors.store.rows import ApprovalRow, TurnRow
from llmgine.actors.store.session_operations import (
    AnswerApproval,
    AppendEntries,
    DropBlobs,
    PutApproval,
    PutBlob,
    PutSession,
    PutSnapshot,
    PutTurn,
)

logger = logging.getLogger(__name__)

# One batch is one message on a link, whose frames are bounded.
_MESSAGE_BYTES: Final = 8 << 20
# Seconds in which what is appended gathers to one batch.
_GATHERING: Final = 0.02


class StoreJournal:
    """Writes as (session, epoch); `state` is kept up to date with every record.

    Where another has the session by now, it is `closed`, and `on_fenced` is called.
    """

    def __init__(
        self,
        store: SessionStore,
        session_id: str,
        epoch: int,
        loaded: Loaded,
        options: SessionOptions,
        *,
        wall: Callable[[], int],
    ) -> None:
        self.closed = False
        self.on_fenced: Callable[[], None] = lambda: None
        self.state = loaded.state
        self._store = store
        self._session = session_id
        self._epoch = epoch
        self._options = options
        self._wall = wall
        self._head = loaded.head
        self._blobs = loaded.blobs
        self._rows = {turn_id: self._row(queued) for turn_id, queued in self.state.queue.items()}
        self._records: list[JournalRecord] = []
        self._changed: dict[str, TurnRow] = {}  # rows of turns that are to be written
        self._gathering: asyncio.TimerHandle | None = None
        self._asked: list[ApprovalRow] = []
        self._handed = self._settled = 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._overdue = False  # somebody has waited for too long, and nothing was settled since
        self._broken: StoreError | None = None
        self._since_snapshot = [loaded.entries, 0]  # entries and bytes
        self._snapshot_bytes = 0

    # What turns say.

    def append(self, record: JournalRecord) -> None:
        if self.closed:
            return
        self.state.note(record)
        if self._broken is not None:
            return
        self._records.append(record)
        match record:
            case TurnQueued(request=request):
                row = TurnRow(request.turn_id, self._session, "waiting", b"", created=record.accepted)
                self._rows[request.turn_id] = self._changed[request.turn_id] = row
            case TurnBegan(turn_id=turn_id, trace_id=trace):
                self.turn_is(turn_id, "running", trace=trace)
        self._soon()

    def ask(self, row: ApprovalRow) -> None:
        """Appends that a call waits for somebody's leave, together with what they will read."""
        if not self.closed:
            self._asked.append(row)
            self.append(ApprovalAsked(row.turn, row.id, row.call, row.reason))

    def close_approval(self, answer: AnswerApproval) -> None:
        """Nobody need answer it any more; one that somebody has answered stays so."""
        if not self.closed:
            self._store.write_soon([answer], _nothing, _kept_as_it_is)

    def turn_is(self, turn_id: str, state: TurnState, **changes: Any) -> None:
        """The turn's row has this state from now on."""
        row = self._rows.get(turn_id)
        if row is not None and not self.closed:
            self._rows[turn_id] = self._changed[turn_id] = replace(row, state=state, **changes)
            self._soon()

    def end(self, record: TurnEnded, event: TurnDone | TurnFailed) -> None:
        if self.closed:
            return
        outcome: bytes = msgpack.packb(to_wire(event))
        if len(outcome) > _MESSAGE_BYTES:
            outcome = msgpack.packb(to_wire(TurnFailed(_too_large(record.turn_id, len(outcome)))))
        self.turn_is(record.turn_id, record.outcome, outcome=outcome, ended=self._wall())
        self.append(record)

    async def flush(self) -> None:
        """Returns once all that was appended is durable; raises where it will not be, or not in time."""
        self._write()
        self._raise()
        if self._settled >= self._handed:
            return
        waiting = (self._handed, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout(self._options.store_timeout):
                await waiting[1]
        except TimeoutError:
            self._overdue = True
            raise self._late() from None
        finally:
            if waiting in self._waiting:
                self._waiting.remove(waiting)
        self._raise()

    # What its host does.

    @property
    def broken(self) -> bool:
        """Whether nothing that is appended from now on will ever be kept."""
        return self._broken is not None

    @property
    def trouble(self) -> StoreError | None:
        """Why nothing that is appended now would become durable."""
        if self._broken is not None:
            return self._broken
        return self._late() if self._overdue else None

    @property
    def has_grown(self) -> bool:
        """Whether the last snapshot is not all there is to read."""
        return bool(self._records or self._since_snapshot[0])

    def snapshot(self) -> None:
        """Hands over what the session comes to, in place of the entries so far."""
        if self.closed or self.broken:
            return
        self._write()
        taken = self.state.to_snapshot(self._options.blob_bytes)
        self._since_snapshot = [0, 0]
        self._snapshot_bytes = len(taken.body)
        if len(taken.body) > _MESSAGE_BYTES:
            logger.warning("session %s is too large for one snapshot; its journal stays", self._session)
            return
        self._keep_blobs(taken)
        unused = self._blobs - taken.blobs.keys()
        self._blobs -= unused
        operations: list[Operation] = [PutSnapshot(self._session, self._epoch, self._head, taken.body)]
        if unused:
            operations.append(DropBlobs(self._session, self._epoch, tuple(sorted(unused))))
        self._hand_over(operations)

    def put(self, **changes: Any) -> None:
        """Changes the session's own row."""
        if not self.closed:
            self._write()
            self._hand_over([PutSession(self._session, self._epoch, changes)])

    def close(self) -> None:
        """Writes no more; what was handed over still arrives."""
        self.closed = True
        self._records.clear()
        self._changed.clear()
        self._asked.clear()
        if self._gathering is not None:
            self._gathering.cancel()
        self._wake()

    # Writing.

    def _soon(self) -> None:
        if self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(_GATHERING, self._write)

    def _write(self) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        if self.closed or not (self._records or self._changed):
            return
        try:
            self._write_batch()
        except Exception as error:  # what cannot be written down must not pass for kept
            logger.exception("session %s has what no journal can hold", self._session)
            self._broken = self._broken or OperationRefused(f"it cannot be kept: {error}")
            self._wake()

    def _write_batch(self) -> None:
        records, self._records = self._records, []
        changed, self._changed = self._changed, {}
        asked, self._asked = self._asked, []
        bodies: list[bytes] = []
        for record in records:
            entry = write_entry(record, self._options.blob_bytes)
            self._keep_blobs(entry)
            bodies.append(entry.body)
            if isinstance(record, TurnQueued):
                turn_id = record.request.turn_id
                row = self._rows[turn_id] = replace(self._rows[turn_id], request=entry.body)
                changed[turn_id] = row
        operations: list[Operation] = []
        if bodies:
            operations.append(AppendEntries(self._session, self._epoch, self._head + 1, tuple(bodies)))
        operations += [PutTurn(self._epoch, row) for row in changed.values()]
        operations += [PutApproval(self._epoch, row) for row in asked]
        if changed:
            operations.append(PutSession(self._session, self._epoch, self._counts()))
        self._head += len(bodies)
        self._since_snapshot[0] += len(bodies)
        self._since_snapshot[1] += sum(map(len, bodies))
        self._hand_over(operations, [row.id for row in changed.values() if row.ended is not None])
        if self._is_snapshot_due():
            self.snapshot()

    def _is_snapshot_due(self) -> bool:
        entries, size = self._since_snapshot
        # A large session takes its snapshots more rarely: each is as large as itself.
        return entries >= self._options.snapshot_entries or size >= max(
            self._options.snapshot_bytes, self._snapshot_bytes
        )

    def _counts(self) -> dict[str, Any]:
        state = self.state
        return {
            "pending": len(state.queue),
            "turns": state.turns,
            "messages": len(state.context),
            "active": self._wall(),
        }

    def _keep_blobs(self, entry: Entry) -> None:
        operations: list[Operation] = []
        size = 0
        for name, body in entry.blobs.items():
            if name in self._blobs:
                continue
            self._blobs.add(name)
            if operations and size + len(body) > _MESSAGE_BYTES:
                self._hand_over(operations)
                operations, size = [], 0
            operations.append(PutBlob(self._session, self._epoch, name, body))
            size += len(body)
        if operations:
            self._hand_over(operations)

    def _hand_over(self, operations: list[Operation], ended: Sequence[str] = ()) -> None:
        self._handed += 1
        try:
            self._store.write_soon(operations, partial(self._done, ended), self._failed)
        except StoreError as error:
            self._failed(error)

    def _done(self, ended: Sequence[str]) -> None:
        for turn_id in ended:
            self._rows.pop(turn_id, None)
        self._settled += 1
        self._overdue = False
        self._wake()

    def _failed(self, error: StoreError) -> None:
        self._settled += 1
        if not self.closed:
            if isinstance(error, Fenced):
                self.close()
                self.on_fenced()
            else:
                # What comes behind it would not follow on what is there.
                logger.error("session %s is not kept any more: %s", self._session, error)
                self._broken = self._broken or error
        self._wake()

    def _wake(self) -> None:
        for until, future in self._waiting:
            if not future.done() and (self.closed or self._broken or self._settled >= until):
                future.set_result(None)

    def _raise(self) -> None:
        if self.closed:
            raise SessionMoved(f"session {self._session!r} is not in this process any more")
        if self._broken is not None:
            raise self._broken

    def _late(self) -> StoreUnavailable:
        why = self._store.away or "it does not answer"
        return StoreUnavailable(
            f"the store has not kept the turn within {self._options.store_timeout:g} s "
            f"(sessions.store_timeout): {why}; `llmgine status` shows its state"
        )

    def _row(self, queued: TurnQueued) -> TurnRow:
        request = write_entry(queued, self._options.blob_bytes).body
        turn_id, running = queued.request.turn_id, self.state.progress
        row = TurnRow(turn_id, self._session, "waiting", request, created=queued.accepted)
        if running is None or running.turn_id != turn_id:
            return row
        return replace(row, state="running", trace=running.began.trace_id)


def _too_large(turn_id: str, size: int) -> TurnError:
    return TurnError(
        f"turn {turn_id} has ended, and its reply of {size} bytes is too large to be told again; what was "
        "answered is in the session's history()"
    )


def _nothing() -> None:
    """Nobody waits for it."""


def _kept_as_it_is(error: StoreError) -> None:
    logger.info("an approval was not closed: %s", error)
