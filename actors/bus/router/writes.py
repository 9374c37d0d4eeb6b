"""What the router has to write into the store: a bounded buffer that keeps order and says what came of it.

One batch is on its way at a time, so that a batch that failed goes again before anything newer. A write
with a `failed` callback is given up after a while, and undone where it may have arrived; one without
waits for the store however long that takes. Of dead letters only the latest wait.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

from llmgine.actors.store.coding import size_of
from llmgine.actors.store.operations import (
    DropJournal,
    DropSchedule,
    Operation,
    PutJournal,
    PutLetter,
    PutSchedule,
)

BATCH_OPERATIONS = 1_024
BATCH_BYTES = 1 << 20
WAITING_LETTERS = 1_000

Done = Callable[[], None]
Failed = Callable[[str], None]


class _Write:
    """One operation until it is written or given up; `until` only where it may be given up."""

    __slots__ = ("done", "failed", "operation", "over", "sent", "undo", "until")

    def __init__(
        self,
        operation: Operation,
        done: Done | None,
        failed: Failed | None,
        undo: tuple[Operation, ...],
        until: float,
    ) -> None:
        self.operation = operation
        self.done = done
        self.failed = failed
        self.undo = undo
        self.until = until
        self.sent = False
        self.over = False


class Writes:
    """Operations on their way to the store, in the order in which they were added."""

    def __init__(self, clock: Callable[[], float], patience: float) -> None:
        self.counters: Counter[str] = Counter()
        self._clock = clock
        self._patience = patience
        self._queue: deque[_Write] = deque()
        self._on_the_way: list[_Write] = []
        self._ticket = 0
        # In order of their limits, for all have the same patience.
        self._limited: deque[_Write] = deque()
        # Dead letters in the queue, oldest first; and how much of the queue is given up already.
        self._letters: deque[_Write] = deque()
        self._dead = 0
        # A schedule that moves on and on while the store is away is one write.
        self._moves: dict[str, _Write] = {}
        # How many go one by one, for the store refused them together.
        self._alone = 0
        self._trouble = ""
        self._refusal = ""

    def __len__(self) -> int:
        """How many operations are not written yet."""
        return len(self._queue) - self._dead + len(self._on_the_way)

    @property
    def lost_letters(self) -> int:
        return self.counters["letters_lost"]

    def add(
        self,
        operation: Operation,
        done: Done | None = None,
        failed: Failed | None = None,
        undo: tuple[Operation, ...] = (),
    ) -> None:
        """Have it written; `done()` after its commit, or `failed(text)` where that takes too long.

        Neither is called from in here, but where there is no store. `undo` is written where the operation
        was given up and may yet have arrived; a journal row is undone by itself.
        """
        if self._refusal:
            self._fail(_Write(operation, done, failed, undo, 0.0), self._refusal)
            return
        moves = isinstance(operation, PutSchedule) and done is None and failed is None
        if isinstance(operation, PutSchedule) and moves:
            known = self._moves.get(operation.row.id)
            if known is not None and not known.sent:
                known.operation = operation
                return
        write = _Write(operation, done, failed, undo, self._clock() + self._patience)
        self._queue.append(write)
        if failed is not None:
            self._limited.append(write)
        if isinstance(operation, PutLetter):
            self._letters.append(write)
            self._bound_letters()
        elif isinstance(operation, PutSchedule) and moves:
            self._moves[operation.row.id] = write
        elif isinstance(operation, PutSchedule):
            self._moves.pop(operation.row.id, None)
        elif isinstance(operation, DropSchedule):
            self._moves.pop(operation.id, None)

    def refuse(self, text: str) -> None:
        """There is no store, and none will come: whoever needs one is told so at once."""
        self._refusal = text
        everything = [*self._on_the_way, *self._queue]
        self._on_the_way, self._dead = [], 0
        self._queue.clear()
        self._letters.clear()
        self._limited.clear()
        self._moves.clear()
        for write in everything:
            if not write.over:
                write.over = True
                self._fail(write, text)

    # To the store and back

    def take(self) -> tuple[int, list[Operation]] | None:
        """The next batch and its ticket; None while one is on its way, or where nothing waits."""
        queue = self._queue
        if self._on_the_way:
            return None
        batch: list[_Write] = []
        size = 0
        limit = 1 if self._alone else BATCH_OPERATIONS
        while queue and len(batch) < limit and size < BATCH_BYTES:
            write = queue.popleft()
            if write.over:
                self._dead -= 1
                continue
            write.sent = True
            size += size_of(write.operation)
            batch.append(write)
            if isinstance(write.operation, PutLetter):
                self._letters.popleft()
        if not batch:
            return None
        self._alone = max(0, self._alone - 1)
        self._on_the_way = batch
        self._ticket += 1
        return self._ticket, [write.operation for write in batch]

    def written(self, ticket: int) -> None:
        """The batch is committed."""
        if ticket != self._ticket:
            return
        batch, self._on_the_way = self._on_the_way, []
        self.counters["operations_written"] += len(batch)
        for write in batch:
            self._forget_move(write)
            if not write.over:
                write.over = True
                if write.done is not None:
                    write.done()

    def write_failed(self, ticket: int, reason: str) -> None:
        """Nobody knows whether the batch arrived: what is still wanted goes again, before all else."""
        if ticket != self._ticket:
            return
        batch, self._on_the_way = self._on_the_way, []
        self._trouble = reason
        self.counters["batches_failed"] += 1
        self._again(batch)

    def write_refused(self, ticket: int, reason: str) -> None:
        """The store will never take one of these: each goes alone now, and the one that it is is lost."""
        if ticket != self._ticket:
            return
        batch, self._on_the_way = self._on_the_way, []
        if len(batch) > 1:
            self._alone = len(batch)
            self._again(batch)
            return
        for write in batch:
            self.counters["operations_refused"] += 1
            self._forget_move(write)
            if not write.over:
                write.over = True
                self._fail(write, f"the store refused it: {reason}")

    def _again(self, batch: list[_Write]) -> None:
        again = [write for write in batch if not write.over]
        letters = [write for write in again if isinstance(write.operation, PutLetter)]
        self._letters.extendleft(reversed(letters))
        self._queue.extendleft(reversed(again))
        self._bound_letters()

    def _forget_move(self, write: _Write) -> None:
        operation = write.operation
        if isinstance(operation, PutSchedule) and self._moves.get(operation.row.id) is write:
            del self._moves[operation.row.id]

    def _fail(self, write: _Write, text: str) -> None:
        if write.failed is not None:
            write.failed(text)
        elif isinstance(write.operation, PutLetter):
            self.counters["letters_lost"] += 1

    # Time

    def next_time(self) -> float | None:
        """When the next write is to be given up."""
        limited = self._limited
        while limited and limited[0].over:
            limited.popleft()
        return limited[0].until if limited else None

    def tick(self, now: float) -> None:
        """Give up what has waited too long."""
        late: list[_Write] = []
        while self._limited and (self._limited[0].over or self._limited[0].until <= now):
            write = self._limited.popleft()
            if not write.over:
                write.over = True
                late.append(write)
        if not late:
            return
        self._purge()
        # In front, for as long as they wait nothing newer goes that would need the same.
        undone = [operation for write in late if write.sent for operation in _undo(write)]
        self._queue.extendleft(_Write(operation, None, None, (), 0.0) for operation in reversed(undone))
        why = f": {self._trouble}" if self._trouble else ""
        text = f"the store did not take it within {self._patience:g} s (bus option journal_timeout){why}"
        for write in late:
            self.counters["operations_given_up"] += 1
            self._fail(write, text)

    def _bound_letters(self) -> None:
        """Of more letters than may wait, the oldest are lost."""
        while len(self._letters) > WAITING_LETTERS:
            self._letters.popleft().over = True
            self._dead += 1
            self.counters["letters_lost"] += 1
        if self._dead > WAITING_LETTERS:
            self._purge()

    def _purge(self) -> None:
        self._queue = deque(write for write in self._queue if not write.over)
        self._dead = 0

    def validate(self) -> None:
        """Every write is in one place; call it at the end of a test."""
        queued = [*self._queue, *self._on_the_way]
        assert len({id(write) for write in queued}) == len(queued)
        assert self._dead == sum(write.over for write in self._queue) <= WAITING_LETTERS
        alive = [write for write in self._queue if not write.over]
        assert [write for write in alive if isinstance(write.operation, PutLetter)] == list(self._letters)
        assert len(self._letters) <= WAITING_LETTERS
        assert len(self._on_the_way) <= BATCH_OPERATIONS
        waiting = {id(write) for write in queued if write.failed is not None and not write.over}
        assert waiting <= {id(write) for write in self._limited}
        for move in self._moves.values():
            assert id(move) in {id(write) for write in queued}, move.operation


def _undo(write: _Write) -> tuple[Operation, ...]:
    operation = write.operation
    if isinstance(operation, PutJournal):
        return (DropJournal(operation.row.id),)
    return write.undo
