"""The runtime that tests share, as a file has it, and drivers as processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
import pytest_asyncio

from llmgine.runtime import Runtime


class StartDriver(Protocol):
    def __call__(self, source: str, *arguments: str, folder: str = ..., local: bool = ...) -> Any: ...


@pytest.fixture
def name() -> str:
    """A name that no other runtime on the shared Ray has."""
    return new_name()


def new_name() -> str:
    return f"t-{uuid.uuid4().hex[:8]}"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def runtime(shared_runtime: Callable[[], Runtime]) -> AsyncIterator[Runtime]:
    """The one that files share, joined for the whole file; who uses it removes handlers and ends sessions."""
    async with shared_runtime() as opened:
        yield opened


@pytest.fixture
def start_driver(ray_cluster: str, tmp_path: Path) -> Iterator[StartDriver]:
    """Starts Python source as a driver script of its own; what still runs at the end is ended."""
    running: list[subprocess.Popen[str]] = []

    def start(source: str, *arguments: str, folder: str = "driver", local: bool = False) -> Any:
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        script = place / "driver.py"
        script.write_text(textwrap.dedent(source))
        environ = {
            **os.environ,
            "RAY_ADDRESS": "local" if local else ray_cluster,
            "LLMGINE_DATA_DIR": str(tmp_path / "data"),
        }
        process = subprocess.Popen(
            [sys.executable, str(script), *arguments],
            cwd=place,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finished(process: subprocess.Popen[str], timeout: float = 60.0) -> str:
    """What the driver printed; fails with its errors where it did not end well."""
    out, errors = process.communicate(timeout=timeout)
    assert process.returncode == 0, errors
    return out.strip()


@pytest.fixture
def output_of() -> Callable[..., str]:
    return finished


def lives(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def alive() -> Callable[[int], bool]:
    return lives
