"""A few runs of a whole runtime, each with a fate of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.sessions.run import HASH_SEED

SEEDS = 8
REACHED = (
    "approved",
    "break",
    "crash of session",
    "deaths of all",
    "denied",
    "ghost",
    "refused batches",
    "snapshots",
    "too late",
    "crash of driver",
    "crash of provider",
    "crash of router",
    "crash of store",
    "crash of supervisor",
    "disk away",
    "effects",
    "stall",
    "turns done",
    "turns failed",
)
_ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def suite() -> dict[str, Any]:
    """What came of the runs, `told` in words where something forbidden happened."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation.sessions", str(SEEDS), "0", "suite"],
        check=False,
        cwd=_ROOT,
        env={**os.environ, "PYTHONHASHSEED": HASH_SEED},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *told, last = done.stdout.strip().splitlines()
    return {**json.loads(last), "told": "\n".join(told)}


def test_nothing_forbidden_happens(suite: dict[str, Any]) -> None:
    """Whatever dies, breaks or stands still, no acknowledged turn is lost or doubled; all comes to rest."""
    assert not suite["failed"], suite["told"]


def test_every_corner_is_reached(suite: dict[str, Any]) -> None:
    """The runs hold every fault, and turns that end well and that do not."""
    assert set(REACHED) <= suite["reached"].keys()


def test_the_same_seed_is_the_same_run(suite: dict[str, Any]) -> None:
    """A run depends on its seed alone: another process tells the same story, word by word."""
    assert suite["again"]
    assert all(suite["again"].values()), suite["again"]


def test_deliberate_bugs_are_caught(suite: dict[str, Any]) -> None:
    """With any one promise broken on purpose, a run fails that is clean without that bug."""
    assert len(suite["caught"]) > 8
    assert all(suite["caught"].values()), suite["caught"]
