"""CPU time of a contender's processes: its own and all that it started."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from benchmarks.memory import family

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class Spent:
    """Measures from its making on."""

    def __init__(self) -> None:
        self._before = _used_s()

    def seconds(self) -> float:
        """What the processes that live now have used meanwhile, new ones from their start."""
        return sum(used - self._before.get(pid, 0.0) for pid, used in _used_s().items())


def _used_s() -> dict[int, float]:
    return {pid: used for pid in family(os.getpid()) if (used := _seconds(pid)) is not None}


def _seconds(pid: int) -> float | None:
    """In its own code and in the system's for it; None where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
