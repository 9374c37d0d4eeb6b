"""The store at its interface: a batch is kept whole or not at all, and is acknowledged after that.

A crash leaves open whether what was not acknowledged is there. Writers send again until they know.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from llmgine.actors.store.ledger import Ledger
from llmgine.actors.store.operations import PutLetter
from tests.simulation.scheduler import FOREVER, Mortal, Scheduler


class Writer:
    """One process's end: batches in order, each sent until it is acknowledged."""

    def __init__(self, store: SimulatedStore, owner: Mortal) -> None:
        self.store = store
        self.owner = owner
        self.batches: deque[tuple[list[Any], Callable[[], None]]] = deque()
        self.busy = False
        # The first of them was applied, and its writer has not heard of it.
        self.applied = False

    def write(self, batch: list[Any], done: Callable[[], None]) -> None:
        self.batches.append((batch, done))
        self.store.pump(self)


class SimulatedStore:
    """Crashes and comes back with its rows; `before` and `after` are called around every commit."""

    def __init__(self, scheduler: Scheduler, max_letters: int) -> None:
        self.alive = True
        self.rows = Ledger(max_letters)
        self.most_letters = 0
        # When letters were written once more, for their writers did not know that they were there.
        self.put_again: dict[str, int] = {}
        self.commits = 0
        self.slow = 1.0
        self.before: Callable[[Writer], None] = lambda writer: None
        self.after: Callable[[Writer], None] = lambda writer: None
        self._scheduler = scheduler
        self._writers: list[Writer] = []

    def writer(self, owner: Mortal) -> Writer:
        writer = Writer(self, owner)
        self._writers = [one for one in self._writers if one.owner.alive]
        self._writers.append(writer)
        return writer

    def pump(self, writer: Writer) -> None:
        if writer.busy or not writer.batches or not self.alive:
            return
        writer.busy = True
        delay = self._scheduler.between(0.0005, 0.006) * self.slow
        self._scheduler.after(delay, FOREVER, self._commit, writer)

    def _commit(self, writer: Writer) -> None:
        """A batch of a dead writer may have been on its way: then it counts or not, as chance has it."""
        if not self.alive or not writer.busy:
            writer.busy = False
            return
        self.before(writer)
        if not self.alive or not (writer.owner.alive or self._scheduler.chance(0.5)):
            writer.busy = False
            return
        self._apply(writer)
        self.commits += 1
        self.after(writer)
        if self.alive and writer.owner.alive:
            self._scheduler.after(
                self._scheduler.between(0.0001, 0.002), writer.owner, self._acknowledge, writer
            )

    def _apply(self, writer: Writer) -> None:
        batch, _ = writer.batches[0]
        self.rows.apply(batch)
        if writer.applied:
            letters = (one.row.id for one in batch if isinstance(one, PutLetter))
            self.put_again.update(dict.fromkeys(letters, self._scheduler.steps))
        writer.applied = True
        self.most_letters = max(self.most_letters, len(self.rows.letters))

    def _acknowledge(self, writer: Writer) -> None:
        if not self.alive or not writer.busy:
            return
        _, done = writer.batches.popleft()
        writer.busy = writer.applied = False
        done()
        self.pump(writer)

    def read(self, owner: Mortal, use: Callable[[Ledger], None]) -> None:
        """Calls `use` with the rows once the store can be reached."""
        if not self.alive:
            self._scheduler.after(0.02, owner, self.read, owner, use)
            return
        if any(not writer.owner.alive and writer.busy for writer in self._writers):
            # What a dead writer had sent is committed or lost before anybody reads.
            self._scheduler.after(0.001, owner, self.read, owner, use)
            return
        use(self.rows)

    def crash(self) -> None:
        """What was not acknowledged is there or not."""
        self.alive = False
        for writer in self._writers:
            if writer.busy and writer.batches and self._scheduler.chance(0.5):
                self._apply(writer)
            writer.busy = False

    def restart(self) -> None:
        self.alive = True
        for writer in self._writers:
            if writer.owner.alive:
                self.pump(writer)
