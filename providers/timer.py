"""A time limit for one wait after another that costs next to nothing while all goes well."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

Result = TypeVar("Result")


class WaitTimer:
    """Limits waits that follow each other, as the reads of a stream do.

    `asyncio.timeout` sets and takes back a timer for each wait. This one leaves its timer standing
    and, when it rings too early, sets it again for the wait that is then going on.
    """

    __slots__ = ("_expired", "_handle", "_limit", "_loop", "_task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None
        self._limit: float | None = None
        self._task: asyncio.Task[Any] | None = None
        self._expired = False

    async def wait(self, what: Awaitable[Result], limit: float) -> Result:
        """The result of `what`; past the loop time `limit` it is cancelled and this raises `TimeoutError`."""
        task = self._task = asyncio.current_task()
        assert task is not None
        cancelling = task.cancelling()
        self._limit = limit
        if self._handle is None or self._handle.when() > limit:
            self._set(limit)
        try:
            return await what
        except asyncio.CancelledError:
            if self._expired and task.uncancel() <= cancelling:
                raise TimeoutError from None
            raise
        finally:
            self._limit = None
            self._expired = False

    def close(self) -> None:
        """Take the timer back."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _set(self, limit: float) -> None:
        self.close()
        self._handle = self._loop.call_at(limit, self._ring)

    def _ring(self) -> None:
        self._handle = None
        if self._limit is None:
            return  # nobody waits; the next wait sets it again
        if self._loop.time() < self._limit:
            self._set(self._limit)
            return
        assert self._task is not None
        self._expired = True
        self._task.cancel()
