"""Kept traces and sums, in a thread of their own: nobody who records or commits waits for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import sqlalchemy as sa

from llmgine.actors.link import StreamReset
from llmgine.actors.telemetry.errors import TraceStoreUnusable
from llmgine.actors.telemetry.keeping import database, sums, traces
from llmgine.actors.telemetry.keeping.tidying import tidy
from llmgine.telemetry import Rollup, TelemetryOptions, Trace

P = ParamSpec("P")
R = TypeVar("R")

_TIDY_EVERY: Final = 10  # writes
_PAGES: Final = 1000  # of the file, given back at a time

logger = logging.getLogger(__name__)


class TraceStore:
    """A queue in memory before an SQLite file.

    What is handed over is written by the next `flush`; where that fails it stays and is tried again, as far
    as there is room. A file that cannot be used is left as it is, and memory takes its place: `error` says
    why. All methods belong to one loop.
    """

    def __init__(self, options: TelemetryOptions, clock: Callable[[], int]) -> None:
        self.error = ""
        self._options = options
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "telemetry store")
        self._engine: sa.Engine | None = None
        self._flushing = asyncio.Lock()
        self._opened = asyncio.Event()
        self._closed = False
        self._traces: dict[int, tuple[Trace, str]] = {}
        self._waiting = 0  # spans of these
        self._rollup = Rollup()
        self._counts: dict[str, int] = {}
        self._writes = 0
        self.stored = 0  # traces written, a trace that grew once more each time
        self.dropped = 0  # traces that found no room before the file
        self.failed = 0  # writes that did not succeed

    async def open(self) -> None:
        """Makes the file, or reads it; where it cannot be used, memory serves."""
        await self._in_thread(self._open, self._options.store)
        self._opened.set()

    def keep(self, trace: Trace, because: str) -> None:
        """Write a trace with the next flush."""
        known = self._traces.pop(trace.trace_id, None)
        self._waiting += len(trace.spans) - (0 if known is None else len(known[0].spans))
        self._traces[trace.trace_id] = trace, because
        while self._waiting > self._options.max_spans and len(self._traces) > 1:
            oldest, _ = self._traces.pop(next(iter(self._traces)))
            self._waiting -= len(oldest.spans)
            self.dropped += 1

    def add(self, rollup: Rollup, counts: Mapping[str, int]) -> None:
        """Add to the sums with the next flush."""
        self._rollup.merge(rollup)
        for name, count in counts.items():
            self._counts[name] = self._counts.get(name, 0) + count

    async def flush(self) -> bool:
        """Whether all that was handed over is written."""
        async with self._flushing:
            if self._closed or not self._opened.is_set():
                return False
            if not (self._traces or self._rollup or self._counts):
                return True
            handed, self._traces, self._waiting = self._traces, {}, 0
            rollup, self._rollup = self._rollup, Rollup()
            counts, self._counts = self._counts, {}
            try:
                await self._in_thread(self._write, handed, rollup, counts)
            except sa.exc.DBAPIError as error:
                self._failed(error)
                for trace, because in handed.values():
                    if trace.trace_id not in self._traces:
                        self.keep(trace, because)
                self.add(rollup, counts)
                if database.is_lasting(error):
                    await self._in_thread(self._open, None)
                return False
            self.stored += len(handed)
            return True

    async def ask(
        self, question: Callable[Concatenate[sa.Connection, P], R], *given: P.args, **named: P.kwargs
    ) -> R:
        """The answer of a question to the database, which has all that was handed over before."""
        await self._opened.wait()
        await self.flush()
        if self._closed:
            raise StreamReset("away", "the telemetry actor ends")

        def answer() -> R:
            assert self._engine is not None, "the trace store is open"
            with self._engine.begin() as connection:
                return question(connection, *given, **named)

        try:
            return await self._in_thread(answer)
        except sa.exc.DBAPIError as error:
            self._failed(error)
            if not database.is_lasting(error):
                raise
            await self._in_thread(self._open, None)
            return await self._in_thread(answer)

    async def close(self) -> None:
        """Writes what waits and lets go of the file."""
        await self.flush()
        self.abandon()

    def abandon(self) -> None:
        """Lets go of the file and of what waits, as the end of the process would."""
        if not self._closed:
            self._closed = True
            self._opened.set()  # nobody waits for what will not be
            self._thread.submit(self._let_go)
            self._thread.shutdown(wait=False)

    def counters(self) -> dict[str, int | str]:
        """What was written and what was not; `error` is why it is not in the file."""
        return {
            "path": "" if self._options.store is None else str(self._options.store),
            "stored": self.stored,
            "waiting": len(self._traces),
            "dropped": self.dropped,
            "failed": self.failed,
            "error": self.error,
        }

    def _open(self, path: Path | None) -> None:
        self._let_go()
        try:
            self._engine = database.opened(path)
        except TraceStoreUnusable as error:
            logger.error("%s", error)
            self.error = str(error)
            self._engine = database.opened(None)

    def _write(
        self, handed: Mapping[int, tuple[Trace, str]], rollup: Rollup, counts: Mapping[str, int]
    ) -> None:
        assert self._engine is not None
        now = self._clock()
        with self._engine.begin() as connection:
            if handed:
                traces.write(connection, list(handed.values()), now)
            sums.add(connection, rollup, counts)
        self._writes += 1
        if self._writes % _TIDY_EVERY == 1:
            more = True
            while more:
                with self._engine.begin() as connection:
                    more = tidy(connection, self._options, now)
            with self._engine.connect() as connection:
                raw: Any = connection.connection.driver_connection
                raw.executescript(f"PRAGMA incremental_vacuum({_PAGES})")

    def _let_go(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _failed(self, error: sa.exc.DBAPIError) -> None:
        unusable = TraceStoreUnusable(str(self._options.store), str(error.orig))
        if not self.failed:
            logger.error("%s", unusable)
        self.failed += 1
        self.error = str(unusable)

    async def _in_thread(self, step: Callable[P, R], *given: P.args, **named: P.kwargs) -> R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: step(*given, **named))
