"""Operations gathered by what they do, so that each kind is one statement for many rows. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from llmgine.actors.store import operations as ops
from llmgine.actors.store.rows import JournalRow, LetterRow, ResponseRow, ScheduleRow
from llmgine.actors.store.session_operations import DropBlobs, DropSession, PutBlob, SetEntriesAside
from llmgine.actors.store.session_plan import SessionRun

Last = ops.SetAside | SetEntriesAside | DropSession | ops.DropResponses


@dataclass(slots=True)
class Run:
    """Operations that may be done in the order of these fields as well as in their own."""

    journal: list[JournalRow] = field(default_factory=list)
    handed: list[str] = field(default_factory=list)
    done: list[tuple[str, str]] = field(default_factory=list)
    journal_gone: list[str] = field(default_factory=list)
    letters: list[LetterRow] = field(default_factory=list)
    letters_gone: list[str] = field(default_factory=list)
    schedules: list[ScheduleRow] = field(default_factory=list)
    schedules_gone: list[str] = field(default_factory=list)
    subscriptions: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    subscriptions_gone: list[str] = field(default_factory=list)
    responses: dict[str, ResponseRow] = field(default_factory=dict)
    notes: dict[str, ops.KeepNote] = field(default_factory=dict)
    sessions: SessionRun = field(default_factory=SessionRun)
    last: Last | None = None


def runs_of(operations: Iterable[ops.Operation]) -> list[Run]:
    """The operations in their order, but gathered as far as that makes no difference.

    Whatever changes or takes away a row comes after all rows that are put in; a row that is put in
    after its like was changed or taken away therefore begins another run. So does what follows rows
    that were set aside, or a session or a pool's answers that were dropped, for these are taken away last.
    """
    runs = [Run()]
    changed: set[tuple[str, str]] = set()
    for operation in operations:
        put = _put(operation)
        if runs[-1].last or put in changed:
            runs.append(Run())
            changed.clear()
        if put is None:
            changed.update(_changed(operation))
        _gather(runs[-1], operation)
    return runs


def _put(operation: ops.Operation) -> tuple[str, str] | None:
    """Kind and id of the row that the operation puts in."""
    match operation:
        case ops.PutJournal(row) | ops.PutLetter(row) | ops.PutSchedule(row):
            return operation.code, row.id
        case ops.PutSubscription(key):
            return operation.code, key
        case PutBlob(session, _, hash):
            return operation.code, f"{session}/{hash}"
    return None


def _changed(operation: ops.Operation) -> list[tuple[str, str]]:
    """Kind and id of each row that the operation changes or takes away."""
    match operation:
        case ops.HandlerDone(message) | ops.MarkHanded(message) | ops.DropJournal(message):
            return [(ops.PutJournal.code, message)]
        case ops.DropLetters(ids):
            return [(ops.PutLetter.code, id) for id in ids]
        case ops.DropSchedule(id):
            return [(ops.PutSchedule.code, id)]
        case ops.DropSubscription(key):
            return [(ops.PutSubscription.code, key)]
        case DropBlobs(session, _, hashes):
            return [(PutBlob.code, f"{session}/{hash}") for hash in hashes]
    return []


def _gather(run: Run, operation: ops.Operation) -> None:
    match operation:
        case ops.PutJournal(row):
            run.journal.append(row)
        case ops.HandlerDone(message, key):
            run.done.append((message, key))
        case ops.MarkHanded(message):
            run.handed.append(message)
        case ops.DropJournal(message):
            run.journal_gone.append(message)
        case ops.PutLetter(row):
            run.letters.append(row)
        case ops.DropLetters(ids):
            run.letters_gone.extend(ids)
        case ops.PutSchedule(row):
            run.schedules.append(row)
        case ops.DropSchedule(id):
            run.schedules_gone.append(id)
        case ops.PutSubscription(key, record):
            run.subscriptions.append((key, record))
        case ops.DropSubscription(key):
            run.subscriptions_gone.append(key)
        case ops.KeepResponse(row):
            run.responses.pop(row.key, None)
            run.responses[row.key] = row
        case ops.KeepNote(name):
            run.notes[name] = operation
        case ops.SetAside() | SetEntriesAside() | DropSession() | ops.DropResponses():
            run.last = operation
        case _:
            run.sessions.gather(operation)
