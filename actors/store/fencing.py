"""Which batches are refused, decided before a group is written. Pure.

A session has one writer at a time, an approval one answer. A batch that another has overtaken changes
nothing; what of a batch is there already is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from llmgine.actors.store import operations as ops
from llmgine.actors.store import session_operations as session_ops
from llmgine.actors.store.errors import AlreadyAnswered, Fenced, OperationRefused, StoreError, UnknownApproval
from llmgine.actors.store.rows import ApprovalRow
from llmgine.actors.store.session_operations import CHANGEABLE

ANSWERS: Final = ("approved", "denied", "expired")


@dataclass(frozen=True, slots=True)
class Standing:
    """Whose a session is, and how far its journal and its snapshot reach; epoch 0 is nobody's."""

    epoch: int = 0
    owner: str = ""
    head: int = 0
    upto: int = 0


NOWHERE: Final = Standing()

Sessions = Callable[[str], Standing]
Approvals = Callable[[str], ApprovalRow | None]


class Fence:
    """Admits batch after batch, each by what those before it came to.

    `session` and `approval` say how things stand before the first of them.
    """

    def __init__(self, session: Sessions, approval: Approvals) -> None:
        self._session = session
        self._approval = approval
        self.sessions: dict[str, Standing] = {}
        self._approvals: dict[str, ApprovalRow | None] = {}
        self._gone: set[str] = set()

    def admit(self, operations: Iterable[ops.Operation]) -> list[ops.Operation]:
        """The operations that change something; raises where the batch is refused."""
        trial: Fence | None = None
        admitted: list[ops.Operation] = []
        for operation in operations:
            judge = _JUDGES.get(type(operation))
            effect: ops.Operation | None = operation
            if judge is not None:
                trial = trial or Fence(self.session, self.approval)
                effect = judge(trial, operation)
            if effect is not None:
                admitted.append(effect)
        if trial is not None:
            self._learn(trial)
        return admitted

    def _learn(self, trial: Fence) -> None:
        self._forget(trial._gone)
        self.sessions.update(trial.sessions)
        self._approvals.update(trial._approvals)

    def _forget(self, sessions: set[str]) -> None:
        self._gone |= sessions
        lost = [id for id, row in self._approvals.items() if row is not None and row.session in sessions]
        self._approvals.update(dict.fromkeys(lost))

    def session(self, id: str) -> Standing:
        return self.sessions.get(id) or self._session(id)

    def approval(self, id: str) -> ApprovalRow | None:
        if id in self._approvals:
            return self._approvals[id]
        row = self._approval(id)
        return None if row is None or row.session in self._gone else row

    # Judges: the operation in effect, None where it changes nothing.

    def _activate(self, operation: session_ops.Activate) -> ops.Operation | None:
        now = self.session(operation.session)
        if now.epoch and (now.epoch, now.owner) == (operation.epoch, operation.owner):
            return None
        if now.epoch != operation.expected or operation.epoch <= now.epoch:
            raise _fenced(operation.session, now, operation.expected)
        self.sessions[operation.session] = replace(now, epoch=operation.epoch, owner=operation.owner)
        return operation

    def _put_session(self, operation: session_ops.PutSession) -> ops.Operation | None:
        self._owned(operation)
        if unknown := operation.changes.keys() - CHANGEABLE:
            raise OperationRefused(f"a session's {', '.join(sorted(map(str, unknown)))} cannot be set")
        return operation

    def _append(self, operation: session_ops.AppendEntries) -> ops.Operation | None:
        now = self._owned(operation)
        known = now.head + 1 - operation.first
        if known < 0:
            raise OperationRefused(
                f"the journal of session {operation.session!r} ends at {now.head}: what is appended begins "
                f"at {now.head + 1}, not at {operation.first}"
            )
        if known >= len(operation.bodies):
            return None
        if known:
            operation = replace(operation, first=now.head + 1, bodies=operation.bodies[known:])
        head = now.head + len(operation.bodies)
        self.sessions[operation.session] = Standing(now.epoch, now.owner, head, now.upto)
        return operation

    def _snapshot(self, operation: session_ops.PutSnapshot) -> ops.Operation | None:
        now = self._owned(operation)
        if operation.upto > now.head:
            raise OperationRefused(
                f"the journal of session {operation.session!r} ends at {now.head}; a snapshot of "
                f"{operation.upto} entries cannot be"
            )
        if operation.upto < now.upto:
            return None
        self.sessions[operation.session] = replace(now, upto=operation.upto)
        return operation

    def _set_entries_aside(self, operation: session_ops.SetEntriesAside) -> ops.Operation | None:
        now = self._owned(operation)
        head, upto = min(now.head, operation.first - 1), now.upto
        if operation.first <= now.upto:
            head = upto = 0
        self.sessions[operation.session] = replace(now, head=head, upto=upto)
        return operation

    def _owned(self, operation: Any) -> Standing:
        now = self.session(operation.session)
        if now.epoch != operation.epoch or not now.epoch:
            raise _fenced(operation.session, now, operation.epoch)
        return now

    def _if_owned(self, operation: Any) -> ops.Operation | None:
        self._owned(operation)
        taken: ops.Operation = operation
        return taken

    def _put_approval(self, operation: session_ops.PutApproval) -> ops.Operation | None:
        self._owned(operation)
        known = self.approval(operation.row.id)
        if known is None:
            self._approvals[operation.row.id] = operation.row
            return operation
        if known.session != operation.session:
            raise OperationRefused(f"the approval {known.id!r} is one of session {known.session!r}")
        return None

    def _answer(self, operation: session_ops.AnswerApproval) -> ops.Operation | None:
        row = self.approval(operation.id)
        if row is None:
            raise UnknownApproval(
                f"there is no approval {operation.id!r}; its session was deleted, or it is long over"
            )
        if operation.state not in ANSWERS:
            raise OperationRefused(f"an approval is {', '.join(ANSWERS)}, not {operation.state!r}")
        if (row.state, row.by, row.answered) == (operation.state, operation.by, operation.time):
            return None
        if (refusal := _why_not(row, operation)) is not None:
            raise refusal
        self._approvals[row.id] = replace(
            row, state=operation.state, by=operation.by, note=operation.note, answered=operation.time
        )
        return operation

    def _set_aside(self, operation: ops.SetAside) -> ops.Operation | None:
        if operation.kind == session_ops.PutSession.code:
            self.sessions[operation.id] = replace(self.session(operation.id), epoch=0, owner="")
        elif operation.kind == session_ops.PutApproval.code:
            self._approvals[operation.id] = None
        return operation

    def _drop_session(self, operation: session_ops.DropSession) -> ops.Operation | None:
        self.sessions[operation.session] = NOWHERE
        self._forget({operation.session})
        return operation


_JUDGES: Final[dict[type, Callable[[Fence, Any], ops.Operation | None]]] = {
    session_ops.Activate: Fence._activate,
    session_ops.PutSession: Fence._put_session,
    session_ops.AppendEntries: Fence._append,
    session_ops.PutSnapshot: Fence._snapshot,
    session_ops.SetEntriesAside: Fence._set_entries_aside,
    session_ops.PutTurn: Fence._if_owned,
    session_ops.PutApproval: Fence._put_approval,
    session_ops.AnswerApproval: Fence._answer,
    session_ops.PutBlob: Fence._if_owned,
    session_ops.DropBlobs: Fence._if_owned,
    session_ops.DropSession: Fence._drop_session,
    ops.SetAside: Fence._set_aside,
}


def mentioned(operations: Iterable[ops.Operation]) -> tuple[set[str], set[str]]:
    """The sessions and the approvals on whose standing it depends whether these are refused."""
    sessions: set[str] = set()
    approvals: set[str] = set()
    for operation in operations:
        match operation:
            case session_ops.AnswerApproval(id):
                approvals.add(id)
            case session_ops.PutApproval(_, row):
                approvals.add(row.id)
                sessions.add(row.session)
            case ops.SetAside(kind, id):
                if kind == session_ops.PutSession.code:
                    sessions.add(id)
            case _ if type(operation) in _JUDGES:
                sessions.add(operation.session)  # type: ignore[union-attr]  # all others have one
    return sessions, approvals


def _fenced(session: str, now: Standing, epoch: int) -> StoreError:
    if not now.epoch:
        return Fenced(f"session {session!r} is not in the store: it was never activated, or was deleted")
    return Fenced(f"session {session!r} is at epoch {now.epoch}, of {now.owner!r}, and not at {epoch}")


def _why_not(row: ApprovalRow, operation: session_ops.AnswerApproval) -> AlreadyAnswered | None:
    if row.state != "pending":
        by = f" by {row.by!r}" if row.by else ""
        return AlreadyAnswered(f"the approval {row.id!r} was {row.state}{by} at {_date(row.answered or 0)}")
    if row.expires is not None and row.expires <= operation.time and operation.state != "expired":
        return AlreadyAnswered(f"the approval {row.id!r} expired at {_date(row.expires)}")
    return None


def _date(time: int) -> str:
    return datetime.fromtimestamp(time / 1e9, UTC).isoformat(timespec="seconds")
