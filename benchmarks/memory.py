"""Memory and open files of processes: a contender's own, all that it started, or chosen ones."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

_PAGE_MB: Final = os.sysconf("SC_PAGE_SIZE") / 2**20


def resident_mb(processes: Iterable[int] | None = None) -> dict[int, float]:
    """What each of them holds, less what it shares, in MB; by default this one and all its descendants."""
    return {pid: _own_mb(pid) for pid in processes or family(os.getpid())}


def grown(before: Mapping[int, float], after: Mapping[int, float]) -> float:
    """By how much the processes grew, new ones from nothing; what others gave back is not set against it."""
    return sum(max(0.0, held - before.get(pid, 0.0)) for pid, held in after.items())


def open_files(processes: Iterable[int]) -> int:
    """Files and sockets that they hold open."""
    return sum(map(_count, processes))


def family(root: int) -> list[int]:
    """A process and all its descendants."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            parents.setdefault(_parent(folder), []).append(int(folder.name))
    family = [root]
    for pid in family:
        family += parents.get(pid, [])
    return family


def _parent(folder: Path) -> int:
    try:
        # The name of the program stands in brackets and may hold anything.
        return int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError):
        return 0


def _own_mb(pid: int) -> float:
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except (OSError, ValueError):
        return 0.0
    return (int(resident) - int(shared)) * _PAGE_MB


def _count(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0
