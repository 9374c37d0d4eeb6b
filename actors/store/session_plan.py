"""Operations of sessions gathered by what they do, as those of the bus are in `plan`. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from llmgine.actors.store import operations as ops
from llmgine.actors.store import session_operations as session_ops
from llmgine.actors.store.rows import ApprovalRow, TurnRow


@dataclass(slots=True)
class SessionRun:
    """Admitted operations that may be done in the order of these fields as well as in their own."""

    activated: list[session_ops.Activate] = field(default_factory=list)
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    entries: list[tuple[str, int, bytes]] = field(default_factory=list)
    snapshots: dict[str, session_ops.PutSnapshot] = field(default_factory=dict)
    turns: dict[str, TurnRow] = field(default_factory=dict)
    approvals: list[ApprovalRow] = field(default_factory=list)
    answers: list[session_ops.AnswerApproval] = field(default_factory=list)
    blobs: list[session_ops.PutBlob] = field(default_factory=list)
    blobs_gone: list[tuple[str, str]] = field(default_factory=list)
    code: list[session_ops.KeepCode] = field(default_factory=list)

    def gather(self, operation: ops.Operation) -> None:
        match operation:
            case session_ops.AppendEntries(session, _, first, bodies):
                self.entries += [(session, number, body) for number, body in enumerate(bodies, first)]
            case session_ops.PutSession(session, _, changes):
                self.changes.setdefault(session, {}).update(changes)
            case session_ops.PutTurn(_, turn):
                self.turns[turn.key] = turn
            case session_ops.Activate():
                self.activated.append(operation)
            case session_ops.PutSnapshot(session):
                self.snapshots[session] = operation
            case session_ops.PutApproval(_, approval):
                self.approvals.append(approval)
            case session_ops.AnswerApproval():
                self.answers.append(operation)
            case session_ops.PutBlob():
                self.blobs.append(operation)
            case session_ops.DropBlobs(session, _, hashes):
                self.blobs_gone += [(session, hash) for hash in hashes]
            case session_ops.KeepCode():
                self.code.append(operation)
