"""One contender of one case, in the process of its own that the harness starts.

`python -m benchmarks.contender NAME CASE REPEATS SCALE` prints one line of JSON on stdout:
`{"rounds": [figures], "distributions": {figure: points}, "courses": {figure: {line: points}}, "notes":
[text]}`. All else that anyone in
here prints goes to stderr.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import traceback
from typing import Any

import uvloop

from benchmarks.contract import Effort, Stage, Violation
from benchmarks.figures import quantiles
from benchmarks.registry import module_of


def main(arguments: list[str]) -> int:
    name, case, repeats, scale = arguments
    answer = _take_stdout()
    try:
        report = uvloop.run(_measured(name, case, Effort(int(repeats), float(scale))))
    except Exception as error:
        if isinstance(error, Violation):
            print(f"{name} in {case}: {error}", file=sys.stderr, flush=True)
        else:
            traceback.print_exc()
        # Without the usual goodbyes: Ray's takes a minute once its servers are gone, and the harness
        # ends whatever is left.
        os._exit(1)
    with os.fdopen(answer, "w", encoding="utf-8") as stream:
        stream.write(json.dumps(report) + "\n")
    return 0


def _take_stdout() -> int:
    """The real stdout; what prints from now on, also in children, reaches stderr."""
    real = os.dup(1)
    os.dup2(2, 1)
    return real


async def _measured(name: str, case: str, effort: Effort) -> dict[str, Any]:
    stage: Stage = importlib.import_module(module_of(name, case)).stage
    async with stage(case) as measure:
        await measure(effort.warm_up)
        # What every contender has loaded is left out of collections of garbage, which stop all for 0.1 s.
        gc.freeze()
        rounds = [await measure(effort) for _ in range(effort.repeats)]
    merged: dict[str, list[float]] = {}
    for one in rounds:
        for figure, samples in one.samples.items():
            merged.setdefault(figure, []).extend(samples)
    return {
        "rounds": [one.figures for one in rounds],
        "distributions": {figure: quantiles(samples) for figure, samples in merged.items()},
        "courses": rounds[-1].courses,
        "notes": [note for one in rounds for note in one.notes],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
