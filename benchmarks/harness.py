"""Runs a case: ours first, then each peer, one process each, one after the other."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from benchmarks import environments, processes
from benchmarks.contract import Case, Effort, Peer
from benchmarks.figures import Outcome, json_line, outcome, table
from benchmarks.machine import machine, versions
from benchmarks.registry import OURS, PEERS

Runner = Callable[[str, Case, Effort], Outcome]


class CaseFailed(Exception):
    """Ours could not be measured; there is no result."""


@dataclass(frozen=True, slots=True)
class Result:
    """All that one run of a case gave."""

    case: Case
    ours: Outcome
    peers: dict[str, Outcome]
    machine: dict[str, Any]
    versions: dict[str, str]

    @property
    def json(self) -> str:
        return json_line(self.case, self.ours, self.peers, self.machine, self.versions)

    @property
    def table(self) -> str:
        return table(self.case, self.ours, self.peers)


def run_case(case: Case, effort: Effort, *, peers: bool = True, runner: Runner | None = None) -> Result:
    """Raises `CaseFailed` where ours gives no figures; a peer that gives none is left out with the reason."""
    runner = runner or run_contender
    where = machine()
    ours = runner(OURS, case, effort)
    if not ours.figures:
        raise CaseFailed(f"{case.name}: {ours.absent}")
    others = {}
    for peer in _peers(case) if peers else ():
        others[peer.name] = _beside(peer, case, effort, runner)
        if others[peer.name].absent:
            print(f"left out: {peer.name}: {others[peer.name].absent}", file=sys.stderr)
    return Result(case, ours, others, where, versions() | _versions_of(others))


def missing(peer: Peer) -> str:
    """What is to be installed for this peer; empty where nothing is. Its own environment is made now."""
    if peer.environment:
        return environments.prepare(peer)
    absent = [module for module in peer.requires if find_spec(module) is None]
    return f"not installed: {', '.join(absent)} ({peer.install})" if absent else ""


def run_contender(name: str, case: Case, effort: Effort) -> Outcome:
    """One contender in a process of its own; one that fails says so on stderr itself."""
    print(f"{case.name}: measuring {name}", file=sys.stderr, flush=True)
    arguments = [name, case.name, str(effort.repeats), str(effort.scale)]
    python = sys.executable if name == OURS else str(environments.python(PEERS[name]))
    try:
        done = processes.run("benchmarks.contender", arguments, case.timeout, python)
    except subprocess.TimeoutExpired:
        return Outcome(absent=f"{name} was not ready within {case.timeout:g} s")
    if done.returncode != 0:
        return Outcome(absent=f"{name} ended with code {done.returncode}; the reason stands above")
    return outcome(json.loads(done.stdout))


def _peers(case: Case) -> Iterator[Peer]:
    for name in case.peers:
        yield PEERS[name]


def _versions_of(others: dict[str, Outcome]) -> dict[str, str]:
    """What the environments of the measured peers hold."""
    measured = [name for name, one in others.items() if one.figures]
    return {
        package: version
        for name in measured
        for package, version in environments.versions(PEERS[name]).items()
    }


def _beside(peer: Peer, case: Case, effort: Effort, runner: Runner) -> Outcome:
    reason = missing(peer)
    return Outcome(absent=reason) if reason else runner(peer.name, case, effort)
