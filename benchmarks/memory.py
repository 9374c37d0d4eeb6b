"""Memory of a contender: its own process and all that it started, Ray's workers included."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_PAGE_MB: Final = os.sysconf("SC_PAGE_SIZE") / 2**20


def resident_mb(root: int | None = None) -> float:
    """Resident memory of the process and its descendants, less what they share, in MB."""
    return sum(_own_mb(pid) for pid in _family(os.getpid() if root is None else root))


def grown(before: float) -> float:
    """By how much the memory grew; never negative, for processes also give some back."""
    return max(0.0, resident_mb() - before)


def open_files(root: int | None = None) -> int:
    """Files and sockets that the process and its descendants hold open."""
    return sum(_count(pid) for pid in _family(os.getpid() if root is None else root))


def _family(root: int) -> list[int]:
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
