"""`python -m tests.simulation N SEED`: N schedules from that seed on, on all cores; prints how many a second.

With the name of a deliberate bug behind, it prints the first story that gives the bug away.
"""

from __future__ import annotations

import sys
import time

from tests.simulation.bugs import BUGS
from tests.simulation.run import STEPS, catch, explain, simulate, simulate_all

# So many stories are told whole, of the others the first line.
_WHOLE = 3


def main(count: int, first: int, bug: str = "") -> int:
    seeds = range(first, first + count)
    if bug:
        caught = catch(bug, seeds)
        if caught is None:
            print(f"{bug!r} is not caught by {count} seeds")
            return 1
        with BUGS[bug]():
            print(explain(caught.seed))
        return 0
    if count == 1:
        outcome = simulate(first)
        if outcome.story:
            print(explain(first))
            return 1
        print(f"seed {first} is clean: {outcome.steps} steps, {outcome.counters}")
        return 0
    began = time.perf_counter()
    failed = []
    for outcome in simulate_all(seeds):
        if outcome.story:
            failed.append(outcome.seed)
            whole = len(failed) <= _WHOLE
            print(explain(outcome.seed) if whole else outcome.story.partition("\n")[0], flush=True)
    seconds = time.perf_counter() - began
    print(
        f"{count} schedules of {STEPS} steps and what they left in {seconds:.1f} s,"
        f" {count / seconds:.1f} a second; {len(failed)} failed: {sorted(failed)}"
    )
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:4]))
