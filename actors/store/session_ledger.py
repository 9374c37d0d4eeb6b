"""What operations of sessions mean, as plain values, for operations that a `Fence` has admitted. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TypeVar

from llmgine.actors.store import operations as ops
from llmgine.actors.store import session_operations as session_ops
from llmgine.actors.store.fencing import Standing
from llmgine.actors.store.numbered import Rows
from llmgine.actors.store.retention import CODE_AGE, Retention
from llmgine.actors.store.rows import ApprovalRow, SessionRow, TurnRow

R = TypeVar("R")


class SessionLedger:
    """Every table of sessions; `rows` lack the head, which their journals have."""

    def __init__(self) -> None:
        self.rows: Rows[SessionRow] = Rows()
        self.entries: dict[str, dict[int, bytes]] = {}
        self.snapshots: dict[str, tuple[int, bytes]] = {}
        self.turns: Rows[TurnRow] = Rows()
        self.approvals: Rows[ApprovalRow] = Rows()
        self.blobs: dict[str, bytes] = {}
        self.references: dict[str, set[str]] = {}
        self.code: dict[str, tuple[bytes, int]] = {}

    def copy(self) -> SessionLedger:
        twin = SessionLedger()
        for name in ("rows", "snapshots", "turns", "approvals", "blobs", "code"):
            setattr(twin, name, getattr(self, name).copy())
        twin.entries = {session: dict(entries) for session, entries in self.entries.items()}
        twin.references = {session: set(hashes) for session, hashes in self.references.items()}
        return twin

    def shelves(self) -> dict[str, Rows[Any]]:
        """Rows that may be set aside, by the code of the operation that puts them there."""
        return {
            session_ops.PutSession.code: self.rows,
            session_ops.PutTurn.code: self.turns,
            session_ops.PutApproval.code: self.approvals,
        }

    def session(self, id: str) -> SessionRow | None:
        row = self.rows.get(id)
        return row and replace(row, head=self.head(id))

    def head(self, session: str) -> int:
        """The number of the journal's last entry, be it in the snapshot."""
        return next(reversed(self.entries.get(session, {})), self._upto(session))

    def standing(self, session: str) -> Standing:
        row = self.rows.get(session)
        epoch, owner = (row.epoch, row.owner) if row else (0, "")
        return Standing(epoch, owner, self.head(session), self._upto(session))

    def _upto(self, session: str) -> int:
        return self.snapshots[session][0] if session in self.snapshots else 0

    def carry_out(self, operation: ops.Operation) -> None:
        match operation:
            case session_ops.Activate():
                self._activate(operation)
            case session_ops.PutSession(session, _, changes):
                self.rows.put(session, replace(self.rows[session], **changes))
            case session_ops.AppendEntries(session, _, first, bodies):
                self.entries.setdefault(session, {}).update(enumerate(bodies, first))
            case session_ops.PutSnapshot(session, _, upto, body):
                self.snapshots[session] = (upto, body)
                left = {
                    number: body for number, body in self.entries.get(session, {}).items() if number > upto
                }
                self.entries[session] = left
            case session_ops.PutTurn(_, turn):
                self.turns.put(turn.key, turn)
            case session_ops.PutApproval(_, approval):
                self.approvals.put(approval.id, approval)
            case session_ops.AnswerApproval(id, state, by, note, time):
                answered = replace(self.approvals[id], state=state, by=by, note=note, answered=time)
                self.approvals.put(id, answered)
            case session_ops.PutBlob(session, _, hash, body):
                self.blobs.setdefault(hash, body)
                self.references.setdefault(session, set()).add(hash)
            case session_ops.DropBlobs(session, _, hashes):
                self.references.get(session, set()).difference_update(hashes)
                self._drop_unused(hashes)
            case session_ops.KeepCode(hash, body, time):
                self.code[hash] = (body, time)

    def cut(self, session: str, first: int) -> list[str]:
        """Takes the journal from `first` on away; what each of it is known by."""
        gone = []
        if session in self.snapshots and first <= self._upto(session):
            del self.snapshots[session]
            gone, first = [f"{session}/0"], 0
        entries = self.entries.get(session, {})
        numbers = [number for number in entries if number >= first]
        for number in numbers:
            del entries[number]
        return gone + [f"{session}/{number}" for number in numbers]

    def drop(self, session: str) -> None:
        self.rows.drop(session)
        self.entries.pop(session, None)
        self.snapshots.pop(session, None)
        self.turns.drop_where(lambda row: row.session == session)
        self.approvals.drop_where(lambda row: row.session == session)
        self._drop_unused(self.references.pop(session, ()))

    def expire(self, now: int, retention: Retention) -> list[str]:
        """Sessions that were closed too long ago, after all else that is too old was removed."""
        for row in list(self.approvals.values()):
            if row.state == "pending" and row.expires is not None and row.expires <= now:
                self.approvals.put(row.id, replace(row, state="expired", answered=row.expires))
        _keep(self.turns, lambda row: row.ended, now, retention)
        _keep(self.approvals, lambda row: row.answered, now, retention)
        named = {row.record.get("code") for row in self.rows.values()}
        for hash, (_, time) in list(self.code.items()):
            if hash not in named and time < now - CODE_AGE:
                del self.code[hash]
        if retention.session_age is None:
            return []
        before = now - retention.session_age
        return [row.id for row in self.rows.values() if row.state == "closed" and row.active < before]

    def _activate(self, operation: session_ops.Activate) -> None:
        row = self.rows.get(operation.session) or SessionRow(
            operation.session, 0, "", created=operation.time, active=operation.time
        )
        self.rows.put(row.id, replace(row, epoch=operation.epoch, owner=operation.owner))

    def _drop_unused(self, hashes: Iterable[str]) -> None:
        """Those of them that nobody refers to."""
        for hash in hashes:
            if not any(hash in named for named in self.references.values()):
                self.blobs.pop(hash, None)


def _keep(rows: Rows[R], ended: Callable[[Any], int | None], now: int, retention: Retention) -> None:
    """Drop what ended too long ago, and the oldest of what ended where a session has too much of it."""
    counts: dict[str, int] = {}
    for id, row in reversed([(id, row) for id, row in rows.items() if ended(row) is not None]):
        session = row.session  # type: ignore[attr-defined]  # turns and approvals alike
        counts[session] = counts.get(session, 0) + 1
        old = retention.turn_age is not None and (ended(row) or 0) < now - retention.turn_age
        if old or counts[session] > retention.turns:
            rows.drop(id)
