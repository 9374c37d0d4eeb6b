"""Kept traces and sums, in a thread of their own: nobody who records or commits waits for them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from llmgine.actors.link import StreamReset
from llmgine.actors.telemetry.errors import TraceStoreUnusable
from llmgine.telemetry import (
    CostRow,
    Rollup,
    SessionSummary,
    Stats,
    TelemetryOptions,
    Trace,
    TraceQuery,
    TraceSummary,
)
from llmgine.telemetry.answers import CostBy
from llmgine.telemetry.rollup import ModelUsage

if TYPE_CHECKING:
    from llmgine.actors.telemetry.keeping.engine import After, TraceDatabase

R = TypeVar("R")

_TIDY: Final = 5_000_000_000  # nanoseconds after which what is too much goes, once more has come
_TIDY_IDLE: Final = 60_000_000_000  # and where nothing has, for what grows old

logger = logging.getLogger(__name__)


class TraceStore:
    """A queue in memory before an SQLite file.

    What is handed over is written by the next `flush`, and questions find it; where that fails it stays and
    is tried again, as far as there is room. A file that cannot be used is left as it is, and memory takes
    its place: `error` says why, for as long as that is so. All methods belong to one loop.
    """

    def __init__(self, options: TelemetryOptions, clock: Callable[[], int]) -> None:
        self.error = ""
        self._options = options
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "telemetry store")
        self._database: TraceDatabase | None = None
        self._flushing = asyncio.Lock()
        self._opened = asyncio.Event()
        self._closed = False
        self._gave_way = False  # memory has taken the file's place
        self._traces: dict[int, tuple[Trace, str]] = {}
        self._waiting = 0  # spans of these
        self._rollup = Rollup()
        self._counts: dict[str, int] = {}
        self._tidied = 0  # when what was too much went the last time
        self._grown = False  # since then
        self.stored = 0  # traces written, a trace that grew once more each time
        self.dropped = 0  # traces that found no room before the file
        self.failed = 0  # writes and questions that did not succeed

    async def open(self) -> None:
        """Makes the file, or reads it; where it cannot be used, memory serves.

        One that is held by another or has no room now is tried again with each flush and question.
        """
        with contextlib.suppress(TraceStoreUnusable):
            await self._in_thread(lambda: self._step(lambda database: None))
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
            wrote = bool(self._traces or self._rollup or self._counts)
            # What waits is in the hands of the thread then: who gives up must not take it along.
            if wrote and not await asyncio.shield(self._write()):
                return False
            await self._tidy(wrote)
            return True

    async def find(self, query: TraceQuery, limit: int, after: After) -> list[TraceSummary]:
        """The newest traces that meet the query, after the one of that negative start and id."""
        return await self._ask(lambda database: database.find(query, limit, after))

    async def read(self, ids: Sequence[str]) -> list[Trace]:
        """The traces of these ids that are kept."""
        return await self._ask(lambda database: database.read(ids))

    async def of_session(self, session: str, spans: int) -> list[Trace]:
        """A session's newest traces, as many as have that many spans between them or one more."""
        return await self._ask(lambda database: database.of_session(session, spans))

    async def sessions(
        self, query: str, limit: int, after: After, ids: Sequence[str] | None = None
    ) -> list[SessionSummary]:
        """The sessions last active, after the one of that negative time and id; of these ids alone."""
        return await self._ask(lambda database: database.sessions(query, limit, after, ids))

    async def usage(self, session: str) -> list[ModelUsage]:
        """What all calls of one session came to by model, exactly, and nothing of how long they took."""
        return await self._ask(lambda database: database.usage(session))

    async def cost(self, by: CostBy, since: int | None) -> list[CostRow]:
        """What all calls came to since that hour, the dearest first."""
        return await self._ask(lambda database: database.cost(by, since))

    async def stats(self, since: int | None, counts: Mapping[str, int]) -> Stats:
        """Everything that was counted since that hour; `counts` stand beside what is told of traces."""
        return await self._ask(lambda database: database.stats(since, counts))

    async def close(self) -> None:
        """Writes what waits and lets go of the file."""
        await self.flush()
        if not self._closed:
            await self._in_thread(self._let_go)
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

    async def _write(self) -> bool:
        handed, self._traces, self._waiting = self._traces, {}, 0
        rollup, self._rollup = self._rollup, Rollup()
        counts, self._counts = self._counts, {}
        kept, now = list(handed.values()), self._clock()
        try:
            await self._run(lambda database: database.write(kept, rollup, counts, now))
        except Exception as error:
            for trace, because in kept:
                if trace.trace_id not in self._traces:
                    self.keep(trace, because)
            self.add(rollup, counts)
            if isinstance(error, TraceStoreUnusable):
                return False
            raise
        self.stored += len(handed)
        return True

    async def _tidy(self, wrote: bool) -> None:
        """What is too much goes, now and then; where that fails, what was written stays written."""
        now = self._clock()
        self._grown |= wrote
        if now - self._tidied < (_TIDY if self._grown else _TIDY_IDLE):
            return
        self._tidied, self._grown = now, False
        with contextlib.suppress(TraceStoreUnusable, StreamReset):
            await self._run(lambda database: database.tidy(self._options, now))

    async def _ask(self, question: Callable[[TraceDatabase], R]) -> R:
        await self._opened.wait()
        await self.flush()
        try:
            return await self._run(question)
        except TraceStoreUnusable as error:
            if not error.lasting:
                raise
            return await self._run(question)  # memory answers by now

    async def _run(self, step: Callable[[TraceDatabase], R]) -> R:
        if self._closed:
            raise StreamReset("away", "the telemetry actor ends")
        return await self._in_thread(lambda: self._step(step))

    async def _in_thread(self, step: Callable[[], R]) -> R:
        return await asyncio.get_running_loop().run_in_executor(self._thread, step)

    def _step(self, step: Callable[[TraceDatabase], R]) -> R:
        try:
            done = step(self._database or self._open(self._options.store))
        except TraceStoreUnusable as error:
            self._failed(error)
            if error.lasting:
                self._let_go()
                self._open(None)
                self._gave_way = True
            raise
        if not self._gave_way:
            self.error = ""
        return done

    def _open(self, path: Path | None) -> TraceDatabase:
        # SQLAlchemy is loaded here, in the telemetry actor, and not in every process that ships spans.
        from llmgine.actors.telemetry.keeping.engine import TraceDatabase

        self._database = TraceDatabase(path)
        return self._database

    def _let_go(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _failed(self, error: TraceStoreUnusable) -> None:
        if self.error != str(error):
            logger.error("%s", error)
        self.failed += 1
        self.error = str(error)
