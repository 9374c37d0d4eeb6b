"""`python -m tests.simulation.sessions N SEED`: N runs from that seed on, on all cores.

One run alone is told whole. With the name of a deliberate bug behind, the first story that gives it away;
with `bugs` a line for each of them. `suite` does everything once and says what came of it as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from typing import Any

from tests.simulation.sessions.run import HASH_SEED, Outcome, Runs, catch, simulate

# So many stories are told whole, of the others the first line.
_WHOLE = 3
# Runs within which the suite wants each deliberate bug to be caught, and runs that it repeats.
_HUNT = 40
_REPEATED = 2


def main(count: int, first: int, what: str = "") -> int:
    seeds = range(first, first + count)
    match what:
        case "" if count == 1:
            return _one(first)
        case "":
            return _many(seeds)
        case "bugs":
            return _bugs(seeds)
        case "suite":
            return _suite(seeds)
    caught = catch(what, seeds)
    print(f"{what!r} is not caught by {count} runs" if caught is None else caught.story)
    return caught is None


def _one(seed: int) -> int:
    outcome = simulate(seed)
    print(outcome.story or f"seed {seed} is clean: {outcome.steps} steps, {outcome.counters}")
    return bool(outcome.story)


def _many(seeds: range) -> int:
    began = time.perf_counter()
    with Runs() as runs:
        failed = [outcome.seed for outcome in _told(runs.simulate(seeds)) if outcome.story]
    seconds = time.perf_counter() - began
    speed = len(seeds) / seconds
    print(
        f"{len(seeds)} runs in {seconds:.1f} s, {speed:.1f} a second; {len(failed)} failed: {sorted(failed)}"
    )
    return bool(failed)


def _bugs(seeds: range) -> int:
    missed = 0
    with Runs() as runs:
        for bug, caught in runs.catch(seeds):
            missed += caught is None
            said = "is not caught" if caught is None else caught.story.partition("\n")[0]
            print(f"{bug}: {said}", flush=True)
    return bool(missed)


def _suite(seeds: range) -> int:
    with Runs() as runs:
        outcomes = _told(runs.simulate(seeds))
        clean = frozenset(outcome.seed for outcome in outcomes if not outcome.story)
        caught = {bug: one is not None for bug, one in runs.catch(range(_HUNT), clean)}
    reached = sum((Counter(outcome.counters) for outcome in outcomes), Counter[str]())
    digests = {outcome.seed: outcome.digest for outcome in outcomes}
    again = {seed: simulate(seed).digest == digests[seed] for seed in seeds[:_REPEATED]}
    failed = [outcome.seed for outcome in outcomes if outcome.story]
    said: dict[str, Any] = {"failed": failed, "reached": reached, "again": again, "caught": caught}
    print(json.dumps(said))
    return 0


def _told(outcomes: Any) -> list[Outcome]:
    """All of them, those that failed told as they come."""
    known: list[Outcome] = []
    failed = 0
    for outcome in outcomes:
        known.append(outcome)
        if outcome.story:
            failed += 1
            print(outcome.story if failed <= _WHOLE else outcome.story.partition("\n")[0], flush=True)
            print(f"again: python -m tests.simulation.sessions 1 {outcome.seed}", flush=True)
    return known


def _hashes_alike() -> bool:
    return os.environ.get("PYTHONHASHSEED") == HASH_SEED


if __name__ == "__main__":
    if not _hashes_alike():
        command = [sys.executable, "-m", "tests.simulation.sessions", *sys.argv[1:]]
        sys.exit(subprocess.call(command, env={**os.environ, "PYTHONHASHSEED": HASH_SEED}))
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:4]))
