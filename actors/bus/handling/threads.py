"""Handlers that are plain functions run in threads, so that one that blocks holds up nobody's loop.

The threads are the process's own daemons, at most as many as the option says: one that never comes
back keeps no process alive, and another takes its place. So it does for one whose handler waits for the
bus, or what it waits for might wait for its thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

# An idle thread ends after so many seconds.
_IDLE = 30.0


class ThreadCall:
    """One call on its way through a thread; awaited by whoever made it."""

    __slots__ = (
        "_arguments",
        "_claim",
        "_context",
        "_function",
        "_future",
        "_loop",
        "_threads",
        "aside",
        "done",
        "lost",
    )

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self._function = function
        self._arguments = arguments
        # What the function publishes is caused by the delivery that it was called with.
        self._context = contextvars.copy_context()
        self._loop = asyncio.get_running_loop()
        self._future: asyncio.Future[Any] = self._loop.create_future()
        # Whoever gets it first decides whether the call is made.
        self._claim = threading.Lock()
        self._threads: Threads | None = None
        self.done = False
        self.lost = False
        # Its function waits for the bus.
        self.aside = False

    def run(self) -> None:
        if not self._claim.acquire(blocking=False):
            return
        error: BaseException | None = None
        value: Any = None
        try:
            value = self._context.run(self._function, *self._arguments)
        except BaseException as raised:
            error = raised
        self.done = True
        try:
            self._loop.call_soon_threadsafe(self._settle, value, error)
        except RuntimeError:
            # The loop has ended before the function.
            return

    def _settle(self, value: Any, error: BaseException | None) -> None:
        if not self._future.done():
            self._future.set_result((value, error))

    async def result(self) -> Any:
        """What the function returned or raised."""
        value, error = await self._future
        if error is not None:
            raise error
        return value

    @property
    def returning(self) -> bool:
        """Whether the function has ended, and its result is on its way to the loop."""
        return self.done and not self._future.done()

    def step_aside(self) -> None:
        """The function waits for the bus: others may have its place meanwhile."""
        if self._threads is not None:
            self._threads.step_aside(self)

    def step_back(self) -> None:
        """It goes on."""
        if self._threads is not None:
            self._threads.step_back(self)

    def cancel(self) -> bool:
        """Whether no thread is in it now, and none will ever be."""
        return self.done or self._claim.acquire(blocking=False)


class Threads:
    """Starts a thread where there is work and no idle one, up to a limit."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls: deque[ThreadCall] = deque()
        self._idle = 0
        self._limit = 1
        self.count = 0

    def submit(self, call: ThreadCall, limit: int) -> None:
        with self._changed:
            self._limit = max(self._limit, limit)
            call._threads = self
            self._calls.append(call)
            if self._idle:
                self._changed.notify()
            self._grow()

    def give_up(self, call: ThreadCall) -> None:
        """Its thread may never come back: another one may be started for others."""
        with self._changed:
            if not (call.lost or call.done):
                call.lost = True
                self._leave(call)

    def step_aside(self, call: ThreadCall) -> None:
        """As `call.step_aside()`: another thread may be started for others."""
        with self._changed:
            if not (call.lost or call.done):
                self._leave(call)

    def step_back(self, call: ThreadCall) -> None:
        """As `call.step_back()`: where there are too many threads then, the next one to be done ends."""
        with self._changed:
            self._return(call)

    def _leave(self, call: ThreadCall) -> None:
        if not call.aside:
            call.aside = True
            self.count -= 1
            self._grow()

    def _return(self, call: ThreadCall) -> None:
        if call.aside and not call.lost:
            call.aside = False
            self.count += 1

    def _grow(self) -> None:
        if len(self._calls) > self._idle and self.count < self._limit:
            self.count += 1
            threading.Thread(target=self._work, name="llmgine handler", daemon=True).start()

    def _work(self) -> None:
        while (call := self._next()) is not None:
            call.run()
            with self._changed:
                if call.lost:
                    # Another has its place.
                    return
                self._return(call)

    def _next(self) -> ThreadCall | None:
        with self._changed:
            if self.count > self._limit:
                self.count -= 1
                return None
            while not self._calls:
                self._idle += 1
                called = self._changed.wait(_IDLE)
                self._idle -= 1
                if not called and not self._calls:
                    self.count -= 1
                    return None
            return self._calls.popleft()


THREADS = Threads()
"""Those of this process."""
