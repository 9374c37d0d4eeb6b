"""`python -m tests.simulation N SEED`: so many schedules from that seed on, on all cores; prints how many a second."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time

from tests.simulation.account import Violation
from tests.simulation.plan import make_plan
from tests.simulation.world import World

STEPS = 2_000


def simulate(seed: int) -> tuple[int, str, dict[str, int]]:
    world = World(make_plan(seed, STEPS))
    try:
        world.run()
    except Violation as violation:
        return seed, str(violation), world.counters
    return seed, "", world.counters | {"steps": world.scheduler.steps}


def main(count: int, first: int) -> int:
    began = time.perf_counter()
    failed = 0
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        for _, story, _ in pool.imap_unordered(simulate, range(first, first + count), chunksize=4):
            if story:
                failed += 1
                print(story, flush=True)
    seconds = time.perf_counter() - began
    print(f"{count} schedules of {STEPS} steps, {failed} failed, {count / seconds:.1f} a second")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:3])))
