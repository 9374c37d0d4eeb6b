"""How late a loop comes to what was due: the first sign of a process that has too much to do."""

from __future__ import annotations

import asyncio

# Seconds between two looks, and what is left of the last lateness at the next: half of it in a second.
_EVERY = 0.25
_FADES = 0.84


class LoopLag:
    """Looks four times a second, from `start` to `stop`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._due = 0.0
        self._look: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._plan(asyncio.get_running_loop())

    def stop(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def _plan(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = loop.time() + _EVERY
        self._look = loop.call_at(self._due, self._looked, loop)

    def _looked(self, loop: asyncio.AbstractEventLoop) -> None:
        self.seconds = max(loop.time() - self._due, self.seconds * _FADES)
        self._plan(loop)
