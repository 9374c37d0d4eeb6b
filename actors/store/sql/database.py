"""The engine over SQL: a file that is made at its first use, with one connection to write and one to read."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import sqlalchemy as sa

from llmgine.actors.store.batches import Batch, Refusal
from llmgine.actors.store.engine import NS
from llmgine.actors.store.errors import OperationRefused, StoreUnavailable
from llmgine.actors.store.operations import SetAside
from llmgine.actors.store.options import StoreOptions, sqlite_path
from llmgine.actors.store.queries import LetterFilter, Page
from llmgine.actors.store.rows import JournalRow, LetterRow, ScheduleRow
from llmgine.actors.store.sql import reading
from llmgine.actors.store.sql.file import StoreFile
from llmgine.actors.store.sql.sqlite import check, create_engine, is_about_values, is_locked, store_error

P = ParamSpec("P")
V = TypeVar("V")

# How long a writer that has said nothing is remembered; it sends nothing again after so long.
_WRITER_AGE: Final = 86_400 * NS
_NOTHING: Final[Page[Any]] = Page((), None)


class SqlEngine:
    """An `Engine` over a SQLite file. `life` tells it from others of the file: the later writes."""

    blocks: bool = True

    def __init__(self, options: StoreOptions, max_letters: int, letter_age: float, *, life: int) -> None:
        assert options.url is not None
        self.path = Path(sqlite_path(options.url)).expanduser().absolute()
        self._options = options
        self._max_letters = max_letters
        self._letter_age = round(letter_age * NS)
        self._life = str(life)
        self._opening = threading.Lock()
        self._file: StoreFile | None = None
        self._reader: sa.Connection | None = None
        self._checked = False

    # The writer's thread.

    def commit(self, batches: Sequence[Batch], now: int) -> list[Refusal]:
        refusal = self._try_commit(batches, now)
        if refusal is None:
            return []
        if len(batches) == 1:
            return [Refusal(batches[0], refusal)]
        # Something in one of them cannot be written: the others are, each by itself.
        refusals = [(batch, self._try_commit([batch], now)) for batch in batches]
        return [Refusal(batch, refusal) for batch, refusal in refusals if refusal is not None]

    def tidy(self, now: int) -> None:
        if self._is_there():
            with self._writing() as file:
                file.tidy(now - self._letter_age, now - _WRITER_AGE)

    def close(self) -> None:
        with self._opening:
            if self._reader is not None:
                self._reader.close()
            if self._file is not None:
                try:
                    self._file.close()
                except Exception as error:
                    if store_error(self.path, error) is None:
                        raise
            self._file = self._reader = None

    def _try_commit(self, batches: Sequence[Batch], now: int) -> OperationRefused | None:
        """The reason where what these hold can never be written."""
        try:
            with self._writing() as file:
                file.commit(batches, now)
        except Exception as error:
            if not is_about_values(error):
                raise
            return OperationRefused(f"{type(error).__name__}: {error}"[:1_000])
        return None

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

    def aside(self, limit: int) -> list[SetAside]:
        return self._read([], reading.aside, limit)

    def status(self) -> dict[str, Any]:
        files = [self.path, self.path.with_name(f"{self.path.name}-wal")]
        size = sum(file.stat().st_size for file in files if file.exists())
        return {
            "url": f"sqlite:///{self.path}",
            "bytes": size,
            **self._read(reading.NO_COUNTS, reading.counts),
        }

    def _read(
        self,
        nothing: V,
        ask: Callable[Concatenate[sa.Connection, P], V],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> V:
        """`nothing` where there is no file yet, which a question does not make."""
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
        return self._file is not None or self.path.exists()

    @contextmanager
    def _writing(self) -> Iterator[StoreFile]:
        """The open file; it is opened anew after it could not be written."""
        with self._errors():
            try:
                yield self._opened()
            except Exception as error:
                if isinstance(store_error(self.path, error), StoreUnavailable) and not is_locked(error):
                    self._let_go()
                raise

    def _opened(self) -> StoreFile:
        with self._opening:
            if self._file is None:
                engine = create_engine(self.path, self._options.busy_timeout)
                if not self._checked:
                    with engine.connect() as connection:
                        check(self.path, connection)
                self._checked = True
                self._file = StoreFile(self.path, engine, self._life, self._max_letters)
            return self._file

    def _let_go(self) -> None:
        with self._opening:
            if self._file is not None:
                self._file.abandon()
                self._file = None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Errors of the database say what they mean for the store."""
        try:
            yield
        except Exception as error:
            meaning = store_error(self.path, error)
            if meaning is None:
                raise
            raise meaning from error
