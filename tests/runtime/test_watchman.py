"""The process that ends what a killed driver's Ray leaves running."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmgine.runtime import watchman as watchman_module
from llmgine.runtime.watchman import Watchman, below, is_ray


@pytest.fixture
def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])


def test_what_is_left_is_ended(sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """When its driver is gone, a watched process that still runs is ended."""
    started = below(os.getpid())[sleeper.pid]
    watchman = Watchman()
    watchman.watch({sleeper.pid: started})
    watchman.dismiss()
    assert sleeper.wait(timeout=5) < 0


def test_another_process_of_the_same_number_is_let_be(sleeper: subprocess.Popen[bytes]) -> None:
    """A process is known by its start time too."""
    started = below(os.getpid())[sleeper.pid]
    watchman = Watchman()
    watchman.watch({sleeper.pid: started + 1})
    watchman.dismiss()
    assert sleeper.poll() is None
    sleeper.kill()
    sleeper.wait()


def test_a_process_that_ends_meanwhile_stops_nobody(
    sleeper: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are ended although one has gone between looking and ending."""
    monkeypatch.setattr(watchman_module, "_MOMENT", 0.2)
    monkeypatch.setattr(
        watchman_module, "_runs", lambda pid, started: pid != sleeper.pid or sleeper.poll() is None
    )
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    watchman_module._end({gone.pid: 0, sleeper.pid: 0})
    assert sleeper.wait(timeout=5) < 0


def test_only_rays_own_processes_are_looked_for(tmp_path: Path) -> None:
    """Of what starts while Ray does, only processes of Ray's are watched."""
    folder = tmp_path / "ray"
    folder.mkdir()
    (folder / "server.py").write_text("import time; time.sleep(60)")
    watchman = Watchman()
    with watchman.looking():
        rays = subprocess.Popen([sys.executable, str(folder / "server.py")])
        other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "array"])
        while not is_ray(rays.pid):
            pass
    watchman.dismiss()
    assert rays.wait(timeout=5) < 0
    assert other.poll() is None
    other.kill()
    other.wait()
