"""What a provider actor tells the supervisor of itself, once a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

FIGURES = "figures"

_EVERY = 1.0


class Figures:
    """Tells an actor's figures, and the share of a CPU that its process used since it told the last ones.

    Nobody asks for them, so calls pay nothing, and what a supervisor that is away misses is told anew.
    """

    def __init__(self, statistics: Callable[[], dict[str, Any]], tell: Callable[[str, Any], None]) -> None:
        self._statistics = statistics
        self._tell = tell
        self._next: asyncio.TimerHandle | None = None
        self._told = (0.0, 0.0)

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._told = (loop.time(), time.process_time())
        self._next = loop.call_later(_EVERY, self._due, loop)

    def stop(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _due(self, loop: asyncio.AbstractEventLoop) -> None:
        (at, used), self._told = self._told, (loop.time(), time.process_time())
        cpu = (self._told[1] - used) / (self._told[0] - at)
        self._tell(FIGURES, {**self._statistics(), "process": {"cpu": cpu}})
        self._next = loop.call_later(_EVERY, self._due, loop)
