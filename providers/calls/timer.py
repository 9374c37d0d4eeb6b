"""A time limit for one wait after another that costs next to nothing while all goes well."""

from __future__ import annotations

import asyncio
from types import TracebackType


class WaitTimer:
    """Limits waits that follow each other, as the reads of a stream do: `with timer.until(...): await ...`.

    `asyncio.timeout` sets and takes back a timer for each wait. This one leaves its timer standing
    and, when it rings too early, sets it again for the wait that is then going on.
    """

    __slots__ = ("_cancelling", "_expired", "_handle", "_limit", "_loop", "_rings", "_task")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None
        self._rings = float("inf")
        self._limit: float | None = None
        self._task: asyncio.Task[None] | None = None
        self._cancelling = 0
        self._expired = False

    def until(self, limit: float) -> WaitTimer:
        """Past the loop time `limit`, what is awaited within is cancelled, and `TimeoutError` raised."""
        self._limit = limit
        if limit < self._rings:
            self._set(limit)
        return self

    def __enter__(self) -> None:
        task = self._task = asyncio.current_task(self._loop)
        assert task is not None
        self._cancelling = task.cancelling()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._limit = None
        if self._expired:
            self._expired = False
            task = self._task
            if task is not None and task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
                raise TimeoutError from None

    def expire(self) -> None:
        """End the wait that is going on, if any, as one that is late."""
        self.close()
        if self._limit is not None:
            self._limit = self._loop.time()
            self._ring()

    def close(self) -> None:
        """Take the timer back."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
            self._rings = float("inf")

    def _set(self, limit: float) -> None:
        self.close()
        self._handle = self._loop.call_at(limit, self._ring)
        self._rings = limit

    def _ring(self) -> None:
        self._handle = None
        self._rings = float("inf")
        if self._limit is None or self._expired:
            return  # nobody waits, and the next wait sets it again; or it ends already
        if self._loop.time() < self._limit:
            self._set(self._limit)
            return
        assert self._task is not None
        self._expired = True
        self._task.cancel()
