"""A test of the tests: with any one promise broken on purpose, the simulation fails."""

from __future__ import annotations

import pytest

from tests.simulation.bugs import BUGS
from tests.simulation.run import catch

SEEDS = 250
"""Within so many schedules each bug must have given itself away."""


@pytest.mark.parametrize("bug", sorted(BUGS))
def test_a_deliberate_bug_is_caught(bug: str) -> None:
    """The simulation notices the bug, and its story names the seed to see it again with."""
    caught = catch(bug, range(SEEDS))
    assert caught is not None, f"no seed below {SEEDS} notices {bug!r}"
    assert caught.story.startswith(f"seed {caught.seed},")
