"""Between a router's core and the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, cast

import pytest

from llmgine.actors.bus import BusOptions, RouterCore, RouterService
from llmgine.actors.bus.router.keeping import NO_STORE, Keeping
from llmgine.actors.bus.shards import shard_of
from llmgine.actors.store import OperationRefused, StoreClient, StoreError, StoreUnavailable
from llmgine.actors.store.operations import HandlerDone, Operation
from llmgine.actors.store.rows import JournalRow, ScheduleRow
from tests.actors.bus.router.desk import START


class Core:
    """As much of a core as the store's side of it talks to."""

    def __init__(self) -> None:
        self.batches: list[tuple[int, list[Operation]]] = []
        self.told: list[tuple[Any, ...]] = []
        self.recovered: asyncio.Future[tuple[list[JournalRow], list[ScheduleRow]]] = asyncio.Future()

    @property
    def unwritten(self) -> int:
        return len(self.batches)

    def next_write(self) -> tuple[int, list[Operation]] | None:
        return self.batches[0] if self.batches else None

    def written(self, ticket: int, now: float) -> None:
        self.told.append(("written", ticket))
        self.batches.pop(0)

    def write_failed(self, ticket: int, reason: str, now: float) -> None:
        self.told.append(("failed", ticket, reason))

    def write_refused(self, ticket: int, reason: str, now: float) -> None:
        self.told.append(("refused", ticket))
        self.batches.pop(0)

    def no_store(self, text: str) -> None:
        self.told.append(("no store", text))

    def recover(self, journal: Any, schedules: Any, now: float, wall: int) -> None:
        self.recovered.set_result((list(journal), list(schedules)))


class Store:
    """A store that answers as it is told to."""

    def __init__(self) -> None:
        self.trouble: list[StoreError] = []
        self.rows: list[str] = []
        self.written: list[list[Operation]] = []
        self.answer: Callable[[Callable[[], None], Callable[[StoreError], None]], None] = lambda done, _: (
            done()
        )

    async def journal(self) -> AsyncIterator[tuple[JournalRow, ...]]:
        if self.trouble:
            raise self.trouble.pop(0)
        for row in self.rows:
            yield (JournalRow("p", 1, row, 1, "E", 0, 0, b"", ("k",), 1),)

    async def schedules(self) -> AsyncIterator[tuple[ScheduleRow, ...]]:
        yield tuple(ScheduleRow(row, row, "E", b"", 1) for row in self.rows)

    def write_soon(self, operations: Sequence[Operation], done: Any, failed: Any) -> None:
        self.written.append(list(operations))
        self.answer(done, failed)


class Shell:
    """Keeping between the two, with the loop's own time left out."""

    def __init__(self, *, store: bool = True, shard: int = 0, shards: int = 1) -> None:
        self.core = Core()
        self.store = Store()
        self.pauses = 0
        self.keeping = Keeping(
            cast(RouterCore, self.core),
            cast(StoreClient, self.store) if store else None,
            shard,
            shards,
            lambda: 0.0,
            lambda: START,
            self._wake,
            sleep=self._pause,
        )

    def _wake(self) -> None:
        self.keeping.write()

    async def _pause(self, seconds: float) -> None:
        self.pauses += 1


async def test_what_was_kept_comes_back_when_the_table_is_there() -> None:
    """A router takes its own shard's rows, once it knows the handlers, however often it has to ask."""
    sessions = [f"chat-{number}" for number in range(20)]
    shell = Shell(shard=1, shards=3)
    shell.store.rows = sessions
    shell.store.trouble = [StoreUnavailable("away"), StoreUnavailable("away"), StoreUnavailable("locked")]
    shell.keeping.start()
    assert not shell.core.recovered.done()
    shell.keeping.loaded.set()
    journal, schedules = await shell.core.recovered
    ours = [session for session in sessions if shard_of(session, 3) == 1]
    assert 0 < len(ours) < 20
    assert [row.session for row in journal] == [row.session for row in schedules] == ours
    assert shell.pauses == 3
    await shell.keeping.close()


async def test_batches_are_written_one_after_another() -> None:
    """Each goes when the one before it is committed, and flushing waits for the last."""
    shell = Shell()
    shell.core.batches = [(number, [HandlerDone(str(number), "k")]) for number in (1, 2, 3)]
    shell.keeping.write()
    await shell.keeping.flush()
    assert shell.core.told == [("written", 1), ("written", 2), ("written", 3)]


async def test_a_store_that_refuses_at_once_is_asked_for_the_next_ones_in_turn() -> None:
    """However many are refused, nothing piles up on the stack."""
    shell = Shell()
    shell.core.batches = [(number, [HandlerDone(str(number), "k")]) for number in range(2_000)]
    shell.store.answer = lambda _, failed: failed(OperationRefused("no"))
    shell.keeping.write()
    await shell.keeping.flush()
    assert len(shell.core.told) == 2_000


async def test_a_store_that_writes_nothing_is_left_alone_for_a_while() -> None:
    """A batch that failed is not handed over again at once."""
    shell = Shell()
    shell.core.batches = [(1, [HandlerDone("1", "k")])]
    shell.store.answer = lambda _, failed: failed(StoreUnavailable("disk full"))
    shell.keeping.write()
    shell.keeping.write()
    assert shell.core.told == [("failed", 1, "disk full")]
    assert len(shell.store.written) == 1
    await shell.keeping.close()


async def test_without_a_store_the_core_is_told_so() -> None:
    """Nothing is waited for, and what needs a store is refused."""
    shell = Shell(store=False)
    shell.keeping.start()
    assert shell.core.told == [("no store", NO_STORE)]
    assert await shell.core.recovered == ([], [])
    shell.keeping.write()
    await shell.keeping.flush()


@pytest.mark.parametrize("grace", [0.0, 1.0])
async def test_nothing_to_settle_takes_no_time(grace: float) -> None:
    """A router with nothing in hand is settled at once."""
    service = RouterService(RouterCore("r1", BusOptions()))
    service.start()
    assert await service.settle(grace) == 0
    await service.close()


async def test_the_clock_ticks_when_something_is_due() -> None:
    """The core is woken at its next time, not only at fixed intervals."""
    core = RouterCore("r1", BusOptions())
    ran: asyncio.Future[float] = asyncio.Future()
    service = RouterService(core)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    core._state.timers.at(begun + 0.02, lambda: ran.set_result(loop.time()))
    service.start()
    assert 0.02 <= await ran - begun < 0.09
    await service.close()
