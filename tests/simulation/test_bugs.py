"""A test of the tests: with any one promise broken on purpose, the simulation fails."""

from __future__ import annotations

import pytest

from tests.simulation.bugs import BUGS
from tests.simulation.run import catch

SEEDS = range(180, 430)
"""Within these schedules each bug must have given itself away; most do so in the first of them."""


@pytest.mark.parametrize("bug", sorted(BUGS))
def test_a_deliberate_bug_is_caught(bug: str) -> None:
    """The simulation notices the bug, and its story names the seed to see it again with."""
    caught = catch(bug, SEEDS)
    assert caught is not None, f"no seed of {SEEDS} notices {bug!r}"
    assert caught.story.startswith(f"seed {caught.seed},")
