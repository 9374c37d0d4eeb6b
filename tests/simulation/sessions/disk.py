"""A disk that outlives the store's process: what was committed is there, what was not is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llmgine.actors.store.batches import Batch, Refusal
from llmgine.actors.store.errors import StoreUnavailable
from llmgine.actors.store.memory import MemoryEngine
from tests.simulation.sessions.loop import SimulatedLoop
from tests.simulation.sessions.witness import Witness


class Disk:
    """Rows, and how the disk fails; `kill_store` is called where its process dies in a commit."""

    def __init__(self, loop: SimulatedLoop, rows: MemoryEngine, witness: Witness) -> None:
        self.loop = loop
        self.rows = rows
        self.witness = witness
        self.away_until = 0.0
        # How often the store dies in the middle of a commit.
        self.fragile = 0.0
        self.kill_store: Callable[[], Any] = lambda: None

    def commit(self, batches: Sequence[Batch], now: int) -> list[Refusal]:
        self.check()
        if self.loop.chance(self.fragile):
            if self.loop.chance(0.5):
                self._apply(batches, now)
            self.kill_store()
            raise StoreUnavailable("the store dies in this moment, and nobody hears of it")
        return self._apply(batches, now)

    def check(self) -> None:
        if self.loop.now < self.away_until:
            raise StoreUnavailable("the disk is away")

    def _apply(self, batches: Sequence[Batch], now: int) -> list[Refusal]:
        refusals = self.rows.commit(batches, now)
        self.witness.saw(batches, refusals)
        return refusals


class DiskEngine:
    """An `Engine` on a disk; it ends with its process, and the disk does not."""

    blocks = True

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def commit(self, batches: Sequence[Batch], now: int) -> list[Refusal]:
        return self._disk.commit(batches, now)

    @property
    def sessions(self) -> Any:
        return _Asked(self._disk, self._disk.rows.sessions)

    def close(self) -> None:
        """The rows stay."""

    def __getattr__(self, name: str) -> Any:
        return getattr(_Asked(self._disk, self._disk.rows), name)


class _Asked:
    """Questions to rows on a disk that may be away."""

    def __init__(self, disk: Disk, rows: Any) -> None:
        self._disk = disk
        self._rows = rows

    def __getattr__(self, name: str) -> Any:
        def ask(*arguments: Any) -> Any:
            self._disk.check()
            return getattr(self._rows, name)(*arguments)

        return ask
