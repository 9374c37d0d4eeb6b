"""Scripts in processes of their own, forked from one that has imported what all of them import."""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import IO


class Warm:
    """Runs scripts as `python script` would: with folder, environment and output of their own."""

    def __init__(self, *modules: str) -> None:
        # Without a buffer: what has been read ahead could not be waited for.
        self._server = subprocess.Popen(
            [sys.executable, __file__, *modules], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )

    def __enter__(self) -> Warm:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.communicate()

    def run(
        self, script: Path, *arguments: object, cwd: Path, timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """What the script came to, in whose time it is killed."""
        command = [str(script), *map(str, arguments)]
        with TemporaryDirectory() as folder:
            said = [Path(folder) / name for name in ("out", "err")]
            job = {
                "command": command,
                "cwd": str(cwd),
                "environ": dict(os.environ),
                "said": [*map(str, said)],
            }
            pid = self._ask(json.dumps(job))
            replies = select.select([self._told()], [], [], timeout)[0]
            if not replies:
                os.kill(pid, signal.SIGKILL)
            code = self._heard()
            out, err = (Path(name).read_text(encoding="utf-8") for name in said)
        if not replies:
            raise subprocess.TimeoutExpired(command, timeout, out, err)
        return subprocess.CompletedProcess(command, code, out, err)

    def _ask(self, job: str) -> int:
        assert self._server.stdin is not None
        self._server.stdin.write(f"{job}\n".encode())
        return self._heard()

    def _heard(self) -> int:
        return int(self._told().readline())

    def _told(self) -> IO[bytes]:
        assert self._server.stdout is not None
        return self._server.stdout


def _serve() -> None:
    """Forks for each line; a forked process leaves by the end of this file, as any other does."""
    for name in sys.argv[1:]:
        importlib.import_module(name)
    gc.freeze()
    for line in iter(sys.stdin.readline, ""):
        pid = os.fork()
        if not pid:
            _become(**json.loads(line))
            return
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _become(command: list[str], cwd: str, environ: dict[str, str], said: list[str]) -> None:
    for place, name in enumerate((os.devnull, *said)):
        file = os.open(name, os.O_RDWR | os.O_CREAT)
        os.dup2(file, place)
        os.close(file)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = command
    sys.path[0] = str(Path(command[0]).parent)
    runpy.run_path(command[0], run_name="__main__")


if __name__ == "__main__":
    _serve()
