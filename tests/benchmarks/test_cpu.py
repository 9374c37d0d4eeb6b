"""CPU time is that of a process and all that it started."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.cpu import Spent


def test_what_children_use_is_counted() -> None:
    """A child that works counts while it lives, and one that waits does not."""
    spent = Spent()
    busy = "import time; begun = time.process_time()\nwhile time.process_time() - begun < 0.3: pass\n"
    command = [sys.executable, "-c", busy + "print('done', flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        used = spent.seconds()
        child.communicate(b"\n")
    assert 0.25 < used < 5
