"""Arize Phoenix in an environment and a folder of its own, as long as it is needed."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

REQUIREMENT: Final = "arize-phoenix>=20"
PATIENCE: Final = 300.0


def installed(folder: Path) -> Path:
    """The program, installed at the first use: 850 MB, some minutes."""
    program = folder / "venv" / "bin" / "phoenix"
    if not program.exists():
        print(f"installing {REQUIREMENT} into {folder / 'venv'}; this takes some minutes", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        subprocess.run([folder / "venv/bin/pip", "install", "-q", REQUIREMENT], check=True)
    return program


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """Where it answers, on loopback; ended with the block, its data stay in the folder."""
    port, grpc_port = _free_port(), _free_port()
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    environ = {
        **os.environ,
        "PHOENIX_WORKING_DIR": str(data),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(grpc_port),
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
        "PHOENIX_DISABLE_AGENT_ASSISTANT": "true",
    }
    url = f"http://127.0.0.1:{port}"
    with open(folder / "phoenix.log", "wb") as log:
        process = subprocess.Popen([installed(folder), "serve"], env=environ, stdout=log, stderr=log)
        try:
            _wait_until_up(url, process, folder)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def asked(url: str, question: dict[str, Any] | None = None) -> Any:
    """The JSON at that address, or what comes of posting the question there."""
    body = None if question is None else json.dumps(question).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def _wait_until_up(url: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise RuntimeError(f"Phoenix ended with code {process.returncode}; see {folder / 'phoenix.log'}")
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise TimeoutError(f"Phoenix did not answer within {PATIENCE:g} s; see {folder / 'phoenix.log'}")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
