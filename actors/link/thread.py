"""A thread with a loop of its own, and batched hand-overs between loops."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from llmgine.actors.link.errors import LinkBroken

log = logging.getLogger(__name__)

Value = TypeVar("Value")


class LinkThread:
    """Runs a loop (uvloop's where it is installed) until stopped; never keeps the process alive."""

    def __init__(self, name: str = "llmgine-link") -> None:
        self.loop = _new_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def submit(self, coroutine: Coroutine[Any, Any, Value]) -> concurrent.futures.Future[Value]:
        """Run the coroutine on the thread's loop."""
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self.loop)
        except RuntimeError as error:
            coroutine.close()
            raise LinkBroken("the link thread has ended") from error

    def call(self, function: Callable[[], object]) -> None:
        """Call the function on the thread's loop; does nothing when that has ended."""
        try:
            self.loop.call_soon_threadsafe(function)
        except RuntimeError:
            log.debug("the link thread has ended already")

    def stop(self) -> None:
        """Ask the loop to end; safe from any thread."""
        self.call(self.loop.stop)

    def join(self, timeout: float | None = None) -> None:
        self._thread.join(timeout)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
            tasks = asyncio.all_tasks(self.loop)
            for task in tasks:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        finally:
            self.loop.close()


class Crossing:
    """Hands calls over to another loop, in order, with one wake-up for all that gather before it runs.

    `on_dead` is called, on the giver's side, when that loop is closed.
    """

    __slots__ = ("_calls", "_dead", "_loop", "_on_dead", "_woken")

    def __init__(self, loop: asyncio.AbstractEventLoop, on_dead: Callable[[], None]) -> None:
        self._loop = loop
        self._on_dead = on_dead
        self._calls: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._woken = False
        self._dead = False

    def give(self, function: Callable[[Any], None], argument: Any) -> None:
        if self._dead:
            return
        self._calls.append((function, argument))
        if self._woken:
            return
        self._woken = True
        try:
            self._loop.call_soon_threadsafe(self._take)
        except RuntimeError:
            self._dead = True
            self._calls.clear()
            self._on_dead()

    def _take(self) -> None:
        self._woken = False  # before the calls are taken, so that whoever adds one later wakes us again
        calls = self._calls
        while calls:
            function, argument = calls.popleft()
            try:
                function(argument)
            except Exception:
                log.exception("a call handed over to this loop failed")


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
