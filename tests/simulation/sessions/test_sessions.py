"""A few runs of a whole runtime, each with a fate of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SEEDS = 10
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


def run(count: int, first: int = 0) -> tuple[int, str, dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation.sessions", str(count), str(first)],
        check=False,
        cwd=_ROOT,
        capture_output=True,
        text=True,
    )
    lines = done.stdout.strip().splitlines() or [done.stderr]
    last = json.loads(lines[-1]) if lines[-1].startswith("{") else {}
    return done.returncode, done.stdout + done.stderr, last


@pytest.fixture(scope="module")
def runs() -> tuple[int, str, dict[str, Any]]:
    return run(SEEDS)


def test_nothing_forbidden_happens(runs: tuple[int, str, dict[str, Any]]) -> None:
    """Whatever dies, breaks or stands still, no acknowledged turn is lost or doubled; all comes to rest."""
    status, said, _ = runs
    assert status == 0, said


def test_every_corner_is_reached(runs: tuple[int, str, dict[str, Any]]) -> None:
    """The runs hold every fault, and turns that end well and that do not."""
    assert set(REACHED) <= runs[2]["reached"].keys()


def test_the_same_seed_is_the_same_run(runs: tuple[int, str, dict[str, Any]]) -> None:
    """A run depends on its seed alone: another process tells the same story, word by word."""
    _, _, again = run(2)
    assert again["digests"] == {seed: runs[2]["digests"][seed] for seed in ("0", "1")}
