"""The answers that one provider actor keeps: in its memory, and behind that in the runtime's store."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from llmgine.actors.pools.caching.answers import Answer, opened
from llmgine.actors.pools.caching.memory import Shelf
from llmgine.actors.pools.caching.options import CacheOptions
from llmgine.actors.store import StoreClient, StoreError
from llmgine.actors.store.operations import KeepResponse
from llmgine.actors.store.rows import ResponseRow

logger = logging.getLogger(__name__)

_NS: Final = 1_000_000_000
# How long the store is left alone after it did not answer, so that no call waits for one that is away.
_STORE_REST: Final = 5.0
# Answers on their way to the store; more are kept in memory alone.
_MAX_UNWRITTEN: Final = 16 << 20
# How long an end, or clearing, waits for answers that are on their way to the store.
_LAST_WRITES: Final = 2.0


class KeptAnswers:
    """Answers by the hash of their request. A store that is away is missed by nobody."""

    def __init__(
        self,
        pool: str,
        options: CacheOptions,
        store: Callable[[], StoreClient],
        *,
        wall: Callable[[], int] = time.time_ns,
    ) -> None:
        self.generation = 0  # of what is kept; what belongs to an earlier one was cleared
        self._pool = pool
        self._options = options
        self._open_store = store
        self._wall = wall
        self._ttl = round(options.ttl * _NS)
        self._shelf = Shelf(options.max_entries, options.max_bytes)
        self._store: StoreClient | None = None
        self._rests_until = 0
        self._unwritten = 0
        self._kept = 0

    def here(self, key: bytes) -> Answer | None:
        """An answer that is in memory."""
        body = self._shelf.get(key, self._wall())
        return None if body is None else opened(body)

    async def find(self, key: bytes) -> Answer | None:
        """An answer that the store has kept; none where it does not say so in time."""
        generation = self.generation
        row = await self._asked(key)
        if row is None or row.pool != self._pool or self._wall() >= row.made + self._ttl:
            return None
        answer = opened(row.body)
        if answer is not None and generation == self.generation:
            self._shelf.put(key, row.body, row.made + self._ttl)
        return answer

    def keep(self, key: bytes, body: bytes, generation: int) -> None:
        """Keeps an answer, unless what was kept has been cleared since `generation`."""
        if generation != self.generation or len(body) > self._options.max_answer_bytes:
            return
        made = self._wall()
        self._kept += 1
        self._shelf.put(key, body, made + self._ttl)
        if self._options.store and self._unwritten + len(body) <= _MAX_UNWRITTEN:
            row = ResponseRow(key.hex(), self._pool, body, made, made + self._ttl)
            self._unwritten += len(body)
            self._client().write_soon(
                [KeepResponse(row)], lambda: self._written(row), lambda error: self._written(row)
            )

    async def clear(self) -> None:
        """Nothing of what was asked until now is answered from here; what the store has stays there."""
        self.generation += 1
        self._shelf.clear()
        await self.written()

    async def written(self) -> None:
        """Waits, for a while, until the store has what is on its way to it."""
        if self._store is not None:
            await self._store.flush(_LAST_WRITES)

    async def aclose(self) -> None:
        if self._store is not None:
            await self._store.close()

    def statistics(self) -> dict[str, Any]:
        return {"entries": len(self._shelf), "bytes": self._shelf.bytes, "kept": self._kept}

    async def _asked(self, key: bytes) -> ResponseRow | None:
        if not self._options.store or self._wall() < self._rests_until:
            return None
        try:
            return await self._client().response(key.hex())
        except StoreError as error:
            logger.warning("answers are not looked for in the store for a while: %s", error)
            self._rests_until = self._wall() + round(_STORE_REST * _NS)
            return None

    def _client(self) -> StoreClient:
        if self._store is None:
            self._store = self._open_store()
        return self._store

    def _written(self, row: ResponseRow) -> None:
        self._unwritten -= len(row.body)
