"""Processes that descend from this one, on Linux: to whom they fall, how one ends, how all are ended."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

_SET_PARENT_DEATH_SIGNAL, _SET_CHILD_SUBREAPER = 1, 36
# How long processes that were killed may take to go, in seconds.
_GOING = 10.0


def adopt_orphans() -> None:
    """From now on whatever descends from this process falls to it, not to init, when its parent ends."""
    _prctl(_SET_CHILD_SUBREAPER, 1)


def end_with_parent() -> None:
    """From now on this process is killed when its parent ends."""
    _prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)


def memory_taken() -> int:
    """The bytes of address space that this process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * os.sysconf("SC_PAGE_SIZE")


def wait_for(child: int, watched: socket.socket) -> int:
    """The child's exit code, negative for a signal; its end is forced when `watched` is closed over there."""
    ends = os.pidfd_open(child)
    try:
        poll = select.poll()
        poll.register(ends, select.POLLIN)
        poll.register(watched, select.POLLRDHUP)
        if all(descriptor != ends for descriptor, _ in poll.poll()):
            os.kill(child, signal.SIGKILL)
    finally:
        os.close(ends)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def end_all() -> None:
    """Kills everything that descends from this process; returns when it is gone."""
    until = time.monotonic() + _GOING
    while time.monotonic() < until:
        found = list(descendants(os.getpid()))
        if not found:
            return
        # Stopped first, so that none of them can start another meanwhile.
        for kind in (signal.SIGSTOP, signal.SIGKILL):
            for process in found:
                _signal(process, kind)
        _bury()


def descendants(process: int) -> Iterator[int]:
    """The processes below this one, nearest first; those that ended and are not buried yet among them."""
    level = [process]
    while level:
        level = [child for parent in level for child in _children(parent)]
        yield from level


def _children(process: int) -> list[int]:
    found: list[int] = []
    for listed in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            found += map(int, listed.read_text().split())
        except OSError:
            continue  # it has ended since
    return found


def _signal(process: int, kind: signal.Signals) -> None:
    try:
        os.kill(process, kind)
    except (ProcessLookupError, PermissionError):
        return


def _bury() -> None:
    """Takes the exit codes of all children that have ended, and gives the others a moment."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            continue
        time.sleep(0.001)
    except ChildProcessError:
        return


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")
