"""Processes that the harness starts, each bounded in time and gone with all its children."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent

_MARK: Final = "BENCHMARK_RUN"
_FORGETTING: Final = 5.0


def run(
    module: str, arguments: Sequence[str], timeout: float, python: str = sys.executable
) -> subprocess.CompletedProcess[str]:
    """Runs a module in a fresh process and an empty folder; TimeoutExpired when it takes too long.

    Whatever it started is gone when this returns, also after a timeout or an interrupt.
    """
    mark = uuid.uuid4().hex
    with _folder() as folder:
        process = subprocess.Popen(
            [python, "-m", module, *arguments],
            cwd=folder,
            env=environment(dict(os.environ), folder, mark),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=timeout)
        finally:
            process.kill()
            _end_descendants(process.pid, mark, folder)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
    return subprocess.CompletedProcess(process.args, process.returncode, output)


def environment(inherited: dict[str, str], folder: Path, mark: str) -> dict[str, str]:
    """No settings from outside, a Ray of its own, and a mark by which its processes are known."""
    kept = {
        name: value
        for name, value in inherited.items()
        if not name.startswith(("LLMGINE_", "RAY_")) and name != "PYTHONDONTWRITEBYTECODE"
    }
    return {
        **kept,
        _MARK: mark,
        "PYTHONPATH": str(ROOT),
        "RAY_ADDRESS": "local",
        "RAY_AUTH_MODE": "disabled",
        "RAY_TMPDIR": str(folder),
        "RAY_USAGE_STATS_ENABLED": "0",
    }


@contextmanager
def _folder() -> Iterator[Path]:
    """A working folder with a short path, for a socket's path has 107 characters at most."""
    folder = Path(tempfile.mkdtemp(prefix="b", dir="/tmp"))
    # An empty settings file hides the one that the user may have.
    (folder / "cluster.yaml").touch()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _end_descendants(session: int, mark: str, folder: Path) -> None:
    """Ends what the process left behind: Ray's processes are no children of it and may outlive it."""
    give_up = time.monotonic() + _FORGETTING
    while (left := _descendants(session, mark, folder)) and time.monotonic() < give_up:
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.02)


def _descendants(session: int, mark: str, folder: Path) -> list[int]:
    """Who lives in the session, carries the mark, or works in the folder.

    Each alone is not enough: some processes begin a session of their own, and those that set their
    title overwrite their environment with it.
    """
    wanted = f"{_MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            state, its_session = fields[0], int(fields[3])
            if state != "Z" and (
                its_session == session
                or wanted in (entry / "environ").read_bytes().split(b"\0")
                or (entry / "cwd").readlink().is_relative_to(folder)
            ):
                found.append(int(entry.name))
        except OSError:
            continue
    return found
