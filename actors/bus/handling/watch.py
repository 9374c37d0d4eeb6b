"""Says by name which handler keeps the loop from everything else."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
import weakref

logger = logging.getLogger(__name__)

_PREFIX = "handler "


def task_name(handler: str) -> str:
    """What tasks that call a handler are called."""
    return _PREFIX + handler


class LoopWatch:
    """A thread that asks the loop for a sign of life and, where none comes in time, looks who runs."""

    def __init__(self, loop: asyncio.AbstractEventLoop, limit: float) -> None:
        # Not the loop itself, which would then never go.
        self._loop = weakref.ref(loop)
        self._limit = limit
        self._loop_thread = threading.get_ident()
        self._alive = threading.Event()
        self._ended = threading.Event()
        self._users = 0
        # How often each handler was found to block, by name.
        self.blocked: dict[str, int] = {}
        threading.Thread(target=self._watch, name="llmgine loop watch", daemon=True).start()

    @classmethod
    def here(cls, limit: float) -> LoopWatch:
        """The one of the running loop; everybody who asked for it closes it."""
        loop = asyncio.get_running_loop()
        watch = _watches.get(loop)
        if watch is None:
            watch = _watches[loop] = cls(loop, limit)
        watch._users += 1
        return watch

    def close(self) -> None:
        self._users -= 1
        if self._users == 0:
            self._ended.set()
            self._alive.set()
            loop = self._loop()
            if loop is not None:
                _watches.pop(loop, None)

    def _watch(self) -> None:
        while not self._ended.wait(self._limit):
            self._alive.clear()
            loop = self._loop()
            if loop is None or loop.is_closed():
                return
            try:
                loop.call_soon_threadsafe(self._alive.set)
            except RuntimeError:
                return
            if not self._alive.wait(self._limit):
                self._report(loop)
                # Once per time that it blocks.
                self._alive.wait()
            del loop

    def _report(self, loop: asyncio.AbstractEventLoop) -> None:
        task = asyncio.current_task(loop)
        if task is None or not task.get_name().startswith(_PREFIX):
            return
        name = task.get_name().removeprefix(_PREFIX)
        self.blocked[name] = self.blocked.get(name, 0) + 1
        frame = sys._current_frames().get(self._loop_thread)
        where = "".join(traceback.format_stack(frame, limit=6)) if frame is not None else ""
        logger.warning(
            "handler %s keeps the loop from all other work for more than %g s (bus option blocked_loop);"
            " make it a plain function, which runs in a thread, or let it await\n%s",
            name,
            self._limit,
            where,
        )


_watches: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopWatch] = weakref.WeakKeyDictionary()
