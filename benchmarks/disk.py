"""How fast the disk is on which durable figures stand."""

from __future__ import annotations

import os
import time
from pathlib import Path
from statistics import median


def fsync_us(place: Path, times: int = 200) -> float:
    """The median time of writing a page and having it on the disk, in microseconds."""
    taken = []
    with (place / "fsync").open("wb") as file:
        for _ in range(times):
            begun = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            taken.append((time.perf_counter() - begun) * 1e6)
    return median(taken)
