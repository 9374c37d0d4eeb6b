"""Runs a command's asynchronous part so that Ctrl-C and SIGTERM end everything it started."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

INTERRUPTED = 130
TERMINATED = 143


def run(main: Coroutine[Any, Any, T]) -> T:
    """The coroutine's result. A signal cancels it, so that each `async with` in it is left in order."""
    terminated = False

    async def guarded() -> T:
        nonlocal terminated
        task = asyncio.current_task()

        def end() -> None:
            nonlocal terminated
            terminated = True
            if task is not None:
                task.cancel()

        if threading.current_thread() is threading.main_thread():
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end)
        return await main

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        raise SystemExit(TERMINATED if terminated else INTERRUPTED) from None
