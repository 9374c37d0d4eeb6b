"""How long a turn may still take: its time stands still while it only waits for somebody's leave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager


class TurnClock:
    """The deadline of one turn, on the loop's clock; `within` bounds a block by it.

    While at least one call of the turn waits for an approval and none is at work, the turn is suspended,
    and its deadline moves on with the time. `on_change` hears of each beginning and end of that.
    """

    def __init__(
        self,
        deadline: float,
        now: Callable[[], float],
        on_change: Callable[[bool], None] = lambda suspended: None,
    ) -> None:
        self._deadline = deadline
        self._now = now
        self._on_change = on_change
        self._timeout: asyncio.Timeout | None = None
        self._at_work = 0
        self._waiting = 0
        self._since: float | None = None
        self.expired = False

    @property
    def suspended(self) -> bool:
        return self._since is not None

    @property
    def remaining(self) -> float:
        """Seconds that are left, below 0 where the time is up."""
        return self._deadline - (self._now() if self._since is None else self._since)

    @asynccontextmanager
    async def within(self) -> AsyncIterator[None]:
        """Raises TimeoutError, and says so in `expired`, once the turn's time is up."""
        timeout = self._timeout = asyncio.timeout_at(self._deadline)
        try:
            async with timeout:
                yield
        finally:
            self._timeout = None
            self.expired = timeout.expired()

    @contextmanager
    def working(self) -> Iterator[None]:
        """A call is at work."""
        self._at_work += 1
        self._look()
        try:
            yield
        finally:
            self._at_work -= 1
            self._look()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """A call waits for somebody's leave."""
        self._waiting += 1
        self._look()
        try:
            yield
        finally:
            self._waiting -= 1
            self._look()

    def _look(self) -> None:
        suspended = self._waiting > 0 and self._at_work == 0
        if suspended == self.suspended:
            return
        now = self._now()
        if self._since is None:
            self._since = now
        else:
            self._deadline += now - self._since
            self._since = None
        if self._timeout is not None and not self._timeout.expired():
            self._timeout.reschedule(None if suspended else self._deadline)
        self._on_change(suspended)
