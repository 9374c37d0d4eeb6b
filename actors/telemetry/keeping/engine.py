"""The trace store's database with all that is asked of it; blocking, for one thread."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import sqlalchemy as sa

from llmgine.actors.telemetry.errors import TraceStoreUnusable
from llmgine.actors.telemetry.keeping import sums, traces
from llmgine.actors.telemetry.keeping.database import is_lasting, is_of_content, opened
from llmgine.actors.telemetry.keeping.mending import mend
from llmgine.actors.telemetry.keeping.tidying import tidy
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

P = ParamSpec("P")
R = TypeVar("R")

After = tuple[int, str] | None  # what the last one of a page is sorted by

logger = logging.getLogger(__name__)

_SOUND_SECONDS: Final = 60.0
_PAGES: Final = 1000  # of the file, given back at a time


class TraceDatabase:
    """A file, or memory where there is no path; `TraceStoreUnusable` where it cannot do what is asked.

    What stands in it and cannot be read is removed, counted, and does not keep the rest from being told.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._engine = opened(path)
        self._sound_until = 0.0

    def write(
        self,
        kept: Sequence[tuple[Trace, str]],
        rollup: Rollup,
        counts: Mapping[str, int],
        now: int,
    ) -> None:
        """Keep traces and add to sums, all or nothing."""
        self._run(_write, kept, rollup, counts, now)

    def tidy(self, options: TelemetryOptions, now: int) -> None:
        """Remove what is too much or too old, and give its room in the file back."""
        while self._run(tidy, options, now):
            pass
        self._run(_give_back)

    def find(self, query: TraceQuery, limit: int, after: After) -> list[TraceSummary]:
        return self._run(traces.find, query, limit, after)

    def read(self, ids: Sequence[str]) -> list[Trace]:
        return self._run(traces.read, ids)

    def of_session(self, session: str, spans: int) -> list[Trace]:
        return self._run(traces.of_session, session, spans)

    def sessions(
        self, query: str, limit: int, after: After, ids: Sequence[str] | None
    ) -> list[SessionSummary]:
        return self._run(sums.sessions, query, limit, after, ids)

    def usage(self, session: str) -> list[ModelUsage]:
        return self._run(sums.of_session, session)

    def cost(self, by: CostBy, since: int | None) -> list[CostRow]:
        return self._run(sums.cost, by, since)

    def stats(self, since: int | None, counts: Mapping[str, int]) -> Stats:
        return self._run(sums.stats, since, counts)

    def close(self) -> None:
        self._engine.dispose()

    def _run(self, step: Callable[Concatenate[sa.Connection, P], R], *given: P.args, **named: P.kwargs) -> R:
        try:
            try:
                return self._once(step, *given, **named)
            except Exception as error:
                if not is_of_content(error) or not self._mend():
                    raise
                logger.error("%s held what could not be read (%s); it is removed", self._path, error)
                return self._once(step, *given, **named)
        except Exception as error:
            what = str(getattr(error, "orig", "") or f"{type(error).__name__}: {error}")
            raise TraceStoreUnusable(str(self._path), what, is_lasting(error)) from error

    def _mend(self) -> bool:
        """Whether anything was there that could not be read; where nothing was, it is not looked at soon."""
        if time.monotonic() < self._sound_until:
            return False
        removed = self._once(mend)
        if not removed:
            self._sound_until = time.monotonic() + _SOUND_SECONDS
        return removed > 0

    def _once(self, step: Callable[Concatenate[sa.Connection, P], R], *given: P.args, **named: P.kwargs) -> R:
        with self._engine.begin() as connection:
            return step(connection, *given, **named)


def _write(
    connection: sa.Connection,
    kept: Sequence[tuple[Trace, str]],
    rollup: Rollup,
    counts: Mapping[str, int],
    now: int,
) -> None:
    if kept:
        traces.write(connection, kept, now)
    sums.add(connection, rollup, counts)


def _give_back(connection: sa.Connection) -> None:
    raw: Any = connection.connection.driver_connection
    raw.execute(f"PRAGMA incremental_vacuum({_PAGES})").fetchall()
