"""A test of the tests: with any one promise broken on purpose, the simulation of sessions fails."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SEEDS = 40
"""Within so many runs each bug must have given itself away."""

_ROOT = Path(__file__).parents[3]


def test_deliberate_bugs_are_caught() -> None:
    """Each deliberate bug is noticed by a run that is clean without it."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation.sessions", str(SEEDS), "0", "bugs"],
        check=False,
        cwd=_ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
