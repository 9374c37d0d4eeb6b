"""How much memory processes hold, and by how much they have grown."""

from __future__ import annotations

import os

from benchmarks.memory import grown, resident_mb


def test_what_one_gives_back_hides_no_growth_of_another() -> None:
    """Processes that grew count, new ones wholly; those that shrank or have ended do not."""
    assert grown({1: 10.0, 2: 50.0, 3: 70.0}, {1: 14.0, 2: 40.0, 4: 3.0}) == 7.0


def test_a_process_that_fills_memory_has_grown() -> None:
    """What is held is read from the system, for this process at least."""
    before = resident_mb([os.getpid()])
    filled = b"x" * (32 << 20)
    assert 16 < grown(before, resident_mb([os.getpid()])) < 64
    assert len(filled) == 32 << 20
