"""One seed, or many on all cores; a seed repeats itself exactly, in any process that hashes alike."""

from __future__ import annotations

import functools
import gc
import hashlib
import multiprocessing
import os
from collections.abc import Iterator
from typing import NamedTuple

from tests.simulation.sessions.account import Violation
from tests.simulation.sessions.bugs import BUGS
from tests.simulation.sessions.plan import make_plan
from tests.simulation.sessions.world import World

HASH_SEED = "0"
_TOGETHER = 2


class Outcome(NamedTuple):
    """What came of one seed; `story` is empty where nothing forbidden happened."""

    seed: int
    story: str
    steps: int
    counters: dict[str, int]
    digest: str


def simulate(seed: int) -> Outcome:
    world = World(make_plan(seed))
    story = ""
    try:
        world.run()
    except Violation as violation:
        story = str(violation)
    digest = hashlib.sha256("\n".join(world.account.digest()).encode()).hexdigest()
    return Outcome(seed, story, world.loop.steps, dict(world.account.counters), digest)


class Runs:
    """Processes that simulate on all cores; all hash alike."""

    def __init__(self) -> None:
        os.environ["PYTHONHASHSEED"] = HASH_SEED
        # A fresh interpreter each: what this process holds open does not come along.
        self._pool = multiprocessing.get_context("spawn").Pool(os.cpu_count(), gc.freeze)

    def __enter__(self) -> Runs:
        return self

    def __exit__(self, *error: object) -> None:
        self._pool.terminate()

    def simulate(self, seeds: range) -> Iterator[Outcome]:
        """In no particular order."""
        return self._pool.imap_unordered(simulate, seeds, chunksize=_TOGETHER)

    def catch(
        self, seeds: range, clean: frozenset[int] = frozenset()
    ) -> Iterator[tuple[str, Outcome | None]]:
        """For each deliberate bug who noticed it; `clean` are seeds that are known to be so."""
        return self._pool.imap_unordered(functools.partial(_caught, seeds, clean), sorted(BUGS))


def _caught(seeds: range, clean: frozenset[int], bug: str) -> tuple[str, Outcome | None]:
    return bug, catch(bug, seeds, clean)


def catch(bug: str, seeds: range, clean: frozenset[int] = frozenset()) -> Outcome | None:
    """The first seed that notices a deliberate bug and is clean without it; None where none does."""
    for seed in seeds:
        with BUGS[bug]():
            outcome = simulate(seed)
        if outcome.story and (seed in clean or not simulate(seed).story):
            return outcome
    return None
