"""Who sees every commit, and knows by itself what must never be committed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llmgine.actors.store import session_operations as ops
from llmgine.actors.store.batches import Batch, Refusal
from tests.simulation.sessions.account import Account

_FENCED = (
    ops.PutSession,
    ops.AppendEntries,
    ops.PutSnapshot,
    ops.SetEntriesAside,
    ops.PutTurn,
    ops.PutApproval,
    ops.PutBlob,
    ops.DropBlobs,
)
_ENDED = ("done", "failed", "cancelled")


class Witness:
    """One writer of a session at a time, journals without gaps, one end of a turn, one answer each."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._tickets: dict[str, int] = {}
        self._epochs: dict[str, int] = {}
        self._journals: dict[str, dict[int, bytes]] = {}
        self._ends: dict[tuple[str, str], Any] = {}
        self._answers: dict[str, Any] = {}
        # Called with each session that was written to.
        self.looks: list[Callable[[str], None]] = []

    def saw(self, batches: Sequence[Batch], refusals: Sequence[Refusal]) -> None:
        refused = {id(refusal.batch) for refusal in refusals}
        touched: dict[str, None] = {}
        for batch in batches:
            if batch.ticket <= self._tickets.get(batch.writer, 0):
                continue
            self._tickets[batch.writer] = batch.ticket
            if id(batch) in refused:
                self._account.counters["refused batches"] += 1
                self._account.tell(f"refused: {batch.writer}")
                continue
            for operation in batch.operations:
                self._take(batch.writer, operation)
                if isinstance(operation, _FENCED):
                    touched[operation.session] = None
        for session in touched:
            for look in self.looks:
                look(session)

    def _take(self, writer: str, operation: Any) -> None:
        match operation:
            case ops.Activate():
                self._activate(writer, operation)
            case ops.AnswerApproval(id):
                answer = (operation.state, operation.by, operation.time)
                former = self._answers.setdefault(id, answer)
                self._must(former == answer, 1, f"the approval {id} was answered {former} and {answer}")
            case ops.DropSession(session):
                self._forget(session)
            case _ if isinstance(operation, _FENCED):
                epoch = self._epochs.get(operation.session, 0)
                what = f"{writer} wrote {operation.code} of {operation.session} at {operation.epoch}"
                self._must(operation.epoch == epoch, 4, f"{what}, which is at {epoch}")
                self._write(operation)

    def _activate(self, writer: str, operation: ops.Activate) -> None:
        former = self._epochs.get(operation.session, 0)
        if operation.epoch == former:
            return
        session = operation.session
        self._must(
            operation.expected == former < operation.epoch,
            4,
            f"{writer} took {session} from {operation.expected} to {operation.epoch}, and it was at {former}",
        )
        self._account.counters["activations"] += 1
        self._account.tell(f"{session} is activated for {operation.owner} at {operation.epoch}")
        self._epochs[session] = operation.epoch

    def _write(self, operation: Any) -> None:
        match operation:
            case ops.AppendEntries(session, _, first, bodies):
                self._append(self._journals.setdefault(session, {}), session, first, bodies)
            case ops.PutSnapshot(session, _, upto):
                self._account.counters["snapshots"] += 1
                known = max(self._journals.get(session, {}), default=0)
                self._must(upto <= known, 2, f"a snapshot of {session} upto {upto} of {known} entries")
            case ops.SetEntriesAside(session, _, first, reason):
                self._must(False, 2, f"the journal of {session} from {first} on cannot be read: {reason}")
            case ops.PutSession(session, _, changes) if "state" in changes:
                said = {key: value for key, value in changes.items() if key != "record"}
                self._account.tell(f"{session} is {said}")
            case ops.PutTurn(_, row) if row.state in _ENDED:
                self._account.counters["turns kept"] += 1
                former = self._ends.get((row.session, row.id), row.state)
                self._ends[row.session, row.id] = row.state
                # An end that could not be kept in time, and of which nobody was told, may become another.
                settled = former == row.state or row.id not in self._account.told
                self._must(settled, 2, f"turn {row.id} ended {former}, was told so, and ended {row.state}")

    def _append(self, journal: dict[int, bytes], session: str, first: int, bodies: tuple[bytes, ...]) -> None:
        last = max(journal, default=0)
        self._must(first <= last + 1, 4, f"the journal of {session} has a gap between {last} and {first}")
        for number, body in enumerate(bodies, first):
            same = journal.setdefault(number, body) == body
            self._must(same, 4, f"entry {number} of {session} was written twice, and differs")

    def _forget(self, session: str) -> None:
        self._epochs.pop(session, None)
        self._journals.pop(session, None)
        for key in [key for key in self._ends if key[0] == session]:
            del self._ends[key]

    def _must(self, holds: bool, invariant: int, what: str) -> None:
        self._account.must(holds, invariant, what)
