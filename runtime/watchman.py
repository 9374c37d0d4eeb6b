"""Ends what a killed driver's own Ray leaves running.

Ray's servers go with the driver that started them, but the two agents of its node go on for a minute,
looking for them. So a driver that starts a Ray of its own starts this file beside it, as a process that
imports nothing of llmgine: it reads `pid start` lines from its standard input until the driver closes
that, or dies. Then it ends each of these processes that still runs, after a moment for those that end
by themselves. A process is known by its number and its start time, so a later one of the same number
is never touched. Where there is no /proc, nothing is watched.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

# How long a process may take to end by itself, and how long after SIGTERM, in seconds.
_MOMENT = 2.0

_PROC = Path("/proc")


class Watchman:
    """A child process that outlives this one just long enough."""

    def __init__(self, watched: dict[int, int]) -> None:
        """`watched` are processes by number and start time, as `below` gives them."""
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            # Ctrl-C at a terminal goes to the whole group; the watchman must see the driver out.
            start_new_session=True,
        )
        assert self._process.stdin is not None
        for pid, started in watched.items():
            self._process.stdin.write(f"{pid} {started}\n")
        self._process.stdin.flush()

    def dismiss(self) -> None:
        """The watched have been ended in order; what of them still runs is ended now."""
        self._process.communicate()


def below(pid: int) -> dict[int, int]:
    """All processes below this one, by number, with their start times in the kernel's ticks."""
    children: dict[int, list[int]] = {}
    started: dict[int, int] = {}
    for entry in _PROC.glob("[0-9]*"):
        fields = _stat(int(entry.name))
        if fields:
            children.setdefault(int(fields[1]), []).append(int(entry.name))
            started[int(entry.name)] = int(fields[19])
    found: dict[int, int] = {}
    queue = [pid]
    while queue:
        for child in children.get(queue.pop(), []):
            found[child] = started[child]
            queue.append(child)
    return found


def is_ray(pid: int) -> bool:
    """Whether the process's command line says that it is one of Ray's."""
    try:
        return b"ray" in (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return False


def _stat(pid: int) -> list[str]:
    """The fields of /proc/pid/stat from the state on; empty where there is no such process."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _runs(pid: int, started: int) -> bool:
    fields = _stat(pid)
    return bool(fields) and fields[0] != "Z" and int(fields[19]) == started


def _end(watched: dict[int, int]) -> None:
    for sign in (None, signal.SIGTERM, signal.SIGKILL):
        left = [pid for pid, started in watched.items() if _runs(pid, started)]
        if sign is not None:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, sign)
        deadline = time.monotonic() + _MOMENT
        while time.monotonic() < deadline and any(_runs(pid, watched[pid]) for pid in left):
            time.sleep(0.05)


def main() -> None:
    watched: dict[int, int] = {}
    for line in sys.stdin:
        pid, started = line.split()
        watched[int(pid)] = int(started)
    _end(watched)


if __name__ == "__main__":
    main()
