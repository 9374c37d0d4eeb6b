"""The engine over SQL: a database that is made at its first use, one connection to write and one to read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import sqlalchemy as sa

from llmgine.actors.store.batches import Batch, Refusal
from llmgine.actors.store.engine import NS
from llmgine.actors.store.errors import OperationRefused, StoreUnavailable
from llmgine.actors.store.operations import SetAside
from llmgine.actors.store.queries import LetterFilter, Page
from llmgine.actors.store.retention import KEEP_ALL, Retention
from llmgine.actors.store.rows import JournalRow, LetterRow, ResponseRow, ScheduleRow
from llmgine.actors.store.sql import reading, responses
from llmgine.actors.store.sql.database import Database
from llmgine.actors.store.sql.session_questions import SqlSessions
from llmgine.actors.store.sql.writing import StoreWriter

P = ParamSpec("P")
V = TypeVar("V")

# How long a writer that has said nothing is remembered; it sends nothing again after so long.
_WRITER_AGE: Final = 86_400 * NS
_NOTHING: Final[Page[Any]] = Page((), None)


class SqlEngine:
    """An `Engine` over a database. `life` tells it from others of the same: the later writes."""

    blocks: bool = True

    def __init__(
        self,
        database: Database,
        max_letters: int,
        letter_age: float,
        retention: Retention = KEEP_ALL,
        *,
        life: int,
    ) -> None:
        self.database = database
        self.sessions = SqlSessions(self._read)
        self._max_letters = max_letters
        self._letter_age = round(letter_age * NS)
        self._retention = retention
        self._life = str(life)
        self._opening = threading.Lock()
        self._writer: StoreWriter | None = None
        self._reader: sa.Connection | None = None
        self._checked = False

    # The writer's thread.

    def commit(self, batches: Sequence[Batch], now: int) -> list[Refusal]:
        try:
            return self._commit(batches, now)
        except Exception as error:
            if not self._is_about_values(error):
                raise
            if len(batches) == 1:
                return self._refuse(batches[0], error, now)
        # Something in one of them cannot be written: the others are, each by itself.
        return [refusal for batch in batches for refusal in self.commit([batch], now)]

    def tidy(self, now: int) -> bool:
        if not self._is_there():
            return False
        with self._writing() as writer:
            return writer.tidy(now - self._letter_age, now - _WRITER_AGE, now)

    def close(self) -> None:
        with self._opening:
            if self._reader is not None:
                self._reader.close()
            if self._writer is not None:
                try:
                    self._writer.close()
                except Exception as error:
                    if self.database.error(error) is None:
                        raise
            self._writer = self._reader = None

    def _commit(self, batches: Sequence[Batch], now: int) -> list[Refusal]:
        with self._writing() as writer:
            return writer.commit(batches, now)

    def _refuse(self, batch: Batch, error: Exception, now: int) -> list[Refusal]:
        """A batch that holds what can never be written."""
        refusal = OperationRefused(f"{type(error).__name__}: {error}"[:1_000])
        with self._writing() as writer:
            writer.refuse(batch, refusal, now)
        return [Refusal(batch, refusal)]

    # The reader's thread.

    def last_message(self) -> int:
        return self._read(0, reading.last_message)

    def journal(self, after: int, upto: int, limit: int) -> Page[JournalRow]:
        return self._read(_NOTHING, reading.journal, after, upto, limit)

    def letters(self, wanted: LetterFilter, before: int | None, limit: int) -> Page[LetterRow]:
        return self._read(_NOTHING, reading.letters, wanted, before, limit)

    def letter(self, id: str) -> LetterRow | None:
        return self._read(None, reading.letter, id)

    def count_letters(self, wanted: LetterFilter) -> int:
        return self._read(0, reading.count_letters, wanted)

    def schedules(self, after: int, limit: int) -> Page[ScheduleRow]:
        return self._read(_NOTHING, reading.schedules, after, limit)

    def subscriptions(self, after: int, limit: int) -> Page[dict[str, Any]]:
        return self._read(_NOTHING, reading.subscriptions, after, limit)

    def response(self, key: str) -> ResponseRow | None:
        return self._read(None, responses.response, key)

    def note(self, name: str) -> bytes | None:
        return self._read(None, reading.note, name)

    def aside(self, limit: int) -> list[SetAside]:
        return self._read([], reading.aside, limit)

    def status(self) -> dict[str, Any]:
        size = self._read(0, self.database.size)
        return {"url": self.database.url, "bytes": size, **self._read(reading.NO_COUNTS, reading.counts)}

    def _read(
        self,
        nothing: V,
        ask: Callable[Concatenate[sa.Connection, P], V],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> V:
        """`nothing` where there is no database yet, which a question does not make."""
        if not self._is_there():
            return nothing
        with self._errors():
            try:
                if self._reader is None:
                    self._reader = self._opened().reader()
                with self._reader.begin():
                    return ask(self._reader, *args, **kwargs)
            except BaseException:
                if self._reader is not None:
                    self._reader.close()
                    self._reader = None
                raise

    # Both.

    def _is_there(self) -> bool:
        return self._writer is not None or self.database.is_there()

    @contextmanager
    def _writing(self) -> Iterator[StoreWriter]:
        """The open database; it is opened anew after it could not be written."""
        with self._errors():
            try:
                yield self._opened()
            except Exception as error:
                meaning = self.database.error(error)
                if isinstance(meaning, StoreUnavailable) and not self.database.is_busy(error):
                    self._let_go()
                raise

    def _opened(self) -> StoreWriter:
        with self._opening:
            if self._writer is None:
                if not self._checked:
                    self._check()
                self._writer = StoreWriter(self.database, self._life, self._max_letters, self._retention)
            return self._writer

    def _check(self) -> None:
        engine = self.database.engine()
        try:
            with engine.connect() as connection:
                self.database.check(connection)
        finally:
            engine.dispose()
        self._checked = True

    def _let_go(self) -> None:
        with self._opening:
            if self._writer is not None:
                self._writer.abandon()
                self._writer = None

    def _is_about_values(self, error: Exception) -> bool:
        """Whether the database, or the way to it, refused what was to be written."""
        refused = (sa.exc.DBAPIError, OverflowError, TypeError, ValueError)
        return isinstance(error, refused) and self.database.error(error) is None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Errors of the database say what they mean for the store."""
        try:
            yield
        except Exception as error:
            meaning = self.database.error(error)
            if meaning is None:
                raise
            raise meaning from error
