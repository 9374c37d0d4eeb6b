"""The log beside the store's file is worked off while commits go on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from llmgine.actors.store.operations import PutLetter
from llmgine.actors.store.queries import LetterFilter
from llmgine.actors.store.sql import SqlEngine, checkpoints
from tests.actors.store import rows
from tests.actors.store.files import path_of, write

MakeEngine = Callable[..., SqlEngine]


class AtOnce:
    """In place of a thread."""

    def __init__(self, *arguments: Any, **options: Any) -> None: ...

    def submit(self, work: Callable[[], bool]) -> Future[bool]:
        future: Future[bool] = Future()
        future.set_result(work())
        return future

    def shutdown(self) -> None: ...


def _log_of(engine: SqlEngine) -> Path:
    path = path_of(engine)
    return path.with_name(f"{path.name}-wal")


def _write_letters(engine: SqlEngine, numbers: range) -> None:
    for number in numbers:
        write(engine, PutLetter(rows.letter(f"letter-{number}")), ticket=number + 1)


def test_the_log_begins_anew_while_commits_go_on(sql: MakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, it stays as long as a few of them made it."""
    monkeypatch.setattr(checkpoints, "_ROWS", 20)
    monkeypatch.setattr(checkpoints, "ThreadPoolExecutor", AtOnce)
    engine = sql()
    _write_letters(engine, range(30))
    early = _log_of(engine).stat().st_size
    _write_letters(engine, range(30, 330))
    assert _log_of(engine).stat().st_size <= 2 * early


def test_what_is_moved_beside_commits_is_there_in_the_next_life(
    sql: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a thread of its own, which ends with the store."""
    monkeypatch.setattr(checkpoints, "_ROWS", 5)
    engine = sql()
    _write_letters(engine, range(100))
    engine.close()
    assert not _log_of(engine).exists()
    assert sql().count_letters(LetterFilter()) == 100


def test_a_file_that_was_removed_is_not_made_anew(tmp_path: Path) -> None:
    """Whoever looks for it next finds out."""
    path = tmp_path / "store.db"
    assert not checkpoints.Checkpoints(path)._move()
    assert not path.exists()
