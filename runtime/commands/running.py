"""Runs a command's asynchronous part so that Ctrl-C and SIGTERM end everything it started."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")

INTERRUPTED = 130
TERMINATED = 143

_on_sigterm: ContextVar[Callable[[], None] | None] = ContextVar("on_sigterm", default=None)


def run(main: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result. A signal cancels it, so that each `async with` in it is left in order."""
    terminated = False

    async def guarded() -> T:
        task = asyncio.current_task()

        def end() -> None:
            nonlocal terminated
            terminated = True
            if task is not None:
                task.cancel()

        _on_sigterm.set(end)
        heed_sigterm()
        return await main

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        raise SystemExit(TERMINATED if terminated else INTERRUPTED) from None


def heed_sigterm() -> None:
    """Lets SIGTERM end what `run` runs; said again once Ray is up, which puts its own handler in front."""
    end = _on_sigterm.get()
    if end is not None and threading.current_thread() is threading.main_thread():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
