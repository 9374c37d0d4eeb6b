"""The command line: which case, how thoroughly, and in which form."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from benchmarks import store
from benchmarks.contract import FULL, QUICK
from benchmarks.harness import CaseFailed, run_case
from benchmarks.registry import CASES

ALL = "all"


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when every case that was asked for has been measured."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.quick and options.record:
        parser.error("--record takes the figures of a whole run; leave out --quick")
    if options.case is None:
        print(_listing())
        return 0
    # A run that is told to end takes its processes with it.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    names = list(CASES) if options.case == ALL else [options.case]
    return max(_run(name, options) for name in names)


def _run(name: str, options: argparse.Namespace) -> int:
    try:
        result = run_case(CASES[name], QUICK if options.quick else FULL, peers=options.peers)
    except CaseFailed as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    print(result.json if options.json else result.table, flush=True)
    if options.quick:
        print("a quick run shows that the case works: its figures are not kept", file=sys.stderr)
        return 0
    store.keep(result)
    if options.record:
        store.record(result)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measures llmgine beside its peers."
    )
    parser.add_argument("case", nargs="?", choices=[*CASES, ALL], help="without one, the cases are listed")
    parser.add_argument("--json", action="store_true", help="one line of JSON per case instead of a table")
    parser.add_argument("--quick", action="store_true", help="2 short rounds: it shows that the case works")
    parser.add_argument("--no-peers", action="store_false", dest="peers", help="only llmgine")
    parser.add_argument("--record", action="store_true", help=f"add a row per figure to {store.HISTORY.name}")
    return parser


def _listing() -> str:
    width = max(map(len, CASES))
    lines = [f"  {name.ljust(width)}  {case.summary}" for name, case in CASES.items()]
    hint = "`python -m benchmarks CASE` runs one, `all` every one; `python -m benchmarks.report` draws them"
    return "\n".join(["Cases:", *lines, "", hint])
