"""Between a router's core and the store: writes what the core gives, brings back what was kept."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial

from llmgine.actors.bus.router.core import RouterCore
from llmgine.actors.bus.shards import shard_of
from llmgine.actors.store import OperationRefused, StoreClient, StoreError, StoreUnavailable
from llmgine.actors.store.awaited import read_once_there
from llmgine.actors.store.rows import JournalRow, ScheduleRow

logger = logging.getLogger(__name__)

NO_STORE = "this bus has no store; durable and scheduled messages need one"

# How long to leave a store alone that could not be read, or that will not write for now.
_PAUSE = 0.5


class Keeping:
    """The store's side of one router; `loaded` says that the core has its table of subscriptions."""

    def __init__(
        self,
        core: RouterCore,
        store: StoreClient | None,
        shard: int,
        shards: int,
        clock: Callable[[], float],
        wall: Callable[[], int],
        wake: Callable[[], None],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.loaded = asyncio.Event()
        self._core = core
        self._store = store
        self._shard = shard
        self._shards = shards
        self._clock = clock
        self._wall = wall
        self._wake = wake
        self._sleep = sleep
        self._task: asyncio.Task[None] | None = None
        self._written = asyncio.Event()
        self._resting: asyncio.TimerHandle | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to read what was kept; the core works meanwhile."""
        if self._store is None:
            self._core.no_store(NO_STORE)
            self._core.recover((), (), self._clock(), self._wall())
            self._wake()
        elif self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._recover(self._store), name="recovery")

    async def _recover(self, store: StoreClient) -> None:
        """Until it has succeeded once: a store that is away may come."""
        await self.loaded.wait()
        journal, schedules = await read_once_there(
            "what was kept of the bus", partial(self._read, store), self._sleep
        )
        self._core.recover(journal, schedules, self._clock(), self._wall())
        if journal or schedules:
            logger.info("recovered %d durable messages and %d scheduled events", len(journal), len(schedules))
        self._wake()

    async def _read(self, store: StoreClient) -> tuple[list[JournalRow], list[ScheduleRow]]:
        journal = [row async for page in store.journal() for row in page if self._is_ours(row.session)]
        schedules = [row async for page in store.schedules() for row in page if self._is_ours(row.session)]
        return journal, schedules

    def _is_ours(self, session: str) -> bool:
        return shard_of(session, self._shards) == self._shard

    # Writing

    def write(self) -> None:
        """Hand the store the core's next batch, if there is one and the last is through."""
        if self._store is None or self._resting is not None or self._closed:
            return
        batch = self._core.next_write()
        if batch is None:
            return
        ticket, operations = batch
        self._written.clear()
        try:
            self._store.write_soon(operations, partial(self._done, ticket), partial(self._failed, ticket))
        except StoreUnavailable as error:
            self._failed(ticket, error)

    def _done(self, ticket: int) -> None:
        self._core.written(ticket, self._clock())
        self._written.set()
        self._wake()

    def _failed(self, ticket: int, error: StoreError) -> None:
        loop = asyncio.get_running_loop()
        if isinstance(error, OperationRefused):
            logger.error("the store refuses what the bus writes: %s", error)
            self._core.write_refused(ticket, str(error), self._clock())
            self._written.set()
            # Not from in here: the store may refuse at once, again and again.
            loop.call_soon(self._wake)
            return
        self._core.write_failed(ticket, str(error), self._clock())
        if not self._closed:
            self._resting = loop.call_later(_PAUSE, self._rested)

    def _rested(self) -> None:
        self._resting = None
        self._wake()

    async def flush(self) -> None:
        """Wait until the store has everything that the core gives."""
        while self._store is not None and self._core.unwritten and not self._closed:
            self._written.clear()
            await self._written.wait()

    async def close(self) -> None:
        self._closed = True
        if self._resting is not None:
            self._resting.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
