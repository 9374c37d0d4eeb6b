"""Every process killed at once, Ray's own included, with durable events pending; then a new launch."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.faults.books import FileBooks

_PATIENCE = 120.0

DRIVER = """
import asyncio, sys
from pathlib import Path
from llmgine.runtime import Delivery, Runtime
from tests.faults.books import FileBooks, Numbered
from tests.faults.death import SESSIONS

folder, count, first = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "first"
books = FileBooks(folder / "death.tsv")

async def take(event: Numbered, delivery: Delivery) -> None:
    if first and books.count >= count // 4:
        await asyncio.Event().wait()
    books.write(event, delivery)

async def main() -> None:
    settings = {"data_dir": folder / "data", "sessions": {"warm": 0}}
    async with Runtime.launch(settings, name="death") as runtime:
        await runtime.bus.register_event_handler(Numbered, take, name="durable", durable=True, deadline=600.0)
        if first:
            for number in range(count):
                event = Numbered(session_id=f"s{number % SESSIONS}", number=number // SESSIONS)
                receipt = await runtime.bus.publish(event)
                assert receipt.admitted and not receipt.refused, receipt
        print("ready", flush=True)
        while not first and books.count < count:
            await asyncio.sleep(0.05)
        print("done", flush=True)
        if first:
            await asyncio.Event().wait()

asyncio.run(main())
"""

SESSIONS = 20


async def everything_killed(folder: Path, count: int, next_ray: str = "local") -> str:
    """Durable events that were admitted are handled after the death of every process, in their order.

    The new launch is on the Ray at `next_ray`, or on one of its own.
    """
    books = FileBooks(folder / "death.tsv")
    first = _driver(folder, count, "first", "local")
    await _says(first, "ready")
    before = books.count
    assert before < count, "nothing was left to do"
    for pid in [first.pid, *descendants(first.pid)]:
        _kill(pid)
    await asyncio.to_thread(first.communicate)
    begun = time.monotonic()
    second = _driver(folder, count, "second", next_ray)
    try:
        await _says(second, "done")
    finally:
        await asyncio.to_thread(second.communicate, timeout=_PATIENCE)
    books.check(SESSIONS, count // SESSIONS)
    return (
        f"{count} durable events, {before} handled before the kill, {books.repeated()} repeated, "
        f"all handled {time.monotonic() - begun:.1f} s after the new launch began"
    )


def _driver(folder: Path, count: int, which: str, ray: str) -> subprocess.Popen[str]:
    script = folder / "driver.py"
    script.write_text(DRIVER)
    root = str(Path(__file__).resolve().parents[2])
    environ = {**os.environ, "RAY_ADDRESS": ray, "PYTHONPATH": root}
    with (folder / f"{which}.log").open("w") as errors:
        return subprocess.Popen(
            [sys.executable, str(script), str(folder), str(count), which],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )


async def _says(driver: subprocess.Popen[str], word: str) -> None:
    assert driver.stdout is not None
    async with asyncio.timeout(_PATIENCE):
        while line := await asyncio.to_thread(driver.stdout.readline):
            if line.strip() == word:
                return
    raise AssertionError(f"the driver ended without saying {word!r}")


def descendants(pid: int) -> list[int]:
    """All processes below this one."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found, queue = [], [pid]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
