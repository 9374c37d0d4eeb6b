"""CPU time of processes: a contender's own and all that it started, or chosen ones."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

from benchmarks.memory import family

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class Spent:
    """Measures from its making on, by default this process and all its descendants."""

    def __init__(self, processes: Collection[int] | None = None) -> None:
        self._processes = processes
        self._before = self._used_s()

    def seconds(self) -> float:
        """What the processes that live now have used meanwhile, new ones from their start."""
        return sum(used - self._before.get(pid, 0.0) for pid, used in self._used_s().items())

    def _used_s(self) -> dict[int, float]:
        processes = family(os.getpid()) if self._processes is None else self._processes
        return {pid: used for pid in processes if (used := _seconds(pid)) is not None}


def _seconds(pid: int) -> float | None:
    """In its own code and in the system's for it; None where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
