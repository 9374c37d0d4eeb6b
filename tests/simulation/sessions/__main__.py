"""`python -m tests.simulation.sessions N SEED`: N runs from that seed on, on all cores.

One run alone is told whole. Of many the last line is JSON: digests by seed, and what was reached. With the
name of a deliberate bug behind, the first story that gives it away; with `bugs` a line for each of them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter

from tests.simulation.sessions.run import HASH_SEED, Outcome, catch, catch_all, simulate, simulate_all

# So many stories are told whole, of the others the first line.
_WHOLE = 3


def main(count: int, first: int, bug: str = "") -> int:
    if bug == "bugs":
        return _bugs(range(first, first + count))
    if bug:
        caught = catch(bug, range(first, first + count))
        print(f"{bug!r} is not caught by {count} runs" if caught is None else caught.story)
        return caught is None
    if count == 1:
        return _one(first)
    began = time.perf_counter()
    outcomes: list[Outcome] = []
    failed: list[int] = []
    for outcome in simulate_all(range(first, first + count)):
        outcomes.append(outcome)
        if outcome.story:
            failed.append(outcome.seed)
            print(outcome.story if len(failed) <= _WHOLE else outcome.story.partition("\n")[0], flush=True)
            print(f"again: python -m tests.simulation.sessions 1 {outcome.seed}", flush=True)
    seconds = time.perf_counter() - began
    speed = count / seconds
    print(f"{count} runs in {seconds:.1f} s, {speed:.1f} a second; {len(failed)} failed: {sorted(failed)}")
    reached: Counter[str] = Counter()
    for outcome in outcomes:
        reached.update(outcome.counters)
    digests = {str(outcome.seed): outcome.digest for outcome in outcomes}
    print(json.dumps({"digests": dict(sorted(digests.items())), "reached": dict(sorted(reached.items()))}))
    return bool(failed)


def _one(seed: int) -> int:
    outcome = simulate(seed)
    print(outcome.story or f"seed {seed} is clean: {outcome.steps} steps, {outcome.counters}")
    return bool(outcome.story)


def _bugs(seeds: range) -> int:
    missed = 0
    for bug, caught in catch_all(seeds):
        missed += caught is None
        said = "is not caught" if caught is None else caught.story.partition("\n")[0]
        print(f"{bug}: {said}", flush=True)
    return bool(missed)


def _hashes_alike() -> bool:
    return os.environ.get("PYTHONHASHSEED") == HASH_SEED


if __name__ == "__main__":
    if not _hashes_alike():
        command = [sys.executable, "-m", "tests.simulation.sessions", *sys.argv[1:]]
        sys.exit(subprocess.call(command, env={**os.environ, "PYTHONHASHSEED": HASH_SEED}))
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:4]))
