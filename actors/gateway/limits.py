"""How much a client may ask for: requests a minute, and requests at a time. Knows no clock."""

from __future__ import annotations

from dataclasses import dataclass

from llmgine.actors.gateway.errors import TooManyRequests


@dataclass(slots=True)
class Bucket:
    """Holds up to `capacity` tokens and refills by `rate` a second; begins full."""

    rate: float
    capacity: float
    level: float
    at: float

    def take(self, now: float) -> float:
        """Takes a token and returns 0, or the seconds until there is one."""
        self.level = min(self.capacity, self.level + (now - self.at) * self.rate)
        self.at = now
        if self.level < 1:
            return (1 - self.level) / self.rate
        self.level -= 1
        return 0.0


class Allowance:
    """What one client has left. None says that there is no such limit."""

    def __init__(self, requests_per_minute: float | None, concurrent: int | None, now: float) -> None:
        self._concurrent = concurrent
        self._bucket: Bucket | None = None
        if requests_per_minute is not None:
            capacity = max(1.0, requests_per_minute)
            self._bucket = Bucket(requests_per_minute / 60, capacity, capacity, now)
        self.under_way = 0

    def enter(self, now: float) -> None:
        """Counts a request as begun; `TooManyRequests` where it may not begin now."""
        if self._concurrent is not None and self.under_way >= self._concurrent:
            raise TooManyRequests(
                f"{self.under_way} requests of this client are under way, and it may have no more at a time",
                hint="let one end first, or raise gateway.clients.….concurrent",
                retry_after=1.0,
            )
        wait = 0.0 if self._bucket is None else self._bucket.take(now)
        if wait:
            raise TooManyRequests(
                "this client has made as many requests as it may in a minute",
                hint="wait, or raise gateway.clients.….requests_per_minute",
                retry_after=wait,
            )
        self.under_way += 1

    def leave(self) -> None:
        """Counts a request that entered as over."""
        self.under_way -= 1
