"""The size that a pool's load asks for. Pure: what the pool carries and the time in, a size out.

Calls ask for actors in proportion; a loop that lags asks for more than there are. A need must last before
it is followed: briefly to grow, by what was needed at least all that time, and long to shrink, to what was
needed at most. A shrink that has to be taken back makes the next one wait twice as long, up to a bound,
so that a load between two sizes does not have the pool start and end actors for ever. Times are seconds
of one monotonic clock.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from llmgine.actors.pools.scaling.options import ScalingOptions

# How many times as many actors a single step or a lagging loop may ask for.
_STEP = 2
# Growing again within so many delays of a shrink says that it was a mistake.
_REGRET = 4.0
# The most that mistakes lengthen the delay of a shrink.
_PATIENCE = 16.0


@dataclass(frozen=True, slots=True)
class Load:
    """What a pool carries now.

    `size` counts actors that are being started too, `ready` those that take calls. `in_flight` and
    `waiting` are the calls that actors run and that queue in them; `capacity` is how many one actor runs at
    most, `loop_lag` the seconds by which their loops lag in the mean. `usable` is how many calls at once
    the quotas of the pool's keys have room for, None where that is not known. Without the figures of all
    actors the load is not `complete`, and no reason to shrink.
    """

    size: int
    ready: int
    in_flight: int
    waiting: int
    capacity: int
    loop_lag: float = 0.0
    usable: float | None = None
    complete: bool = True


@dataclass(slots=True)
class _Need:
    """A need in one direction: since when, and the mildest that it was."""

    since: float
    size: int


class Autoscaler:
    """The sizes of one pool."""

    def __init__(self, options: ScalingOptions) -> None:
        self._options = options
        self._size: int | None = None
        self._more: _Need | None = None
        self._fewer: _Need | None = None
        self._shrunk_at: float | None = None
        self._patience = 1.0

    def decide(self, now: float, load: Load) -> int:
        """The size that the pool should have now; its own where nothing is to be changed."""
        if load.size != self._size:
            # Somebody changed it: what was needed of another size says nothing.
            self._size, self._more, self._fewer = load.size, None, None
        bounded = self._bounded(load.size)
        if bounded != load.size:
            return bounded
        wanted = self.wanted(load)
        if wanted > load.size:
            return self._grown(now, load.size, wanted)
        self._more = None
        if wanted == load.size or not load.complete:
            self._fewer = None
            return load.size
        return self._shrunk(now, load.size, wanted)

    def wanted(self, load: Load) -> int:
        """What this load alone asks for, within the bounds."""
        calls: float = load.in_flight + load.waiting
        if load.usable is not None:
            calls = min(calls, load.usable)
        wanted = calls / (load.capacity * self._options.target)
        if load.loop_lag > self._options.loop_lag:
            # More processes, for the calls that there are: no more of them than calls that can be made.
            lagging = load.ready * min(load.loop_lag / self._options.loop_lag, _STEP)
            wanted = max(wanted, lagging if load.usable is None else min(lagging, load.usable))
        return self._bounded(math.ceil(wanted))

    def _grown(self, now: float, size: int, wanted: int) -> int:
        self._fewer = None
        need = self._more
        if need is None:
            need = self._more = _Need(now, wanted)
        need.size = min(need.size, wanted)
        if now - need.since < self._options.up_delay:
            return size
        self._more = None
        if self._shrunk_at is not None:
            hasty = now - self._shrunk_at < _REGRET * self._options.down_delay * self._patience
            self._patience = min(self._patience * 2, _PATIENCE) if hasty else 1.0
            self._shrunk_at = None
        return min(need.size, size * _STEP)

    def _shrunk(self, now: float, size: int, wanted: int) -> int:
        need = self._fewer
        if need is None:
            need = self._fewer = _Need(now, wanted)
        need.size = max(need.size, wanted)
        if now - need.since < self._options.down_delay * self._patience:
            return size
        self._fewer, self._shrunk_at = None, now
        return need.size

    def _bounded(self, size: int) -> int:
        return min(max(size, self._options.min_size), self._options.max_size)
