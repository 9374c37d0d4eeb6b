"""What the store's operations mean, as plain values: the measure of every engine. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from llmgine.actors.store import operations as ops
from llmgine.actors.store import session_operations as session_ops
from llmgine.actors.store.fencing import Fence
from llmgine.actors.store.numbered import Rows
from llmgine.actors.store.response_ledger import ResponseLedger
from llmgine.actors.store.retention import KEEP_ALL, Retention
from llmgine.actors.store.rows import JournalRow, LetterRow, ScheduleRow
from llmgine.actors.store.session_ledger import SessionLedger

MAX_ASIDE: Final = 1_000
KEY_SEPARATOR: Final = "\x1f"


class Ledger:
    """The state that a row of operations leads to; one that was taken before changes nothing.

    The newest `max_letters` dead letters are kept, the newest of what was set aside, and of models' answers
    as much as `retention` says.
    """

    def __init__(self, max_letters: int = 10_000, retention: Retention = KEEP_ALL) -> None:
        self.journal: Rows[JournalRow] = Rows()
        self.letters: Rows[LetterRow] = Rows()
        self.schedules: Rows[ScheduleRow] = Rows()
        self.subscriptions: Rows[dict[str, Any]] = Rows()
        self.aside: Rows[ops.SetAside] = Rows()
        self.responses = ResponseLedger()
        self.notes: Rows[ops.KeepNote] = Rows()
        self.sessions = SessionLedger()
        self.max_letters = max_letters
        self.retention = retention
        self._aside_of: dict[str, str] = {}  # whose session each of what was set aside is

    def copy(self) -> Ledger:
        """Another one in the same state, which goes its own way."""
        twin = Ledger(self.max_letters, self.retention)
        plain = ("journal", "letters", "schedules", "subscriptions", "aside", "responses", "notes")
        for name in (*plain, "sessions", "_aside_of"):
            setattr(twin, name, getattr(self, name).copy())
        return twin

    def apply(self, operations: Iterable[ops.Operation]) -> None:
        """Takes the operations as one batch; where it is refused it raises and nothing is changed."""
        self.take(operations)
        self.trim()

    def take(self, operations: Iterable[ops.Operation]) -> None:
        """As `apply`, for one batch of a group: what is too much stays until the group is whole."""
        fence = Fence(self.sessions.standing, self.sessions.approvals.get)
        for operation in fence.admit(operations):
            self._carry_out(operation)

    def trim(self) -> None:
        """Drops what is more than is kept."""
        _keep_newest(self.letters, self.max_letters)
        _keep_newest(self.aside, MAX_ASIDE)
        self.responses.trim(self.retention.responses, self.retention.response_bytes)

    def expire(self, letters_before: int) -> int:
        """Removes the dead letters of an earlier time; how many there were."""
        return self.letters.drop_where(lambda row: row.time < letters_before)

    def tidy(self, now: int, retention: Retention) -> None:
        """Removes what has grown too old, or is more than is kept, of sessions, and what has expired."""
        self.responses.expire(now)
        self.notes.drop_where(lambda note: note.expires <= now)
        for session in self.sessions.expire(now, retention):
            self._drop_session(session)

    def _carry_out(self, operation: ops.Operation) -> None:
        match operation:
            case ops.PutJournal(row):
                if row.id not in self.journal:
                    self.journal.put(row.id, row)
            case ops.HandlerDone(message, key):
                self._done(message, key)
            case ops.MarkHanded(message):
                if message in self.journal:
                    self.journal.put(message, replace(self.journal[message], handed=True))
            case ops.DropJournal(message):
                self.journal.drop(message)
            case ops.PutLetter(row):
                self.letters.put(row.id, row)
            case ops.DropLetters(ids):
                for id in ids:
                    self.letters.drop(id)
            case ops.PutSchedule(row):
                self.schedules.put(row.id, row)
            case ops.DropSchedule(id):
                self.schedules.drop(id)
            case ops.PutSubscription(key, record):
                self.subscriptions.put(key, record)
            case ops.DropSubscription(key):
                self.subscriptions.drop(key)
            case ops.KeepResponse(row):
                self.responses.put(row)
            case ops.DropResponses(pool):
                self.responses.drop_pool(pool)
            case ops.KeepNote(name):
                self.notes.put(name, operation)
            case ops.SetAside():
                self._set_aside(operation)
            case session_ops.SetEntriesAside():
                for name in self.sessions.cut(operation.session, operation.first):
                    self._shelve(operation.session, ops.SetAside("entry", name, operation.reason))
            case session_ops.DropSession(session):
                self._drop_session(session)
            case _:
                self.sessions.carry_out(operation)

    def _done(self, message: str, key: str) -> None:
        row = self.journal.get(message)
        if row is None or key not in row.pending:
            return
        left = tuple(one for one in row.pending if one != key)
        if left:
            self.journal.put(message, replace(row, pending=left))
        else:
            self.journal.drop(message)

    def _set_aside(self, operation: ops.SetAside) -> None:
        shelves: dict[str, Rows[Any]] = {
            ops.PutJournal.code: self.journal,
            ops.PutLetter.code: self.letters,
            ops.PutSchedule.code: self.schedules,
            ops.PutSubscription.code: self.subscriptions,
            **self.sessions.shelves(),
        }
        row = shelves[operation.kind].get(operation.id) if operation.kind in shelves else None
        if row is not None:
            shelves[operation.kind].drop(operation.id)
            self._shelve(_session_of(operation, row), operation)

    def _shelve(self, session: str, operation: ops.SetAside) -> None:
        id = f"{operation.kind} {operation.id}"
        self.aside.drop(id)
        self.aside.put(id, operation)
        self._aside_of[id] = session

    def _drop_session(self, session: str) -> None:
        self.sessions.drop(session)
        for rows in (self.journal, self.letters, self.schedules):
            rows.drop_where(lambda row: row.session == session)
        for key in [key for key in self.subscriptions if key.split(KEY_SEPARATOR)[0] == session]:
            self.subscriptions.drop(key)
        for id in [id for id in self.aside if self._aside_of[id] == session]:
            self.aside.drop(id)
        self._aside_of = {id: whose for id, whose in self._aside_of.items() if id in self.aside}


def _session_of(operation: ops.SetAside, row: Any) -> str:
    if operation.kind == ops.PutSubscription.code:
        return operation.id.split(KEY_SEPARATOR)[0]
    session: str = operation.id if operation.kind == session_ops.PutSession.code else row.session
    return session


def _keep_newest(rows: Rows[Any], most: int) -> None:
    while len(rows) > most:
        rows.drop(next(iter(rows)))
