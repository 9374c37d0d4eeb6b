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
import threading
import time
from collections.abc import Iterator
from pathlib import Path

# How long a process may take to end by itself, and how long after SIGTERM, in seconds.
_MOMENT = 2.0

# How often a starting driver looks for processes of Ray's.
_LOOK = 0.2

_PROC = Path("/proc")


class Watchman:
    """A child process that outlives this one just long enough."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            # Ctrl-C at a terminal goes to the whole group; the watchman must see the driver out.
            start_new_session=True,
        )

    def watch(self, processes: dict[int, int]) -> None:
        """Adds processes, by number and start time, to those that must not outlive this one."""
        assert self._process.stdin is not None
        for pid, started in processes.items():
            self._process.stdin.write(f"{pid} {started}\n")
        self._process.stdin.flush()

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """While it holds, each process of Ray's that appears below this one is watched at once.

        A thread looks, because starting Ray holds up the one that does it.
        """
        before, over = below(os.getpid()), threading.Event()

        def look() -> None:
            known = set(before)
            while True:
                last = over.wait(_LOOK)
                found = {
                    pid: at for pid, at in below(os.getpid()).items() if pid not in known and is_ray(pid)
                }
                known |= found.keys()
                with contextlib.suppress(OSError, ValueError):  # dismissed meanwhile
                    self.watch(found)
                if last:
                    return

        looker = threading.Thread(target=look, name="llmgine-watchman", daemon=True)
        looker.start()
        try:
            yield
        finally:
            over.set()
            looker.join()

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
        command = (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return False
    return b"/ray/" in command or command.startswith(b"ray::")


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
