"""The trace store's database with all that is asked of it; blocking, for one thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import sqlalchemy as sa

from llmgine.actors.telemetry.errors import TraceStoreUnusable
from llmgine.actors.telemetry.keeping import sums, traces
from llmgine.actors.telemetry.keeping.database import is_lasting, opened
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

_PAGES: Final = 1000  # of the file, given back at a time


class TraceDatabase:
    """A file, or memory where there is no path; `TraceStoreUnusable` where it cannot do what is asked."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._engine = opened(path)

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
            with self._engine.begin() as connection:
                return step(connection, *given, **named)
        except (sa.exc.DBAPIError, sqlite3.Error) as error:
            what = str(getattr(error, "orig", error))
            raise TraceStoreUnusable(str(self._path), what, is_lasting(error)) from None


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
