"""A part of a contender in a process of its own, told by lines of JSON what to do.

The contender opens one with `async with started("module:function", …) as child`, and asks it things
with `await child.ask(…)`. The child ends when the contender closes its stdin, or is gone.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvloop

_PATIENCE = 10.0


class Child:
    """A started process."""

    def __init__(self, role: str, process: asyncio.subprocess.Process) -> None:
        self._role = role
        self._process = process

    async def ask(self, timeout: float = 120.0, **message: Any) -> dict[str, Any]:
        """Its answer to one message; RuntimeError when it has ended instead."""
        await self.tell(**message)
        return await self.hear(timeout)

    async def tell(self, **message: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        await self._process.stdin.drain()

    async def hear(self, timeout: float = 120.0) -> dict[str, Any]:
        assert self._process.stdout is not None
        async with asyncio.timeout(timeout):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._role} has ended; the reason stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def started(role: str, **settings: Any) -> AsyncIterator[Child]:
    """A process that runs `role`, a coroutine function as "module:name", with these settings."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "benchmarks.child",
        role,
        json.dumps(settings),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=64 << 20,
    )
    child = Child(role, process)
    try:
        yield child
    finally:
        await child.end()


class Control:
    """The contender, as its child sees it."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    async def read(self) -> dict[str, Any] | None:
        """The next message; None once there will be none."""
        line = await self._reader.readline()
        return json.loads(line) if line else None

    def answer(self, **message: Any) -> None:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


async def _run(role: str, settings: dict[str, Any]) -> None:
    module, _, name = role.partition(":")
    play: Callable[..., Awaitable[None]] = getattr(importlib.import_module(module), name)
    reader = asyncio.StreamReader(limit=64 << 20)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await play(Control(reader), **settings)


if __name__ == "__main__":
    uvloop.run(_run(sys.argv[1], json.loads(sys.argv[2])))
