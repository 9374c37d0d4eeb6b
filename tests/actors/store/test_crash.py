"""SIGKILL while many write: what was acknowledged is there, and every batch is whole."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

from llmgine.actors.store import StoreOptions
from llmgine.actors.store.queries import SessionFilter
from llmgine.actors.store.sql import SqlEngine, database_of
from tests.actors.store import rows

KILLS = 3
ROOT = Path(__file__).parents[3]


def acknowledged_until_killed(path: Path, first: int, lines: int) -> set[int]:
    """The batches that a process said were acknowledged, killed after so many of them."""
    command = [sys.executable, "-m", "tests.actors.store.writing", str(path), str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        said += process.stdout.readlines()
    return {int(line) for line in said if line.endswith("\n")}


def batches_in(engine: SqlEngine) -> dict[int, set[int]]:
    """Which of its four messages are there, for each batch of which there are any."""
    found: dict[int, set[int]] = defaultdict(set)
    last = engine.last_message()
    for row in rows.all_pages(lambda after: engine.journal(after, last, 1_000)):
        found[row.sequence // 4].add(row.sequence % 4)
    return found


def entries_in(engine: SqlEngine) -> set[int]:
    """The batches of which there is an entry in the journal of their session."""
    found: set[int] = set()
    for session in rows.all_pages(lambda after: engine.sessions.sessions(SessionFilter(), after, 1_000)):
        journal = engine.sessions.entries(session.id, 0, 1_000)
        assert journal.damage is None
        assert [number for number, _ in journal.rows] == list(range(1, session.head + 1))
        found.update(int(body) for _, body in journal.rows)
    return found


def test_what_was_acknowledged_outlives_a_kill_at_any_moment(tmp_path: Path) -> None:
    """Each life goes on with the file of the one before; nothing is missing, and nothing half there."""
    path = tmp_path / "store.db"
    acknowledged: set[int] = set()
    moments = random.Random(7)
    for life in range(KILLS):
        acknowledged |= acknowledged_until_killed(path, 1 + life * 1_000_000, moments.randint(1, 120))
        engine = SqlEngine(database_of(StoreOptions(url=f"sqlite:///{path}")), 100, 60.0, life=10**9 + life)
        found, entries = batches_in(engine), entries_in(engine)
        engine.close()
        assert acknowledged <= found.keys()
        assert entries == found.keys()
        assert all(found[batch] == {1, 2, 3} for batch in acknowledged)
        assert all(places in ({1, 2, 3}, {0, 1, 2, 3}) for places in found.values())
