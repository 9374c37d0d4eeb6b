"""Runs a command's asynchronous part so that Ctrl-C and SIGTERM end everything it started."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

INTERRUPTED = 130
TERMINATED = 143


class _Run:
    """What signals do while one `run` runs: they cancel its task, Ctrl-C a part of it where it may."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.terminated = False
        self.begun = False
        self.part: asyncio.Task[None] | None = None
        self._task = task
        self._loop = task.get_loop()
        self._cancel = signal.getsignal(signal.SIGINT)  # asyncio's own, which cancels the task

    @contextmanager
    def heeding(self) -> Iterator[None]:
        """The block in which Ctrl-C comes here."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signal.signal(signal.SIGINT, self._interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, self._cancel)

    def terminate(self) -> None:
        self.terminated = True
        self._task.cancel()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        part, self.part = self.part, None
        if part is not None:
            self._loop.call_soon_threadsafe(part.cancel)
            return
        if self.begun:
            self.begun = False
            tell_interrupted()
        if callable(self._cancel):
            self._cancel(number, frame)


_current: ContextVar[_Run | None] = ContextVar("run", default=None)


def run(main: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result. A signal cancels it, so that each `async with` in it is left in order."""
    current: _Run | None = None

    async def guarded() -> T:
        nonlocal current
        task = asyncio.current_task()
        assert task is not None
        current = _Run(task)
        _current.set(current)
        with current.heeding():
            if threading.current_thread() is threading.main_thread():
                asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, current.terminate)
            return await main

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        raise SystemExit(TERMINATED if current and current.terminated else INTERRUPTED) from None


@contextmanager
def begun() -> Iterator[None]:
    """The block in which something is up that Ctrl-C has to end, which takes a moment and is told."""
    current = _current.get()
    if current is None:
        yield
        return
    current.begun = True
    try:
        yield
    finally:
        current.begun = False


async def ended_alone(part: Coroutine[Any, Any, None]) -> bool:
    """Runs a part of `run` that Ctrl-C ends without the rest; True where it did.

    Ctrl-C once more, while the part comes to its end, ends all.
    """
    task = asyncio.ensure_future(part)
    current, outer = _current.get(), asyncio.current_task()
    if current is not None:
        current.part = task
    try:
        await task
    except asyncio.CancelledError:
        if outer is None or outer.cancelling():
            raise
        return True
    finally:
        if current is not None:
            current.part = None
    return False


def tell_interrupted() -> None:
    """Says at once that Ctrl-C was heard.

    It is written past the console, in which a signal may have come in the middle of a line.
    """
    clear = b"\r\x1b[K" if sys.stderr.isatty() else b""
    with suppress(OSError):
        os.write(2, clear + b"interrupted; ending what was started\n")
