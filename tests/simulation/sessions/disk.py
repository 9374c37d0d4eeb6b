"""A disk that outlives the store's process: what was committed is there, what was not is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llmgine.actors.store.batches import Batch, Refusal
from llmgine.actors.store.engine import MemoryEngine
from llmgine.actors.store.errors import StoreUnavailable
from tests.simulation.sessions.loop import SimulatedLoop, here


class Disk:
    """Rows, and how the disk fails; `kill_store` is called where its process dies in a commit."""

    def __init__(self, loop: SimulatedLoop, letters: int, letter_age: float) -> None:
        self.loop = loop
        self.rows = MemoryEngine(letters, letter_age)
        self.commits = 0
        self.torn = 0
        self.away_until = 0.0
        # How often the store dies in the middle of a commit.
        self.fragile = 0.0
        self.kill_store: Callable[[], Any] = lambda: None
        self.after: Callable[[], None] = lambda: None

    def commit(self, batches: Sequence[Batch], now: int) -> list[Refusal]:
        process = here()
        assert process is None or process.alive
        self.check()
        if self.loop.chance(self.fragile):
            self.torn += 1
            if self.loop.chance(0.5):
                self._apply(batches, now)
            self.kill_store()
            raise StoreUnavailable("the store dies in this moment, and nobody hears of it")
        return self._apply(batches, now)

    def check(self) -> None:
        if self.loop.now < self.away_until:
            raise StoreUnavailable("the disk is away")

    def _apply(self, batches: Sequence[Batch], now: int) -> list[Refusal]:
        refused = self.rows.commit(batches, now)
        self.commits += 1
        self.after()
        return refused


class DiskEngine:
    """An `Engine` on a disk; it ends with its process, and the disk does not."""

    blocks = True

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def commit(self, batches: Sequence[Batch], now: int) -> list[Refusal]:
        return self._disk.commit(batches, now)

    def close(self) -> None:
        """The rows stay."""

    def __getattr__(self, name: str) -> Any:
        question = getattr(self._disk.rows, name)

        def asked(*arguments: Any) -> Any:
            self._disk.check()
            return question(*arguments)

        return asked
