"""The writer's side of an open database: one connection, and what must hold at each commit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import sqlalchemy as sa

from llmgine.actors.store.batches import Batch, Latest, Refusal
from llmgine.actors.store.errors import StoreError, StoreReplaced, error_of
from llmgine.actors.store.fencing import NOWHERE, Fence, Standing, mentioned
from llmgine.actors.store.operations import Operation, SetAside
from llmgine.actors.store.plan import Run, runs_of
from llmgine.actors.store.retention import Retention
from llmgine.actors.store.sql import responses
from llmgine.actors.store.sql.database import Database
from llmgine.actors.store.sql.dialects import Compiled, upsert
from llmgine.actors.store.sql.migrations import migrate
from llmgine.actors.store.sql.responses import Amount
from llmgine.actors.store.sql.sessions import approvals, standings
from llmgine.actors.store.sql.statements import Statements, carry_out, drop_oldest_letters, put
from llmgine.actors.store.sql.tables import LETTERS, META, REFUSED, WRITERS
from llmgine.actors.store.sql.tidying import Tidying

_LIFE: Final = "life"
# Another process that takes the writing over waits until this one has committed.
_WHOSE: Final = sa.select(META.c.value).where(META.c.name == _LIFE).with_for_update(read=True)
_TICKET: Final = ["writer", "ticket", "time"]
_REFUSED: Final = ["writer", "ticket", "code", "text", "time"]
# Sessions whose standing is remembered between commits.
_SESSIONS: Final = 65_536


class StoreWriter:
    """Writes as long as its `life` stands in the database: whoever opens it later takes the writing over."""

    def __init__(self, database: Database, life: str, max_letters: int, retention: Retention) -> None:
        self._database = database
        self._engine = database.engine()
        self._life = life
        self._max_letters = max_letters
        self._retention = retention
        self._tickets: Latest[int] = Latest()
        self._standings: Latest[Standing] = Latest(_SESSIONS)
        self._connection = self._engine.connect()
        dialect = self._engine.dialect
        try:
            with self._connection.begin():
                database.begin_opening(self._connection)
                migrate(self._connection)
                put(self._connection, META, "name", [{"name": _LIFE, "value": life}])
                counted = sa.select(sa.func.count()).select_from(LETTERS)
                self._letters = self._connection.execute(counted).scalar_one()
                self._responses = responses.kept(self._connection)
        except BaseException:
            self.abandon()
            raise
        self._statements = Statements(dialect)
        self._put_tickets = Compiled(dialect, upsert(dialect, WRITERS, ["writer"], _TICKET), _TICKET)
        refused = upsert(dialect, REFUSED, ["writer", "ticket"], _REFUSED)
        self._put_refused = Compiled(dialect, refused, _REFUSED)
        self._tidying = Tidying(self._connection, self._check_life)
        self._steps: Iterator[int] | None = None

    def reader(self) -> sa.Connection:
        """Another connection, which only reads."""
        return self._engine.connect().execution_options(reads=True)

    def commit(self, batches: Sequence[Batch], now: int) -> list[Refusal]:
        """All of them in one transaction, but those that were committed before, and those refused."""
        self._database.must_be_there()
        with self._connection.begin():
            self._check_life()
            fresh, refused, tickets = self._fresh(batches)
            fence = self._fence(fresh)
            admitted: list[Operation] = []
            for batch in fresh:
                try:
                    admitted += fence.admit(batch.operations)
                except StoreError as error:
                    refused.append(Refusal(batch, error))
                    self._keep_refusal(batch, error, now)
            runs = runs_of(admitted)
            letters, answers = self._carry_out(runs)
            self._keep_tickets(tickets, now)
        self._letters, self._responses = letters, answers
        self._remember(tickets, fence, runs)
        self._database.written(self._connection)
        return refused

    def _carry_out(self, runs: Sequence[Run]) -> tuple[int, Amount]:
        """How many dead letters, and how much of models' answers, there are then."""
        letters, answers = self._letters, self._responses
        for run in runs:
            growth = carry_out(self._connection, self._statements, run)
            letters, answers = letters + growth.letters, answers.plus(growth.responses)
        if letters > self._max_letters:
            drop_oldest_letters(self._connection, letters - self._max_letters)
        most = Amount(self._retention.responses, self._retention.response_bytes)
        return min(letters, self._max_letters), responses.drop_oldest(self._connection, answers, most)

    def refuse(self, batch: Batch, error: StoreError, now: int) -> None:
        """Remember that the batch can never be written."""
        with self._connection.begin():
            self._check_life()
            self._keep_refusal(batch, error, now)
            self._keep_tickets({batch.writer: batch.ticket}, now)
        self._tickets.put(batch.writer, batch.ticket)

    def tidy(self, letters_before: int, writers_before: int, now: int) -> bool:
        """A step of removing what is of an earlier time, or more than is kept; whether others follow."""
        if self._steps is None:
            self._steps = self._tidy(letters_before, writers_before, now)
        try:
            next(self._steps)
        except BaseException as error:
            self._steps = None
            if not isinstance(error, StopIteration):
                raise
        return self._steps is not None

    def _tidy(self, letters_before: int, writers_before: int, now: int) -> Iterator[int]:
        retention = self._retention
        for removed in self._tidying.letters(letters_before):
            self._letters -= removed
            yield removed
        for gone in self._tidying.responses(now):
            self._responses = self._responses.minus(gone)
            yield gone.count
        yield from self._tidying.notes(now)
        yield from self._tidying.writers(writers_before)
        yield from self._tidying.approvals(now)
        yield from self._tidying.turns(now, retention)
        yield from self._tidying.code(now)
        for session in self._tidying.closed_sessions(now, retention):
            self._letters -= self._tidying.drop(session)
            self._standings.put(session, NOWHERE)
            yield 1
        self._database.give_back(self._connection)

    def close(self) -> None:
        """Leave nothing to be done behind."""
        self._database.let_go()
        try:
            self._database.leave(self._connection)
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go of it as it stands."""
        self._database.let_go()
        self._connection.close()
        self._engine.dispose()

    def _check_life(self) -> None:
        if self._connection.execute(_WHOSE).scalar() != self._life:
            raise StoreReplaced(
                f"another process has opened the store at {self._database.url} for writing; end one of the "
                "two, or set store.url to another place in one of them"
            )

    def _fence(self, batches: Iterable[Batch]) -> Fence:
        """How everything stands on which it depends whether these are refused."""
        sessions, asked = mentioned(operation for batch in batches for operation in batch.operations)
        known = {id: standing for id in sessions if (standing := self._standings.get(id)) is not None}
        if unknown := sessions - known.keys():
            known.update(standings(self._connection, unknown))
        return Fence(known.__getitem__, approvals(self._connection, asked).get)

    def _remember(self, tickets: dict[str, int], fence: Fence, runs: Sequence[Run]) -> None:
        for writer, ticket in tickets.items():
            self._tickets.put(writer, ticket)
        for session, standing in fence.sessions.items():
            self._standings.put(session, standing)
        if any(isinstance(run.last, SetAside) for run in runs):
            self._standings.clear()  # a session's row may have been among them, under its number
        self._tidying.touch(runs)

    def _keep_tickets(self, tickets: dict[str, int], now: int) -> None:
        if tickets:
            rows = [(writer, ticket, now) for writer, ticket in tickets.items()]
            self._put_tickets.run(self._connection, rows)

    def _keep_refusal(self, batch: Batch, error: StoreError, now: int) -> None:
        self._put_refused.run(self._connection, [(batch.writer, batch.ticket, error.code, str(error), now)])

    def _fresh(self, batches: Sequence[Batch]) -> tuple[list[Batch], list[Refusal], dict[str, int]]:
        """Those that came for the first time, those that were refused before, and each writer's ticket."""
        last = self._last_tickets({batch.writer for batch in batches})
        fresh, again = [], []
        tickets: dict[str, int] = {}
        for batch in batches:
            if batch.ticket > last.get(batch.writer, 0):
                fresh.append(batch)
                tickets[batch.writer] = last[batch.writer] = batch.ticket
            else:
                again.append(batch)
        return fresh, [refusal for batch in again for refusal in self._refused_before(batch)], tickets

    def _refused_before(self, batch: Batch) -> list[Refusal]:
        same = (REFUSED.c.writer == batch.writer, REFUSED.c.ticket == batch.ticket)
        found = self._connection.execute(sa.select(REFUSED.c.code, REFUSED.c.text).where(*same)).first()
        return [] if found is None else [Refusal(batch, error_of(found.code, found.text))]

    def _last_tickets(self, writers: set[str]) -> dict[str, int]:
        known = {writer: ticket for writer in writers if (ticket := self._tickets.get(writer)) is not None}
        unknown = writers - known.keys()
        if unknown:
            wanted = sa.select(WRITERS.c.writer, WRITERS.c.ticket).where(WRITERS.c.writer.in_(unknown))
            known.update({row.writer: row.ticket for row in self._connection.execute(wanted)})
        return known
