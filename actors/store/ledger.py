"""What the store's operations mean, as plain values: the measure of every engine. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from llmgine.actors.store import operations as ops

MAX_ASIDE: Final = 1_000

R = TypeVar("R")


class Rows(Mapping[str, R]):
    """Rows by their ids; each has a number for as long as it is here, in the order of arrival."""

    def __init__(self) -> None:
        self._rows: dict[str, R] = {}
        self._numbers: dict[str, int] = {}
        self._last = 0

    def __getitem__(self, id: str) -> R:
        return self._rows[id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def last(self) -> int:
        """The highest number ever given."""
        return self._last

    def numbered(self) -> Iterator[tuple[int, R]]:
        """The rows with their numbers, rising."""
        return zip(self._numbers.values(), self._rows.values(), strict=True)

    def put(self, id: str, row: R) -> None:
        """A row that is here keeps its number."""
        if id not in self._rows:
            self._last += 1
            self._numbers[id] = self._last
        self._rows[id] = row

    def drop(self, id: str) -> bool:
        """Whether it was here."""
        self._numbers.pop(id, None)
        return self._rows.pop(id, None) is not None

    def copy(self) -> Rows[R]:
        twin: Rows[R] = Rows()
        twin._rows, twin._numbers, twin._last = dict(self._rows), dict(self._numbers), self._last
        return twin


class Ledger:
    """The state that a row of operations leads to; one that was taken before changes nothing.

    The newest `max_letters` dead letters are kept, and the newest of what was set aside.
    """

    def __init__(self, max_letters: int = 10_000) -> None:
        self.journal: Rows[ops.JournalRow] = Rows()
        self.letters: Rows[ops.LetterRow] = Rows()
        self.schedules: Rows[ops.ScheduleRow] = Rows()
        self.subscriptions: Rows[dict[str, Any]] = Rows()
        self.aside: Rows[ops.SetAside] = Rows()
        self.max_letters = max_letters

    def copy(self) -> Ledger:
        """Another one in the same state, which goes its own way."""
        twin = Ledger(self.max_letters)
        for name in ("journal", "letters", "schedules", "subscriptions", "aside"):
            setattr(twin, name, getattr(self, name).copy())
        return twin

    def apply(self, operations: Iterable[ops.Operation]) -> None:
        """Takes the operations in their order; what is too much goes in the end."""
        for operation in operations:
            self._apply(operation)
        _keep_newest(self.letters, self.max_letters)
        _keep_newest(self.aside, MAX_ASIDE)

    def expire(self, before: int) -> int:
        """Removes the dead letters of an earlier time; how many there were."""
        expired = [id for id, row in self.letters.items() if row.time < before]
        return sum(map(self.letters.drop, expired))

    def _apply(self, operation: ops.Operation) -> None:
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
            case ops.SetAside():
                self._set_aside(operation)

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
        }
        if operation.kind in shelves and shelves[operation.kind].drop(operation.id):
            id = f"{operation.kind} {operation.id}"
            self.aside.drop(id)
            self.aside.put(id, operation)


def _keep_newest(rows: Rows[Any], most: int) -> None:
    while len(rows) > most:
        rows.drop(next(iter(rows)))
