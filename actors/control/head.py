"""Whether the cluster's head is still there, looked at only where an answer is late.

Ray waits a minute for a head that is gone, in calls that heed nothing meanwhile. So what may block runs
in a thread that nobody waits for at exit, and a late answer is given up once the head refuses connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from llmgine.actors.control.errors import ClusterGone

T = TypeVar("T")

# An answer that takes longer is late, in seconds; then the head is looked at as often.
_LATE = 1.0
# How long it may refuse connections before it is taken for gone: it may be restarting.
_GRACE = 4.0


class Head:
    """The head node's control service, by its address `host:port`."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._refusing_since: float | None = None

    async def during(self, work: Awaitable[T]) -> T:
        """The work's result; `ClusterGone` where the head turns out to be gone before it comes."""
        task = asyncio.ensure_future(work)
        try:
            if self._refusing_since is not None:
                await self.check()
            while True:
                await asyncio.wait({task}, timeout=_LATE)
                if task.done():
                    return task.result()
                await self.check()
        finally:
            task.cancel()

    async def check(self) -> None:
        """Looks at the head; `ClusterGone` once it has refused connections for some seconds."""
        now = asyncio.get_running_loop().time()
        if await self._listens():
            self._refusing_since = None
        elif self._refusing_since is None:
            self._refusing_since = now
        elif now - self._refusing_since >= _GRACE:
            raise self._error()

    async def _listens(self) -> bool:
        host, _, port = self._address.rpartition(":")
        try:
            async with asyncio.timeout(_LATE):
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        except ConnectionRefusedError:
            return False
        except (OSError, TimeoutError):
            return True  # a network that is slow or cut says nothing of the head
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    def _error(self) -> ClusterGone:
        return ClusterGone(
            f"the Ray cluster at {self._address} is gone, and its runtimes with it; launch another "
            f"(`llmgine up`, or Runtime.launch())"
        )


async def in_thread(function: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """The blocking function's result; the thread keeps no process alive, unlike those of an executor."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result, error = None, None
        try:
            result = function(*arguments, **named)
        except BaseException as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits any more
            loop.call_soon_threadsafe(settle, result, error)

    threading.Thread(target=run, name=f"llmgine {getattr(function, '__name__', 'call')}", daemon=True).start()
    return await future
